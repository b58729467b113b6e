// Batch normalisation with what stands around it in a residual block: the residual that is added, and ReLU.
// A warp covers 32 channels of a pixel, a block of (32, 8) threads walks the pixels of its chunk.

// Welford's running mean and sum of squared deviations: no digits are lost where the mean is large.
template <class A> struct Moments {
    A count = 0, mean = 0, m2 = 0;

    __device__ void add(A x) {
        count += 1;
        const A delta = x - mean;
        mean += delta / count;
        m2 += delta * (x - mean);
    }

    __device__ void add(const Moments& other) {  // Chan, Golub and LeVeque
        const A n = count + other.count;
        if (n == 0) return;
        const A delta = other.mean - mean, share = other.count / n;
        mean += delta * share;
        m2 += other.m2 + delta * delta * count * share;
        count = n;
    }
};

// Moments of each chunk of pixels: partial[0, chunk, c] the mean, partial[1, chunk, c] the squared deviations.
template <class T>
__global__ void batch_moments(const T* x, Acc<T>* partial, int pixels, int channels, int per_chunk) {
    using A = Acc<T>;
    const int c = blockIdx.x * 32 + threadIdx.x;
    const int begin = blockIdx.y * per_chunk, end = min(pixels, begin + per_chunk);
    Moments<A> mine;
    if (c < channels)
#pragma unroll 4
        for (int p = begin + threadIdx.y; p < end; p += 8) mine.add(A(x[(long long)p * channels + c]));

    __shared__ A counts[8][32], means[8][32], m2s[8][32];
    counts[threadIdx.y][threadIdx.x] = mine.count;
    means[threadIdx.y][threadIdx.x] = mine.mean;
    m2s[threadIdx.y][threadIdx.x] = mine.m2;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int i = 1; i < 8; ++i) {
        Moments<A> other;
        other.count = counts[i][threadIdx.x];
        other.mean = means[i][threadIdx.x];
        other.m2 = m2s[i][threadIdx.x];
        mine.add(other);
    }
    const long long at = (long long)blockIdx.y * channels + c;
    partial[at] = mine.mean;
    partial[(long long)gridDim.y * channels + at] = mine.m2;
}

// The moments of all chunks together; blocks of (32, 32) threads.
template <class T>
__global__ void batch_moments_finish(const Acc<T>* partial, T* mean, T* variance, int pixels, int channels,
                                     int per_chunk, int chunks) {
    using A = Acc<T>;
    const int c = blockIdx.x * 32 + threadIdx.x;
    Moments<A> mine;
    if (c < channels)
        for (int i = threadIdx.y; i < chunks; i += 32) {
            Moments<A> other;
            other.count = A(min(per_chunk, pixels - i * per_chunk));
            other.mean = partial[(long long)i * channels + c];
            other.m2 = partial[((long long)chunks + i) * channels + c];
            mine.add(other);
        }
    __shared__ A counts[32][32], means[32][32], m2s[32][32];
    counts[threadIdx.y][threadIdx.x] = mine.count;
    means[threadIdx.y][threadIdx.x] = mine.mean;
    m2s[threadIdx.y][threadIdx.x] = mine.m2;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int i = 1; i < 32; ++i) {
        Moments<A> other;
        other.count = counts[i][threadIdx.x];
        other.mean = means[i][threadIdx.x];
        other.m2 = m2s[i][threadIdx.x];
        mine.add(other);
    }
    mean[c] = T(mine.mean);
    variance[c] = T(mine.m2 / A(pixels));
}

// y = relu((x − mean)·rstd·scale + shift + residual), the residual and the ReLU where they are wanted.
template <class T>
__global__ void batch_norm(const T* x, const T* scale, const T* shift, const T* mean, const T* variance,
                           const T* residual, T* y, int pixels, int channels, double eps, int relu) {
    using A = Acc<T>;
    const int c = blockIdx.x * 32 + threadIdx.x;
    if (c >= channels) return;
    const A centre = A(mean[c]), rstd = 1 / sqrt(A(variance[c]) + A(eps)), gain = A(scale[c]), offset = A(shift[c]);
#pragma unroll 4
    for (int p = blockIdx.y * 8 + threadIdx.y; p < pixels; p += gridDim.y * 8) {
        const long long i = (long long)p * channels + c;
        A v = gain * ((A(x[i]) - centre) * rstd) + offset;
        if (residual) v += A(residual[i]);
        y[i] = T(relu && v < 0 ? A(0) : v);  // NaN stays NaN
    }
}

// What ReLU lets through of dy; y is absent where no ReLU was.
template <class T> __device__ Acc<T> rectified(const T* dy, const T* y, long long i) {
    return !y || y[i] > T(0) ? Acc<T>(dy[i]) : Acc<T>(0);
}

// partial[chunk, 0, c] = Σ dy and partial[chunk, 1, c] = Σ dy·x_hat, of the rectified dy, in double as all channel sums.
template <class T>
__global__ void batch_norm_backward_sums(const T* x, const T* y, const T* dy, const T* mean, const T* variance,
                                         double* partial, int pixels, int channels, int per_chunk, double eps) {
    using A = Acc<T>;
    const int c = blockIdx.x * 32 + threadIdx.x;
    const int begin = blockIdx.y * per_chunk, end = min(pixels, begin + per_chunk);
    double dshift = 0, dscale = 0;
    if (c < channels) {
        const A centre = A(mean[c]), rstd = 1 / sqrt(A(variance[c]) + A(eps));
#pragma unroll 4
        for (int p = begin + threadIdx.y; p < end; p += 8) {
            const long long i = (long long)p * channels + c;
            const A g = rectified(dy, y, i);
            dshift += g;
            dscale += g * ((A(x[i]) - centre) * rstd);
        }
    }
    __shared__ double dshifts[8][32], dscales[8][32];
    dshifts[threadIdx.y][threadIdx.x] = dshift;
    dscales[threadIdx.y][threadIdx.x] = dscale;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int i = 1; i < 8; ++i) {
        dshift += dshifts[i][threadIdx.x];
        dscale += dscales[i][threadIdx.x];
    }
    partial[2LL * blockIdx.y * channels + c] = dshift;
    partial[(2LL * blockIdx.y + 1) * channels + c] = dscale;
}

// dx = scale·rstd·(dy − (dshift + x_hat·dscale)/pixels), the second term when training; dresidual = dy, rectified.
template <class T>
__global__ void batch_norm_backward(const T* x, const T* y, const T* dy, const T* scale, const T* mean,
                                    const T* variance, const T* dshift, const T* dscale, T* dx, T* dresidual,
                                    int pixels, int channels, double eps, int training) {
    using A = Acc<T>;
    const int c = blockIdx.x * 32 + threadIdx.x;
    if (c >= channels) return;
    const A centre = A(mean[c]), rstd = 1 / sqrt(A(variance[c]) + A(eps)), slope = A(scale[c]) * rstd;
    const A shifted = training ? A(dshift[c]) / A(pixels) : A(0), scaled = training ? A(dscale[c]) / A(pixels) : A(0);
#pragma unroll 4
    for (int p = blockIdx.y * 8 + threadIdx.y; p < pixels; p += gridDim.y * 8) {
        const long long i = (long long)p * channels + c;
        const A g = rectified(dy, y, i);
        dx[i] = T(slope * (g - (shifted + (A(x[i]) - centre) * rstd * scaled)));
        if (dresidual) dresidual[i] = T(g);
    }
}

// Batch normalisation, and the sum with a residual and the ReLU that follow it in a residual block.
//
// A thread has V neighbouring channels, which it reads and writes at once, and loops over pixels; a block of 256
// threads has blockDim.x such groups of channels and blockDim.y pixels at a time.

// Welford's running mean and sum of squared deviations: no digits are lost where the mean is large.
template <class A> struct Moments {
    A count = 0, mean = 0, m2 = 0;

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
template <class T, int V>
__global__ void __launch_bounds__(256) batch_moments(const T* x, Acc<T>* partial, int pixels, int channels, int per_chunk) {
    using A = Acc<T>;
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const int begin = blockIdx.y * per_chunk, end = min(pixels, begin + per_chunk);
    A count = 0, mean[V] = {}, m2[V] = {};
    if (c < channels)
#pragma unroll 4
        for (int p = begin + threadIdx.y; p < end; p += blockDim.y) {
            const Vector<T, V> values = load<V>(x + (long long)p * channels + c);
            count += 1;
            const A share = 1 / count;
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const A v = A(values.of[i]), delta = v - mean[i];
                mean[i] += delta * share;
                m2[i] += delta * (v - mean[i]);
            }
        }

    __shared__ A means[256 * V], m2s[256 * V], counts[256];
    const int mine = threadIdx.y * blockDim.x + threadIdx.x;
    counts[mine] = count;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        means[mine * V + i] = mean[i];
        m2s[mine * V + i] = m2[i];
    }
    __syncthreads();
    // From here on a thread has one channel.
    for (int at = mine; at < blockDim.x * V; at += 256) {
        const int channel = blockIdx.x * blockDim.x * V + at;
        if (channel >= channels) return;
        Moments<A> sum;
        for (int row = 0; row < blockDim.y; ++row) {
            Moments<A> other;
            other.count = counts[row * blockDim.x + at / V];
            other.mean = means[row * blockDim.x * V + at];
            other.m2 = m2s[row * blockDim.x * V + at];
            sum.add(other);
        }
        partial[(long long)blockIdx.y * channels + channel] = sum.mean;
        partial[((long long)gridDim.y + blockIdx.y) * channels + channel] = sum.m2;
    }
}

// The moments of all chunks together; blocks of (32, 32) threads. The statistics of float16 maps are float32.
template <class A>
__global__ void __launch_bounds__(1024)
batch_moments_finish(const A* partial, A* mean, A* variance, int pixels, int channels, int per_chunk, int chunks) {
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
    mean[c] = mine.mean;
    variance[c] = mine.m2 / A(pixels);
}

// The norm of V channels: (x − mean)·rstd, and that times scale plus shift.
template <class A, int V> struct Norm {
    A mean[V], rstd[V], scale[V], shift[V];

    __device__ Norm(int c, const A* scales, const A* shifts, const A* means, const A* variances, double eps) {
#pragma unroll
        for (int i = 0; i < V; ++i) {
            mean[i] = means[c + i];
            rstd[i] = 1 / sqrt(variances[c + i] + A(eps));
            scale[i] = scales[c + i];
            shift[i] = shifts[c + i];
        }
    }

    __device__ A normalised(int i, A x) const { return (x - mean[i]) * rstd[i]; }
    __device__ A operator()(int i, A x) const { return scale[i] * normalised(i, x) + shift[i]; }
};

// y = relu((x − mean)·rstd·scale + shift + residual), the residual and the ReLU optional. With 1 as its launch
// bound, the compiler does not spill registers to have more blocks at once.
template <class T, int V>
__global__ void __launch_bounds__(256, 1)
batch_norm(const T* x, const Acc<T>* scale, const Acc<T>* shift, const Acc<T>* mean, const Acc<T>* variance,
           const T* residual, T* y, int pixels, int channels, double eps, int relu) {
    using A = Acc<T>;
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (c >= channels) return;
    const Norm<A, V> norm(c, scale, shift, mean, variance, eps);
#pragma unroll 2
    for (int p = blockIdx.y * blockDim.y + threadIdx.y; p < pixels; p += gridDim.y * blockDim.y) {
        const long long at = (long long)p * channels + c;
        const Vector<T, V> values = load<V>(x + at);
        const Vector<T, V> added = residual ? load<V>(residual + at) : Vector<T, V>();
        Vector<T, V> result;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            A v = norm(i, A(values.of[i]));
            if (residual) v += A(added.of[i]);
            result.of[i] = T(relu && v < 0 ? A(0) : v);  // NaN stays NaN
        }
        store(y + at, result);
    }
}

// dy where the ReLU's output is positive: y if a residual was added; otherwise y is absent, and follows from x.
template <class T, int V> struct Rectified {
    const Norm<Acc<T>, V>& norm;
    const T* y;
    int relu;

    __device__ Vector<Acc<T>, V> operator()(const T* dy, const Vector<T, V>& x, long long at) const {
        using A = Acc<T>;
        const Vector<T, V> g = load<V>(dy + at);
        const Vector<T, V> out = y ? load<V>(y + at) : Vector<T, V>();
        Vector<A, V> result;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            const A v = y ? A(out.of[i]) : relu ? A(T(norm(i, A(x.of[i])))) : A(1);
            result.of[i] = v > 0 ? A(g.of[i]) : A(0);
        }
        return result;
    }
};

// partial[chunk, 0, c] = Σ dy and partial[chunk, 1, c] = Σ dy·x_hat, of the rectified dy.
template <class T, int V>
__global__ void __launch_bounds__(256)
batch_norm_backward_sums(const T* x, const T* y, const T* dy, const Acc<T>* scale, const Acc<T>* shift,
                         const Acc<T>* mean, const Acc<T>* variance, double* partial, int pixels, int channels,
                         int per_chunk, double eps, int relu) {
    using A = Acc<T>;
    using S = Sum<T>;
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const int begin = blockIdx.y * per_chunk, end = min(pixels, begin + per_chunk);
    S dshift[V] = {}, dscale[V] = {};
    if (c < channels) {
        const Norm<A, V> norm(c, scale, shift, mean, variance, eps);
        const Rectified<T, V> rectified{norm, y, relu};
#pragma unroll 2
        for (int p = begin + threadIdx.y; p < end; p += blockDim.y) {
            const long long at = (long long)p * channels + c;
            const Vector<T, V> values = load<V>(x + at);
            const Vector<A, V> g = rectified(dy, values, at);
#pragma unroll
            for (int i = 0; i < V; ++i) {
                dshift[i] += S(g.of[i]);
                dscale[i] += S(g.of[i] * norm.normalised(i, A(values.of[i])));
            }
        }
    }
    __shared__ S dshifts[256 * V], dscales[256 * V];
    const int mine = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        dshifts[mine * V + i] = dshift[i];
        dscales[mine * V + i] = dscale[i];
    }
    __syncthreads();
    for (int at = mine; at < blockDim.x * V; at += 256) {
        const int channel = blockIdx.x * blockDim.x * V + at;
        if (channel >= channels) return;
        double shifts = 0, scales = 0;
        for (int row = 0; row < blockDim.y; ++row) {
            shifts += dshifts[row * blockDim.x * V + at];
            scales += dscales[row * blockDim.x * V + at];
        }
        partial[2LL * blockIdx.y * channels + channel] = shifts;
        partial[(2LL * blockIdx.y + 1) * channels + channel] = scales;
    }
}

// dx = scale·rstd·(dy − (dshift + x_hat·dscale)/pixels), the second term when training; dresidual = dy, rectified.
template <class T, int V>
__global__ void __launch_bounds__(256)
batch_norm_backward(const T* x, const T* y, const T* dy, const Acc<T>* scale, const Acc<T>* shift, const Acc<T>* mean,
                    const Acc<T>* variance, const Acc<T>* dshift, const Acc<T>* dscale, T* dx, T* dresidual, int pixels,
                    int channels, double eps, int training, int relu) {
    using A = Acc<T>;
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (c >= channels) return;
    const Norm<A, V> norm(c, scale, shift, mean, variance, eps);
    const Rectified<T, V> rectified{norm, y, relu};
    A shifted[V], scaled[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
        shifted[i] = training ? dshift[c + i] / A(pixels) : A(0);
        scaled[i] = training ? dscale[c + i] / A(pixels) : A(0);
    }
    for (int p = blockIdx.y * blockDim.y + threadIdx.y; p < pixels; p += gridDim.y * blockDim.y) {
        const long long at = (long long)p * channels + c;
        const Vector<T, V> values = load<V>(x + at);
        const Vector<A, V> g = rectified(dy, values, at);
        Vector<T, V> result, passed;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            const A centred = g.of[i] - (shifted[i] + norm.normalised(i, A(values.of[i])) * scaled[i]);
            result.of[i] = T(norm.scale[i] * norm.rstd[i] * centred);
            passed.of[i] = T(g.of[i]);
        }
        store(dx + at, result);
        if (dresidual) store(dresidual + at, passed);
    }
}

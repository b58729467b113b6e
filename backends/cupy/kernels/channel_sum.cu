// Sums over pixels, one for each channel: chunks of pixels first, then the chunks; always in the same order, and in
// double as in the reference, so that sums that cancel, as the gradient of the key's bias does, are accurate.

// partial[group, chunk, c] = Σ a or, where b is given, Σ a·b over the chunk's pixels; blocks of (32, 8) threads.
template <class T>
__global__ void channel_sum(const T* a, const T* b, double* partial, int pixels, int channels, int per_chunk) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const int begin = blockIdx.y * per_chunk, end = min(pixels, begin + per_chunk);
    const long long group = (long long)blockIdx.z * pixels;
    double sum = 0;
    if (c < channels)
#pragma unroll 4
        for (int p = begin + threadIdx.y; p < end; p += 8) {
            const long long i = (group + p) * channels + c;
            sum += b ? double(a[i]) * double(b[i]) : double(a[i]);
        }
    __shared__ double sums[8][32];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int i = 1; i < 8; ++i) sum += sums[i][threadIdx.x];
    partial[((long long)blockIdx.z * gridDim.y + blockIdx.y) * channels + c] = sum;
}

// out[group, c] = Σ over chunks of partial[group, chunk, c]; blocks of (32, 32) threads.
template <class T> __global__ void __launch_bounds__(1024) sum_chunks(const double* partial, T* out, int chunks, int channels) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    double sum = 0;
    if (c < channels)
        for (int i = threadIdx.y; i < chunks; i += 32)
            sum += partial[((long long)blockIdx.y * chunks + i) * channels + c];
    __shared__ double sums[32][32];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int i = 1; i < 32; ++i) sum += sums[i][threadIdx.x];
    out[(long long)blockIdx.y * channels + c] = T(sum);
}

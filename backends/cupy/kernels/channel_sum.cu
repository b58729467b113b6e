// Sums over pixels, one for each channel: chunks of pixels first, then the chunks; always in the same order.

// partial[group, chunk, c] = Σ a or, where b is given, Σ a·b over the chunk's pixels; blocks of (32, 8) threads.
template <class T>
__global__ void channel_sum(const T* a, const T* b, Acc<T>* partial, int pixels, int channels, int per_chunk) {
    using A = Acc<T>;
    const int c = blockIdx.x * 32 + threadIdx.x;
    const int begin = blockIdx.y * per_chunk, end = min(pixels, begin + per_chunk);
    const long long group = (long long)blockIdx.z * pixels;
    A sum = 0;
    if (c < channels)
#pragma unroll 4
        for (int p = begin + threadIdx.y; p < end; p += 8) {
            const long long i = (group + p) * channels + c;
            sum += b ? A(a[i]) * A(b[i]) : A(a[i]);
        }
    __shared__ A sums[8][32];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int i = 1; i < 8; ++i) sum += sums[i][threadIdx.x];
    partial[((long long)blockIdx.z * gridDim.y + blockIdx.y) * channels + c] = sum;
}

// out[group, c] = Σ over chunks of partial[group, chunk, c]; blocks of (32, 32) threads.
template <class T> __global__ void sum_chunks(const Acc<T>* partial, T* out, int chunks, int channels) {
    using A = Acc<T>;
    const int c = blockIdx.x * 32 + threadIdx.x;
    A sum = 0;
    if (c < channels)
        for (int i = threadIdx.y; i < chunks; i += 32)
            sum += partial[((long long)blockIdx.y * chunks + i) * channels + c];
    __shared__ A sums[32][32];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int i = 1; i < 32; ++i) sum += sums[i][threadIdx.x];
    out[(long long)blockIdx.y * channels + c] = T(sum);
}

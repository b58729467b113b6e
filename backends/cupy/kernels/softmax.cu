// Softmax of rows: WIDTH threads a row, blockDim.y rows a block. Each kernel takes rows of any length, or with
// VALUES > 0 rows of at most WIDTH·VALUES, which then are read once and stay in registers.

// y = softmax(sign · x); y may be x.
template <class T, int WIDTH, int VALUES>
__global__ void __launch_bounds__(WIDTH == 32 ? 256 : WIDTH)
softmax_rows(const T* x, T* y, int rows, int n, int sign) {
    using A = Acc<T>;
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // whole warps, or the whole block, for which no thread waits
    x += (long long)row * n;
    y += (long long)row * n;
    if constexpr (VALUES == 0) {
        const Normaliser<A> norm = row_normaliser<WIDTH>(x, n, A(sign));
        for (int k = threadIdx.x; k < n; k += WIDTH) y[k] = T(exp(A(sign) * A(x[k]) - norm.max) / norm.sum);
    } else {
        A v[VALUES], max = lowest<A>(), sum = 0;
#pragma unroll
        for (int i = 0; i < VALUES; ++i) {
            const int k = threadIdx.x + i * WIDTH;
            v[i] = k < n ? A(sign) * A(x[k]) : lowest<A>();
            max = larger(max, v[i]);
        }
        max = row_max<WIDTH>(max);
#pragma unroll
        for (int i = 0; i < VALUES; ++i)
            if (int(threadIdx.x) + i * WIDTH < n) {
                v[i] = exp(v[i] - max);
                sum += v[i];
            }
        const A scale = 1 / row_sum<WIDTH>(sum);
#pragma unroll
        for (int i = 0; i < VALUES; ++i) {
            const int k = threadIdx.x + i * WIDTH;
            if (k < n) y[k] = T(v[i] * scale);
        }
    }
}

// The class with the highest of n scores, the first of equals; NaN is higher than any. A thread a pixel.
template <class T> __global__ void label_map(const T* scores, unsigned char* labels, int pixels, int n) {
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= pixels) return;
    scores += (long long)pixel * n;
    Acc<T> best = Acc<T>(scores[0]);
    int label = 0;
    for (int k = 1; k < n && best == best; ++k) {
        const Acc<T> score = Acc<T>(scores[k]);
        if (score > best || score != score) {
            best = score;
            label = k;
        }
    }
    labels[pixel] = (unsigned char)label;
}

// dx = sign · y · (dy − Σ y·dy); dx may be dy.
template <class T, int WIDTH>
__global__ void softmax_rows_backward(const T* y, const T* dy, T* dx, int rows, int n, int sign) {
    using A = Acc<T>;
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    y += (long long)row * n;
    dy += (long long)row * n;
    dx += (long long)row * n;
    A dot = 0;
    for (int k = threadIdx.x; k < n; k += WIDTH) dot += A(y[k]) * A(dy[k]);
    dot = row_sum<WIDTH>(dot);
    for (int k = threadIdx.x; k < n; k += WIDTH) dx[k] = T(A(sign) * A(y[k]) * (A(dy[k]) - dot));
}

// Softmax of rows: WIDTH threads a row, blockDim.y rows a block.

// y = softmax(sign · x); y may be x.
template <class T, int WIDTH>
__global__ void softmax_rows(const T* x, T* y, int rows, int n, int sign) {
    using A = Acc<T>;
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // whole warps, or the whole block: nobody waits for them
    x += (long long)row * n;
    y += (long long)row * n;
    const Normaliser<A> norm = row_normaliser<WIDTH>(x, n, A(sign));
    for (int k = threadIdx.x; k < n; k += WIDTH) y[k] = T(exp(A(sign) * A(x[k]) - norm.max) / norm.sum);
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

// For losses of pixels with labels: LANES threads a pixel, blocks of (LANES, ROWS) threads. A label that is neither a
// class nor ignored makes the loss NaN.

constexpr int LANES = 8, ROWS = 32;

template <class A> __device__ A label_weight(int label, int classes, int ignore, const A* class_weights) {
    if (label == ignore) return 0;
    if (label < 0 || label >= classes) return A(nan(""));
    return class_weights ? class_weights[label] : A(1);
}

// Adds up what the rows of a block have, and writes it to partial[0, block] and partial[1, block].
template <class A> __device__ void write_sums(A loss, A total, A* partial) {
    __shared__ A losses[ROWS], totals[ROWS];
    if (threadIdx.x == 0) {
        losses[threadIdx.y] = loss;
        totals[threadIdx.y] = total;
    }
    __syncthreads();
    if (threadIdx.x || threadIdx.y) return;
    for (int i = 1; i < ROWS; ++i) {
        loss += losses[i];
        total += totals[i];
    }
    partial[blockIdx.x] = loss;
    partial[gridDim.x + blockIdx.x] = total;
}

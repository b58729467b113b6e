// Softmax cross-entropy, and the choice of the pixels for which it is largest.
#include "labels.cuh"

// One pair for each block: Σ weight·(log Σ exp z − z_target), and Σ weight.
template <class T>
__global__ void cross_entropy(const T* logits, const int* labels, const Acc<T>* class_weights, Acc<T>* partial,
                              int rows, int classes, int ignore) {
    using A = Acc<T>;
    A loss = 0, total = 0;
    for (int first = blockIdx.x * ROWS; first < rows; first += gridDim.x * ROWS) {
        const int row = min(first + int(threadIdx.y), rows - 1);  // the normaliser needs all threads of a warp
        const T* z = logits + (long long)row * classes;
        const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
        const int label = labels[row];
        const A weight = label_weight(label, classes, ignore, class_weights);
        if (first + int(threadIdx.y) >= rows || weight == 0) continue;
        loss += weight == weight ? weight * (log(norm.sum) + (norm.max - A(z[label]))) : weight;
        total += weight;
    }
    write_sums(loss, total, partial);
}

// result[0] = Σ loss / Σ weight, result[1] = 1 / Σ weight; both 0 if all pixels are ignored. One block of 256 threads.
template <class A> __global__ void cross_entropy_finish(const A* partial, A* result, int blocks) {
    A loss = 0, total = 0;
    for (int i = threadIdx.x; i < blocks; i += 256) {
        loss += partial[i];
        total += partial[blocks + i];
    }
    loss = row_sum<256>(loss);
    total = row_sum<256>(total);
    if (threadIdx.x) return;
    result[0] = total == 0 ? A(0) : loss / total;
    result[1] = total == 0 ? A(0) : 1 / total;
}

// log Σ exp z − z_target of each pixel; the lowest number where it is ignored.
template <class T>
__global__ void pixel_losses(const T* logits, const int* labels, Acc<T>* losses, int rows, int classes, int ignore) {
    using A = Acc<T>;
    const int wanted = blockIdx.x * ROWS + threadIdx.y, row = min(wanted, rows - 1);
    const T* z = logits + (long long)row * classes;
    const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
    if (wanted >= rows || threadIdx.x) return;
    const int label = labels[row];
    if (label == ignore)
        losses[row] = lowest<A>();
    else if (label < 0 || label >= classes)
        losses[row] = A(nan(""));
    else
        losses[row] = log(norm.sum) + (norm.max - A(z[label]));
}

// The labels of pixels that are hard, the ignored label for all others; a thread a pixel. What is NaN is hard.
template <class A>
__global__ void hard_pixels(const A* losses, const A* ascending, const long long* labelled, const int* labels,
                            int* hard, int pixels, double least, double easy, int ignore) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const int wanted = larger(1, int(ceil(least * double(*labelled))));
    A cut = ascending[pixels - wanted];
    if (A(easy) < cut) cut = A(easy);
    hard[i] = losses[i] < cut ? ignore : labels[i];
}

// dlogits = dscaled · weight · (softmax(z) − [k is the target])
template <class T>
__global__ void cross_entropy_backward(const T* logits, const int* labels, const Acc<T>* class_weights,
                                       const Acc<T>* dscaled, T* dlogits, int rows, int classes, int ignore) {
    using A = Acc<T>;
    const int wanted = blockIdx.x * ROWS + threadIdx.y, row = min(wanted, rows - 1);
    const T* z = logits + (long long)row * classes;
    const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
    if (wanted >= rows) return;
    const int label = labels[row];
    const A weight = label_weight(label, classes, ignore, class_weights), dpixel = *dscaled * weight;
    T* dz = dlogits + (long long)row * classes;
    for (int k = threadIdx.x; k < classes; k += LANES)
        dz[k] = T(weight == 0 ? A(0) : dpixel * (exp(A(z[k]) - norm.max) / norm.sum - A(k == label)));
}

// The Lovász-softmax loss; the pixels of each class are sorted between the first kernel and the second.
#include "labels.cuh"

// errors[k, row] = −m, minus the error of class k, whose ascending order is that of the largest errors first; 1 where
// the pixel is ignored, which comes last. Blocks of (LANES, ROWS) threads.
template <class T>
__global__ void lovasz_errors(const T* logits, const int* labels, Acc<T>* errors, int rows, int classes, int ignore) {
    using A = Acc<T>;
    const int wanted = blockIdx.x * ROWS + threadIdx.y, row = min(wanted, rows - 1);
    const T* z = logits + (long long)row * classes;
    const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
    if (wanted >= rows) return;
    const int label = labels[row];
    const A weight = label_weight<A>(label, classes, ignore, nullptr);
    for (int k = threadIdx.x; k < classes; k += LANES) {
        const A p = exp(A(z[k]) - norm.max) / norm.sum;
        errors[(long long)k * rows + row] = weight == 0 ? A(1) : weight * (k == label ? p - 1 : -p);
    }
}

// The errors of a class, replaced by the slopes of its Jaccard loss with the sign of dm/dp; partial[block] = Σ slope·m.
// `gone` counts the pixels of the class in sorted order, and all of them are written to `pixels`. Blocks of 256
// threads, a thread a pixel. Ignored pixels come when nothing of the class is left, so their slope is 0.
template <class A>
__global__ void lovasz_slopes(const long long* order, const int* gone, const int* labels, A* errors, A* partial,
                              int* pixels, int rows, int label) {
    const int i = blockIdx.x * 256 + threadIdx.x, count = gone[rows - 1];
    A loss = 0;
    if (i < rows) {
        const long long row = order[i];
        const int target = labels[row];
        const A error = -errors[row], left = A(count - gone[i]), united = A(count + i + 1 - gone[i]);
        A slope = target == label ? 1 / united : left / (united * larger(united - 1, A(1)));
        if (error != error) slope = error;
        loss = slope * error;
        errors[row] = target == label ? -slope : slope;
    }
    loss = row_sum<256>(loss);
    if (threadIdx.x) return;
    partial[blockIdx.x] = loss;
    if (blockIdx.x == 0) *pixels = count;
}

// result[0] = Σ partial / n, result[1] = 1 / n, with the number n of classes that occur; 0 if there is none. One block
// of 256 threads.
template <class A>
__global__ void lovasz_finish(const A* partial, const int* pixels, A* result, int blocks, int classes) {
    double loss = 0, occurring = 0;
    for (long long i = threadIdx.x; i < (long long)blocks * classes; i += 256) loss += partial[i];
    for (int c = threadIdx.x; c < classes; c += 256) occurring += pixels[c] > 0;
    loss = row_sum<256>(loss);
    occurring = row_sum<256>(occurring);
    if (threadIdx.x) return;
    result[0] = A(loss / larger(1.0, occurring));
    result[1] = A(1 / larger(1.0, occurring));
}

// dlogits = p · (dp − Σ p dp), with dp = dscaled · slope
template <class T>
__global__ void lovasz_backward(const T* logits, const Acc<T>* slopes, const Acc<T>* dscaled, T* dlogits, int rows,
                                int classes) {
    using A = Acc<T>;
    const int wanted = blockIdx.x * ROWS + threadIdx.y, row = min(wanted, rows - 1);
    const T* z = logits + (long long)row * classes;
    const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
    A dot = 0;
    for (int k = threadIdx.x; k < classes; k += LANES)
        dot += exp(A(z[k]) - norm.max) / norm.sum * slopes[(long long)k * rows + row];
    dot = row_sum<LANES>(dot);
    if (wanted >= rows) return;
    T* dz = dlogits + (long long)row * classes;
    for (int k = threadIdx.x; k < classes; k += LANES)
        dz[k] = T(*dscaled * (exp(A(z[k]) - norm.max) / norm.sum) * (slopes[(long long)k * rows + row] - dot));
}

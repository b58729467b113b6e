// The focal loss of a softmax.
#include "labels.cuh"

// One pair for each block: Σ weight·(1 − p)^γ·(−log p), and Σ weight.
template <class T>
__global__ void focal(const T* logits, const int* labels, const Acc<T>* class_weights, Acc<T>* partial, int rows,
                      int classes, int ignore, double gamma) {
    using A = Acc<T>;
    A loss = 0, total = 0;
    for (int first = blockIdx.x * ROWS; first < rows; first += gridDim.x * ROWS) {
        const int row = min(first + int(threadIdx.y), rows - 1);  // the normaliser needs all threads of a warp
        const T* z = logits + (long long)row * classes;
        const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
        const int label = labels[row];
        const A weight = label_weight(label, classes, ignore, class_weights);
        if (first + int(threadIdx.y) >= rows || weight == 0) continue;
        total += weight;
        if (weight != weight) {
            loss = weight;
            continue;
        }
        const A lost = log(norm.sum) + (norm.max - A(z[label]));
        loss += weight * pow(-expm1(-lost), A(gamma)) * lost;
    }
    write_sums(loss, total, partial);
}

// dlogits = dscaled · weight · (1 − p)^γ · (1 + γ·p·l/(1 − p)) · (softmax(z) − [k is the target]), with l = −log p
template <class T>
__global__ void focal_backward(const T* logits, const int* labels, const Acc<T>* class_weights,
                               const Acc<T>* dscaled, T* dlogits, int rows, int classes, int ignore, double gamma) {
    using A = Acc<T>;
    const int wanted = blockIdx.x * ROWS + threadIdx.y, row = min(wanted, rows - 1);
    const T* z = logits + (long long)row * classes;
    const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
    if (wanted >= rows) return;
    const int label = labels[row];
    A dpixel = *dscaled * label_weight(label, classes, ignore, class_weights);
    if (dpixel != 0 && dpixel == dpixel) {
        const A lost = log(norm.sum) + (norm.max - A(z[label])), wrong = -expm1(-lost);
        dpixel *= pow(wrong, A(gamma)) * (1 + A(gamma) * exp(-lost) * (wrong > 0 ? lost / wrong : A(1)));
    }
    T* dz = dlogits + (long long)row * classes;
    for (int k = threadIdx.x; k < classes; k += LANES)
        dz[k] = T(dpixel == 0 ? A(0) : dpixel * (exp(A(z[k]) - norm.max) / norm.sum - A(k == label)));
}

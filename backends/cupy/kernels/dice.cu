// The Dice loss. Sums over pixels in chunks: first the chunks of tiles of ROWS pixels, then the chunks of each class.
#include "labels.cuh"

constexpr int CLASSES = 32, GROUPS = LANES * ROWS / CLASSES;  // of a block: its classes, and threads of each

// partial[0, chunk, c] = Σ p g, partial[1, chunk, c] = Σ g, partial[2, chunk, c] = Σ p²; blocks of (LANES, ROWS) threads,
// which first normalise a tile, a row of threads a pixel, and then add it up, a thread a class and every GROUPS-th pixel.
template <class T>
__global__ void dice_sums(const T* logits, const int* labels, Sum<T>* partial, int rows, int classes, int ignore) {
    using A = Acc<T>;
    __shared__ A top[ROWS], scale[ROWS];
    __shared__ int target[ROWS];
    __shared__ Sum<T> sums[3][GROUPS][CLASSES];
    const int thread = threadIdx.y * LANES + threadIdx.x, lane = thread % CLASSES, group = thread / CLASSES;
    const int c = blockIdx.y * CLASSES + lane;
    Sum<T> overlap = 0, count = 0, squares = 0;
    for (int first = blockIdx.x * ROWS; first < rows; first += gridDim.x * ROWS) {
        const int row = min(first + int(threadIdx.y), rows - 1);  // the normaliser needs all threads of a warp
        const Normaliser<A> norm = row_normaliser<LANES>(logits + (long long)row * classes, classes);
        if (threadIdx.x == 0) {
            const int label = labels[row];
            top[threadIdx.y] = norm.max;
            scale[threadIdx.y] = label_weight<A>(label, classes, ignore, nullptr) / norm.sum;
            target[threadIdx.y] = first + int(threadIdx.y) < rows ? label : ignore;
        }
        __syncthreads();
        if (c < classes)
            for (int i = group; i < ROWS; i += GROUPS) {
                if (target[i] == ignore) continue;
                const Sum<T> p = exp(A(logits[(long long)(first + i) * classes + c]) - top[i]) * scale[i];
                squares += p * p;
                if (target[i] != c) continue;
                overlap += p;
                count += 1;
            }
        __syncthreads();
    }
    sums[0][group][lane] = overlap;
    sums[1][group][lane] = count;
    sums[2][group][lane] = squares;
    __syncthreads();
    if (group >= 3 || c >= classes) return;
    Sum<T> sum = 0;
    for (int i = 0; i < GROUPS; ++i) sum += sums[group][i][lane];
    partial[((long long)group * gridDim.x + blockIdx.x) * classes + c] = sum;
}

// loss = 1 − mean of D over the classes that occur; dice[c] = D, scale[c] = 2 / (their number · the denominator of D),
// both 0 for a class that does not occur. One block of 256 threads.
template <class T>
__global__ void dice_finish(const Sum<T>* partial, Acc<T>* dice, Acc<T>* scale, Acc<T>* loss, int chunks, int classes) {
    double missing = 0, occurring = 0;
    for (int c = threadIdx.x; c < classes; c += 256) {
        double sums[3] = {};
#pragma unroll
        for (int n = 0; n < 3; ++n)
            for (int i = 0; i < chunks; ++i) sums[n] += partial[((long long)n * chunks + i) * classes + c];
        const bool occurs = sums[1] > 0;
        const double denominator = sums[1] + sums[2], overlap = 2 * sums[0] / denominator;
        dice[c] = Acc<T>(occurs ? overlap : sums[2] == sums[2] ? 0 : sums[2]);
        scale[c] = Acc<T>(occurs ? 2 / denominator : 0);
        missing += occurs ? 1 - overlap : sums[2] == sums[2] ? 0 : sums[2];  // NaN, where a label is wrong
        occurring += occurs;
    }
    missing = row_sum<256>(missing);
    occurring = row_sum<256>(occurring);
    for (int c = threadIdx.x; c < classes; c += 256) scale[c] = Acc<T>(scale[c] / larger(1.0, occurring));
    if (threadIdx.x == 0) *loss = Acc<T>(missing / larger(1.0, occurring));
}

// dlogits = p · (dp − Σ p dp), with dp = dscale · (D p − [k is the target])
template <class T>
__global__ void dice_backward(const T* logits, const int* labels, const Acc<T>* dice, const Acc<T>* dscale, T* dlogits,
                              int rows, int classes, int ignore) {
    using A = Acc<T>;
    const int wanted = blockIdx.x * ROWS + threadIdx.y, row = min(wanted, rows - 1);
    const T* z = logits + (long long)row * classes;
    const Normaliser<A> norm = row_normaliser<LANES>(z, classes);
    const int label = labels[row];
    A dot = 0;
    for (int k = threadIdx.x; k < classes; k += LANES) {
        const A p = exp(A(z[k]) - norm.max) / norm.sum;
        dot += p * dscale[k] * (dice[k] * p - A(k == label));
    }
    dot = row_sum<LANES>(dot);
    if (wanted >= rows) return;
    const A weight = label_weight<A>(label, classes, ignore, nullptr);
    T* dz = dlogits + (long long)row * classes;
    for (int k = threadIdx.x; k < classes; k += LANES) {
        const A p = exp(A(z[k]) - norm.max) / norm.sum;
        dz[k] = T(weight == 0 ? A(0) : weight * p * (dscale[k] * (dice[k] * p - A(k == label)) - dot));
    }
}

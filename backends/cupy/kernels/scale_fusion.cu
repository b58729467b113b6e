// Fusion by attention over at most 32 scales: a warp a pixel, blocks of (32, 8) threads.

// weights = softmax over the scales of logits (pixels, S); y = Σ_s weights_s · scores (S, pixels, K).
template <class T>
__global__ void scale_fusion(const T* scores, const T* logits, T* y, Acc<T>* weights, int pixels, int classes,
                             int scales) {
    using A = Acc<T>;
    const int pixel = blockIdx.x * 8 + threadIdx.y, lane = threadIdx.x;
    if (pixel >= pixels) return;
    const Normaliser<A> norm = row_normaliser<32>(logits + (long long)pixel * scales, scales);
    A mine = 0;  // lane s has the weight of scale s
    if (lane < scales) {
        mine = exp(A(logits[(long long)pixel * scales + lane]) - norm.max) / norm.sum;
        weights[(long long)pixel * scales + lane] = mine;
    }
    for (int base = 0; base < classes; base += 32) {
        const int k = base + lane;
        A sum = 0;
        for (int s = 0; s < scales; ++s) {
            const A weight = __shfl_sync(0xffffffffu, mine, s);
            if (k < classes) sum += weight * A(scores[((long long)s * pixels + pixel) * classes + k]);
        }
        if (k < classes) y[(long long)pixel * classes + k] = T(sum);
    }
}

// dscores = weights · dy; dlogits_s = weights_s · (dweights_s − Σ_t weights_t·dweights_t), dweights_s = Σ_k scores·dy.
template <class T>
__global__ void scale_fusion_backward(const T* scores, const Acc<T>* weights, const T* dy, T* dscores, T* dlogits,
                                      int pixels, int classes, int scales) {
    using A = Acc<T>;
    const int pixel = blockIdx.x * 8 + threadIdx.y, lane = threadIdx.x;
    if (pixel >= pixels) return;
    A dmine = 0;  // lane s has dweights of scale s
    for (int s = 0; s < scales; ++s) {
        const A weight = weights[(long long)pixel * scales + s];
        A dot = 0;
        for (int k = lane; k < classes; k += 32) {
            const long long i = ((long long)s * pixels + pixel) * classes + k;
            const A g = A(dy[(long long)pixel * classes + k]);
            dscores[i] = T(weight * g);
            dot += A(scores[i]) * g;
        }
        dot = row_sum<32>(dot);
        if (lane == s) dmine = dot;
    }
    const A mine = lane < scales ? weights[(long long)pixel * scales + lane] : A(0);
    const A mean = row_sum<32>(mine * dmine);
    if (lane < scales) dlogits[(long long)pixel * scales + lane] = T(mine * (dmine - mean));
}

// Elementwise ops: V neighbouring values a thread, of `groups` such groups.

__device__ inline long long group() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// y = max(z + bias + residual, 0), each of them optional. bias has one value a channel; y may be z.
template <class T, int V>
__global__ void finish(const T* z, const Acc<T>* bias, const T* residual, T* y, long long groups, int channels, int relu) {
    using A = Acc<T>;
    const long long at = group() * V;
    if (group() >= groups) return;
    const Vector<T, V> values = load<V>(z + at);
    const Vector<T, V> added = residual ? load<V>(residual + at) : Vector<T, V>();
    const int c = int(at % channels);  // V divides the channels if there is a bias
    Vector<T, V> result;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        A v = A(values.of[i]);
        if (bias) v += bias[c + i];
        if (residual) v += A(added.of[i]);
        result.of[i] = T(relu && v < 0 ? A(0) : v);  // NaN stays NaN
    }
    store(y + at, result);
}

// dx = dy where y is positive, else 0.
template <class T, int V> __global__ void relu_backward(const T* y, const T* dy, T* dx, long long groups) {
    const long long at = group() * V;
    if (group() >= groups) return;
    const Vector<T, V> out = load<V>(y + at), g = load<V>(dy + at);
    Vector<T, V> result;
#pragma unroll
    for (int i = 0; i < V; ++i) result.of[i] = Acc<T>(out.of[i]) > 0 ? g.of[i] : T(0.f);
    store(dx + at, result);
}

// y = x / (1 − rate) where the mask is true, else 0; the caller gives 1 − rate.
template <class T, int V>
__global__ void masked(const T* x, const bool* mask, T* y, long long groups, double divisor) {
    using A = Acc<T>;
    const long long at = group() * V;
    if (group() >= groups) return;
    const Vector<T, V> values = load<V>(x + at);
    const Vector<bool, V> is_kept = load<V>(mask + at);
    Vector<T, V> result;
#pragma unroll
    for (int i = 0; i < V; ++i) result.of[i] = T(is_kept.of[i] ? A(values.of[i]) / A(divisor) : A(0));
    store(y + at, result);
}

// y = x + gate · update; without an x, y = gate · update.
template <class T, int V>
__global__ void gated(const T* x, const T* update, const Acc<T>* gate, T* y, long long groups) {
    using A = Acc<T>;
    const long long at = group() * V;
    if (group() >= groups) return;
    const Vector<T, V> values = x ? load<V>(x + at) : Vector<T, V>(), updates = load<V>(update + at);
    Vector<T, V> result;
#pragma unroll
    for (int i = 0; i < V; ++i) result.of[i] = T((x ? A(values.of[i]) : A(0)) + *gate * A(updates.of[i]));
    store(y + at, result);
}

// The softmax of a block of attention's rows in the backward pass, fused with its derivative.

// energy → attention = softmax(energy), and dattention → denergy = attention · (dattention − Σ attention·dattention),
// both in place, a block of WIDTH threads a row. Recomputing the normaliser is free: the row is read for the sum
// anyway.
template <class T, int WIDTH>
__global__ void __launch_bounds__(WIDTH) attention_rows_backward(T* energy, T* dattention, int n) {
    using A = Acc<T>;
    energy += (long long)blockIdx.x * n;
    dattention += (long long)blockIdx.x * n;

    A max = lowest<A>(), sum = 0, dot = 0;
    for (int k = threadIdx.x; k < n; k += WIDTH) {
        const A v = A(energy[k]);
        if (v > max) {
            const A shrink = exp(max - v);
            sum *= shrink;
            dot *= shrink;
            max = v;
        }
        const A e = exp(v - max);
        sum += e;
        dot += e * A(dattention[k]);
    }
    const A top = row_max<WIDTH>(max), shrink = exp(max - top);
    const A scale = 1 / row_sum<WIDTH>(sum * shrink);
    dot = row_sum<WIDTH>(dot * shrink) * scale;

    for (int k = threadIdx.x; k < n; k += WIDTH) {
        const A p = exp(A(energy[k]) - top) * scale;
        energy[k] = T(p);
        dattention[k] = T(p * (A(dattention[k]) - dot));
    }
}

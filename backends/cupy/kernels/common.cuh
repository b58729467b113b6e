// Definitions for several kernels. This text is put before each .cu file when it is compiled.
//
// T is the type of maps in memory; Acc<T> is the type to compute in, and of vectors (one value a channel) in memory.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <class T> struct Accumulator { using type = float; };
template <> struct Accumulator<double> { using type = double; };
template <class T> using Acc = typename Accumulator<T>::type;

// Sums over pixels are taken in double, if the precision of T makes that worth while.
template <class T> struct Summand { using type = double; };
template <> struct Summand<__half> { using type = float; };
template <> struct Summand<__nv_bfloat16> { using type = float; };
template <class T> using Sum = typename Summand<T>::type;

// V neighbours in memory, read and written at once if their address is a multiple of their size.
template <class T, int V> struct alignas(sizeof(T) * V) Vector { T of[V]; };
template <int V, class T> __device__ Vector<T, V> load(const T* from) {
    return *reinterpret_cast<const Vector<T, V>*>(from);
}
template <int V, class T> __device__ void store(T* to, const Vector<T, V>& values) {
    *reinterpret_cast<Vector<T, V>*>(to) = values;
}

template <class A> __device__ A lowest();  // the most negative finite number
template <> __device__ inline float lowest<float>() { return -3.402823466e+38f; }
template <> __device__ inline double lowest<double>() { return -1.7976931348623157e+308; }

template <class A> __device__ A larger(A a, A b) { return a > b ? a : b; }

// The sum and the maximum over the WIDTH threads of a row: a power of two up to a warp, of which all 32 threads must
// come here, or a whole block of (WIDTH, 1) threads.
template <int WIDTH, class A> __device__ A row_sum(A v) {
    for (int offset = (WIDTH < 32 ? WIDTH : 32) / 2; offset; offset >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, offset);
    if constexpr (WIDTH <= 32) return v;
    __shared__ A parts[(WIDTH + 31) / 32];
    __syncthreads();  // no thread still reads the parts of an earlier call
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int i = 1; i < WIDTH / 32; ++i) v += parts[i];
    return v;
}

template <int WIDTH, class A> __device__ A row_max(A v) {
    for (int offset = (WIDTH < 32 ? WIDTH : 32) / 2; offset; offset >>= 1)
        v = larger(v, A(__shfl_xor_sync(0xffffffffu, v, offset)));
    if constexpr (WIDTH <= 32) return v;
    __shared__ A parts[(WIDTH + 31) / 32];
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int i = 1; i < WIDTH / 32; ++i) v = larger(v, parts[i]);
    return v;
}

// Σ exp(x) over a row as sum·exp(max): no exponential overflows, and x − max loses no digits.
template <class A> struct Normaliser { A max, sum; };

template <int WIDTH, class T> __device__ Normaliser<Acc<T>> row_normaliser(const T* x, int n, Acc<T> sign = 1) {
    using A = Acc<T>;
    A max = lowest<A>(), sum = 0;
    for (int k = threadIdx.x; k < n; k += WIDTH) {
        const A v = sign * A(x[k]);
        if (v > max) {
            sum *= exp(max - v);
            max = v;
        }
        sum += exp(v - max);
    }
    const A top = row_max<WIDTH>(max);
    return {top, row_sum<WIDTH>(sum * exp(max - top))};
}

// Linear interpolation along one axis: arrays are (outer, size, inner), a block has blockDim.y lines of inner values.

struct Tap { int before, after; double fraction; };  // the position of an output sample among the input samples

// ratio is the distance of two output samples in input samples.
__device__ inline Tap tap_of(int o, int in, double ratio, int align_corners) {
    double position = align_corners ? o * ratio : (o + 0.5) * ratio - 0.5;
    position = position < 0 ? 0.0 : position > in - 1 ? in - 1.0 : position;
    const int before = int(position);
    return {before, min(before + 1, in - 1), position - before};
}

template <class T>
__global__ void interpolate(const T* x, T* y, int outer, int in, int out, int inner, double ratio,
                            int align_corners) {
    using A = Acc<T>;
    const int line = blockIdx.x * blockDim.y + threadIdx.y;
    if (line >= outer * out) return;
    const Tap tap = tap_of(line % out, in, ratio, align_corners);
    const A before = A(1 - tap.fraction), after = A(tap.fraction);
    const T* image = x + (long long)(line / out) * in * inner;
    for (int i = threadIdx.x; i < inner; i += blockDim.x)
        y[(long long)line * inner + i] = T(before * A(image[(long long)tap.before * inner + i]) +
                                           after * A(image[(long long)tap.after * inner + i]));
}

// The transpose: an input sample is the weighted sum of the output samples within one input step of it.
template <class T>
__global__ void interpolate_backward(const T* dy, T* dx, int outer, int in, int out, int inner, double ratio,
                                     int align_corners) {
    using A = Acc<T>;
    const int line = blockIdx.x * blockDim.y + threadIdx.y;
    if (line >= outer * in) return;
    const int at = line % in;
    const double step = ratio > 0 ? 1 / ratio : out;
    const double from = align_corners ? (at - 1) * step : (at - 0.5) * step - 0.5;
    const double to = align_corners ? (at + 1) * step : (at + 1.5) * step - 0.5;
    const int first = max(int(floor(from)) - 1, 0);  // one more on each side, so that rounding skips none
    const int last = in == 1 || at == in - 1 ? out - 1 : min(int(ceil(to)) + 1, out - 1);
    const T* image = dy + (long long)(line / in) * out * inner;
    for (int i = threadIdx.x; i < inner; i += blockDim.x) {
        A sum = 0;
        for (int o = first; o <= last; ++o) {
            const Tap tap = tap_of(o, in, ratio, align_corners);
            const A weight = (tap.before == at ? A(1 - tap.fraction) : A(0)) + (tap.after == at ? A(tap.fraction) : A(0));
            if (weight != 0) sum += weight * A(image[(long long)o * inner + i]);
        }
        dx[(long long)line * inner + i] = T(sum);
    }
}

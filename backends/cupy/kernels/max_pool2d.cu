// Max pooling: a line of threads a pixel, one thread a channel.

template <class T>
__global__ void max_pool2d(const T* x, T* y, unsigned short* winner, int pixels, int height, int width, int channels,
                           int out_height, int out_width, int window, int stride, int padding) {
    const int pixel = blockIdx.x * blockDim.y + threadIdx.y;
    if (pixel >= pixels) return;
    const int top = pixel / out_width % out_height * stride - padding, left = pixel % out_width * stride - padding;
    const T* image = x + (long long)(pixel / out_width / out_height) * height * width * channels;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        T best = T(0);
        int won = -1;
        for (int i = max(0, -top); i < min(window, height - top); ++i)
            for (int j = max(0, -left); j < min(window, width - left); ++j) {
                const T v = image[((long long)(top + i) * width + left + j) * channels + c];
                // On a tie the first in row order wins; NaN wins over every number.
                if (won < 0 || v > best || (v != v && best == best)) {
                    best = v;
                    won = i * window + j;
                }
            }
        y[(long long)pixel * channels + c] = best;
        winner[(long long)pixel * channels + c] = (unsigned short)won;
    }
}

// The gradient of an input pixel is the sum over the windows that it won.
template <class T>
__global__ void max_pool2d_backward(const T* dy, const unsigned short* winner, T* dx, int pixels, int height,
                                    int width, int channels, int out_height, int out_width, int window, int stride,
                                    int padding) {
    const int pixel = blockIdx.x * blockDim.y + threadIdx.y;
    if (pixel >= pixels) return;
    const int h = pixel / width % height + padding, w = pixel % width + padding;
    const long long image = (long long)(pixel / width / height) * out_height * out_width;
    const int first_h = h < window ? 0 : (h - window) / stride + 1, last_h = min(h / stride, out_height - 1);
    const int first_w = w < window ? 0 : (w - window) / stride + 1, last_w = min(w / stride, out_width - 1);
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        Acc<T> sum = 0;
        for (int oh = first_h; oh <= last_h; ++oh)
            for (int ow = first_w; ow <= last_w; ++ow) {
                const long long o = (image + (long long)oh * out_width + ow) * channels + c;
                if (winner[o] == (h - oh * stride) * window + w - ow * stride) sum += Acc<T>(dy[o]);
            }
        dx[(long long)pixel * channels + c] = T(sum);
    }
}

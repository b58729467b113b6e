// Convolution as a matrix product: a row of columns is what one output pixel sees, tap after tap.

// columns[pixel − first, tap, c] = x[the pixel under the tap, c], 0 outside the image. V is any type of a copy's width.
template <class V>
__global__ void im2col(const V* x, V* columns, int first, int pixels, int height, int width, int channels,
                       int out_height, int out_width, int kh, int kw, int stride, int padding, int dilation) {
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    const int taps = kh * kw;
    if (row >= (long long)pixels * taps) return;
    const int local = int(row / taps), tap = int(row - (long long)local * taps), pixel = first + local;
    const int h = pixel / out_width % out_height * stride - padding + tap / kw * dilation;
    const int w = pixel % out_width * stride - padding + tap % kw * dilation;
    const bool inside = h >= 0 && h < height && w >= 0 && w < width;
    const V* seen = x + (((long long)(pixel / out_width / out_height) * height + h) * width + w) * channels;
    for (int c = threadIdx.x; c < channels; c += blockDim.x)
        columns[row * channels + c] = inside ? seen[c] : V{};
}

// The transpose: an input pixel, of the images from first_image on, collects from every tap that saw it. Output
// pixels first ≤ o < first + pixels stand in columns; with accumulate the others' shares are in dx already.
template <class T>
__global__ void col2im(const T* columns, T* dx, int first_image, int images, int first, int pixels, int height,
                       int width, int channels, int out_height, int out_width, int kh, int kw, int stride, int padding,
                       int dilation, int accumulate) {
    const int local = blockIdx.x * blockDim.y + threadIdx.y;
    if (local >= images * height * width) return;
    const int pixel = first_image * height * width + local, image = pixel / width / height;
    const int h = pixel / width % height + padding, w = pixel % width + padding;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        Acc<T> sum = accumulate ? Acc<T>(dx[(long long)pixel * channels + c]) : Acc<T>(0);
        for (int i = 0; i < kh; ++i) {
            const int oh = h - i * dilation;
            if (oh < 0 || oh % stride || oh / stride >= out_height) continue;
            for (int j = 0; j < kw; ++j) {
                const int ow = w - j * dilation;
                if (ow < 0 || ow % stride || ow / stride >= out_width) continue;
                const int o = (image * out_height + oh / stride) * out_width + ow / stride - first;
                if (o < 0 || o >= pixels) continue;
                sum += Acc<T>(columns[((long long)o * kh * kw + i * kw + j) * channels + c]);
            }
        }
        dx[(long long)pixel * channels + c] = T(sum);
    }
}

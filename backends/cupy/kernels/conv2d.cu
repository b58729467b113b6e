// The moves of data before or after the product of a convolution: a row of columns has one pixel's values, tap by tap.

// columns[n, tap, c] = image[pixel under the tap of the grid's pixel first + n, c], 0 outside the image. V is any
// type of a copy's width.
template <class V>
__global__ void gather(const V* image, V* columns, int first, int pixels, int height, int width, int channels,
                       int grid_height, int grid_width, int kh, int kw, int stride, int padding, int dilation) {
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    const int taps = kh * kw;
    if (row >= (long long)pixels * taps) return;
    const int local = int(row / taps), tap = int(row - (long long)local * taps), pixel = first + local;
    const int h = pixel / grid_width % grid_height * stride - padding + tap / kw * dilation;
    const int w = pixel % grid_width * stride - padding + tap % kw * dilation;
    const bool inside = h >= 0 && h < height && w >= 0 && w < width;
    const V* seen = image + (((long long)(pixel / grid_width / grid_height) * height + h) * width + w) * channels;
    for (int c = threadIdx.x; c < channels; c += blockDim.x)
        columns[row * channels + c] = inside ? seen[c] : V{};
}

// The transpose: each pixel of the images from first_image on is the sum over the grid's pixels first ≤ o < first +
// pixels whose windows it is under; with accumulate, added to its value.
template <class T>
__global__ void collect(const T* columns, T* image, int first_image, int images, int first, int pixels, int height,
                        int width, int channels, int grid_height, int grid_width, int kh, int kw, int stride,
                        int padding, int dilation, int accumulate) {
    const int local = blockIdx.x * blockDim.y + threadIdx.y;
    if (local >= images * height * width) return;
    const int pixel = first_image * height * width + local, batch = pixel / width / height;
    const int h = pixel / width % height + padding, w = pixel % width + padding;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        Acc<T> sum = accumulate ? Acc<T>(image[(long long)pixel * channels + c]) : Acc<T>(0);
        for (int i = 0; i < kh; ++i) {
            const int grid_h = h - i * dilation;
            if (grid_h < 0 || grid_h % stride || grid_h / stride >= grid_height) continue;
            for (int j = 0; j < kw; ++j) {
                const int grid_w = w - j * dilation;
                if (grid_w < 0 || grid_w % stride || grid_w / stride >= grid_width) continue;
                const int o = (batch * grid_height + grid_h / stride) * grid_width + grid_w / stride - first;
                if (o < 0 || o >= pixels) continue;
                sum += Acc<T>(columns[((long long)o * kh * kw + i * kw + j) * channels + c]);
            }
        }
        image[(long long)pixel * channels + c] = T(sum);
    }
}

// to (columns × rows) = fromᵀ, through tiles of 32 × 32 in shared memory; blocks of (32, 8) threads.
template <class T> __global__ void transpose(const T* from, T* to, int rows, int columns) {
    __shared__ T tile[32][33];
    for (int i = threadIdx.y; i < 32; i += 8) {
        const int r = blockIdx.y * 32 + i, c = blockIdx.x * 32 + threadIdx.x;
        if (r < rows && c < columns) tile[i][threadIdx.x] = from[(long long)r * columns + c];
    }
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += 8) {
        const int r = blockIdx.x * 32 + i, c = blockIdx.y * 32 + threadIdx.x;
        if (r < columns && c < rows) to[(long long)r * rows + c] = tile[threadIdx.x][i];
    }
}

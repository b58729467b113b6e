// Position attention of 16-bit numbers: the kernels between its three large products, which are cuBLAS's.
//
// Energies and their gradients are never stored: each kernel computes the energies query · key that it needs on the
// matrix units, from the few channels of query and key. A block of 128 threads takes tiles of 64 × 64, a warp 16 of the
// rows; DIM is the number of channels, rounded up to a multiple of 16. Logarithms are to the base 2 inside.

#include "copy.cuh"
#include "mma.cuh"

constexpr int TILE = 64, THREADS = 128;
constexpr float LOG2E = 1.4426950408889634f;
constexpr float MASKED = -1e37f;  // an energy below all others, finite also times LOG2E

// Rows of 16-bit numbers in shared memory; 16 bytes more a row, so that ldmatrix finds 8 rows in different banks.
template <class T, int WIDTH> struct Rows {
    alignas(16) T row[TILE][WIDTH + 8];

    // Begins to copy TILE rows of n values from `from`, where `ld` values make a row; zeros beyond `rows` and n.
    __device__ void load(const T* from, int rows, int n, long long ld) {
        for (int i = threadIdx.x; i < TILE * WIDTH / 8; i += THREADS) {
            const int r = i / (WIDTH / 8), c = i % (WIDTH / 8) * 8;
            const bool inside = r < rows && c < n;
            const T* source = inside ? from + r * ld + c : from;
            if (ld % 8 == 0)
                copy_16_bytes(&row[r][c], source, inside);
            else
                for (int k = 0; k < 8; ++k) row[r][c + k] = inside && c + k < n ? source[k] : T(0.f);
        }
    }
};

__device__ inline int lane() { return threadIdx.x % 32; }
__device__ inline int warp() { return threadIdx.x / 32; }

// The 16 rows of this warp as left factors, by way of shared memory.
template <class T, int DIM>
__device__ void load_left(unsigned (&a)[DIM / 16][4], Rows<T, DIM>& rows, const T* from, int count, int d) {
    rows.load(from, count, d, d);
    wait_for_copies();
    __syncthreads();
#pragma unroll
    for (int k = 0; k < DIM / 16; ++k) ldmatrix_x4(a[k], &rows.row[warp() * 16 + lane() % 16][k * 16 + lane() / 16 * 8]);
    __syncthreads();
}

// left (16 × DIM) · rightᵀ (64 × DIM): value e of product[j] belongs to row lane / 4 + 8·(e / 2) of the warp's 16 and to
// column 8·j + 2·(lane % 4) + e % 2.
template <class T, int DIM>
__device__ void energies(float (&product)[8][4], const unsigned (&left)[DIM / 16][4], const Rows<T, DIM>& right) {
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) product[j][e] = 0;
#pragma unroll
    for (int k = 0; k < DIM / 16; ++k)
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            unsigned b[4];
            ldmatrix_x4(b, &right.row[j * 8 + lane() / 16 * 8 + lane() % 8][k * 16 + lane() / 8 % 2 * 8]);
            const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
            mma_m16n8k16<T>(product[j], left[k], first);
            mma_m16n8k16<T>(product[j + 1], left[k], second);
        }
}

// sum (16 × DIM) += left (16 × 64, as `energies` leaves it, rounded to T) · right (64 × DIM).
template <class T, int DIM>
__device__ void gather(float (&sum)[DIM / 8][4], const float (&left)[8][4], const Rows<T, DIM>& right) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const float(&x)[4] = left[2 * k];
        const float(&y)[4] = left[2 * k + 1];
        const unsigned a[4] = {pack<T>(x[0], x[1]), pack<T>(x[2], x[3]), pack<T>(y[0], y[1]), pack<T>(y[2], y[3])};
#pragma unroll
        for (int j = 0; j < DIM / 8; j += 2) {
            unsigned b[4];
            ldmatrix_x4_trans(b, &right.row[k * 16 + lane() % 16][j * 8 + lane() / 16 * 8]);
            const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
            mma_m16n8k16<T>(sum[j], a, first);
            mma_m16n8k16<T>(sum[j + 1], a, second);
        }
    }
}

// Adds the warp's 16 rows of `sum` to those of out (rows × d), or sets them.
template <int DIM>
__device__ void write_sum(const float (&sum)[DIM / 8][4], float* out, int rows, int d, int accumulate) {
#pragma unroll
    for (int j = 0; j < DIM / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int r = warp() * 16 + lane() / 4 + 8 * (e / 2), c = j * 8 + 2 * (lane() % 4) + e % 2;
            if (r < rows && c < d) out[(long long)r * d + c] = sum[j][e] + (accumulate ? out[(long long)r * d + c] : 0.f);
        }
}

// The part of a loop over the tiles of `length` values that belongs to this block of gridDim.y.
struct Part {
    int begin, end;

    __device__ explicit Part(int length) {
        const int tiles = (length + TILE - 1) / TILE, each = (tiles + gridDim.y - 1) / gridDim.y;
        begin = blockIdx.y * each;
        end = min(begin + each, tiles);
    }
};

// Runs compute(t, stage) for each tile of a part, and load(t + 1, 1 - stage) at the same time, where shared
// memory has room for two stages.
template <int STAGES, class Load, class Compute> __device__ void pipeline(Part part, Load load, Compute compute) {
    if (STAGES == 2 && part.begin < part.end) {
        load(part.begin, 0);
        end_group();
    }
    for (int t = part.begin; t < part.end; ++t) {
        if (STAGES == 1) {
            __syncthreads();  // no thread still reads the previous tile
            load(t, 0);
            end_group();
        }
        wait_for_copies();
        __syncthreads();  // all copies have arrived, and all threads are done with the previous tile
        const int stage = STAGES == 2 ? (t - part.begin) % 2 : 0;
        if (STAGES == 2 && t + 1 < part.end) {
            load(t + 1, 1 - stage);
            end_group();
        }
        compute(t, stage);
    }
}
template <int DIM> constexpr int stages() { return DIM > 64 ? 1 : 2; }

// Of each row of softmax(query · keyᵀ), over the keys of a part: the largest energy, and Σ exp(energy − largest).
template <class T, int DIM>
__global__ void __launch_bounds__(THREADS)
attention_normalisers(const T* query, const T* key, float* largest, float* sums, int n, int d) {
    __shared__ Rows<T, DIM> keys[stages<DIM>()];
    const int first = blockIdx.x * TILE;
    unsigned left[DIM / 16][4];
    load_left<T, DIM>(left, keys[0], query + (long long)first * d, n - first, d);

    float max[2] = {MASKED, MASKED}, sum[2] = {0, 0};
    auto load = [&](int t, int stage) { keys[stage].load(key + (long long)t * TILE * d, n - t * TILE, d, d); };
    auto compute = [&](int t, int stage) {
        float energy[8][4];
        energies<T, DIM>(energy, left, keys[stage]);
        if (t * TILE + TILE > n)
#pragma unroll
            for (int j = 0; j < 8; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    if (t * TILE + j * 8 + 2 * (lane() % 4) + e % 2 >= n) energy[j][e] = MASKED;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float top = max[h];
#pragma unroll
            for (int j = 0; j < 8; ++j) top = larger(top, larger(energy[j][2 * h], energy[j][2 * h + 1]));
            sum[h] *= exp2f((max[h] - top) * LOG2E);
            max[h] = top;
            const float shift = top * LOG2E;
#pragma unroll
            for (int j = 0; j < 8; ++j)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; ++e) sum[h] += exp2f(energy[j][e] * LOG2E - shift);
        }
    };
    pipeline<stages<DIM>()>(Part(n), load, compute);
#pragma unroll
    for (int h = 0; h < 2; ++h) {  // four threads have a row
        const float mine = max[h];
        for (int offset = 1; offset < 4; offset *= 2) max[h] = larger(max[h], __shfl_xor_sync(0xffffffffu, max[h], offset));
        sum[h] *= exp2f((mine - max[h]) * LOG2E);
        for (int offset = 1; offset < 4; offset *= 2) sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], offset);
        const int r = first + warp() * 16 + lane() / 4 + 8 * h;
        if (lane() % 4 == 0 && r < n) {
            largest[(long long)blockIdx.y * n + r] = max[h];
            sums[(long long)blockIdx.y * n + r] = sum[h];
        }
    }
}

// lse = log2 Σ exp(energy) of each row, from the normalisers of all parts.
template <class T>
__global__ void attention_lse(const float* largest, const float* sums, T* lse, int n, int parts) {
    const int r = blockIdx.x * blockDim.x + threadIdx.x;
    if (r >= n) return;
    float max = MASKED, sum = 0;
    for (int i = 0; i < parts; ++i) max = larger(max, largest[(long long)i * n + r]);
    for (int i = 0; i < parts; ++i) sum += sums[(long long)i * n + r] * exp2f((largest[(long long)i * n + r] - max) * LOG2E);
    lse[r] = T(max * LOG2E + log2f(sum));
}

// Writes the warp's 16 rows to a matrix of `ld` values a row.
template <class T> __device__ void store_rows(const Rows<T, TILE>& tile, T* to, int rows, int columns, int ld) {
    __syncwarp();
    for (int i = lane(); i < 16 * TILE / 8; i += 32) {
        const int r = warp() * 16 + i / (TILE / 8), c = i % (TILE / 8) * 8;
        if (r < rows && c < columns)
            *reinterpret_cast<uint4*>(to + (long long)r * ld + c) = *reinterpret_cast<const uint4*>(&tile.row[r][c]);
    }
    __syncwarp();
}

// attention (rows × ld) = exp(query · keyᵀ − lse): `rows` rows of the map. ld is n rounded up to a multiple of 8.
template <class T, int DIM>
__global__ void __launch_bounds__(THREADS)
attention_rows(const T* query, const T* key, const float* lse, T* attention, int rows, int n, int d, int ld) {
    __shared__ Rows<T, DIM> keys[stages<DIM>()];
    __shared__ Rows<T, TILE> out;
    const int first = blockIdx.x * TILE, mine = warp() * 16 + lane() / 4;
    unsigned left[DIM / 16][4];
    load_left<T, DIM>(left, keys[0], query + (long long)first * d, rows - first, d);
    float norm[2];
    for (int h = 0; h < 2; ++h) norm[h] = first + mine + 8 * h < rows ? lse[first + mine + 8 * h] : 0.f;

    auto load = [&](int t, int stage) { keys[stage].load(key + (long long)t * TILE * d, n - t * TILE, d, d); };
    auto compute = [&](int t, int stage) {
        float p[8][4];
        energies<T, DIM>(p, left, keys[stage]);
#pragma unroll
        for (int j = 0; j < 8; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h)
                *reinterpret_cast<unsigned*>(&out.row[mine + 8 * h][j * 8 + 2 * (lane() % 4)]) =
                    pack<T>(exp2f(p[j][2 * h] * LOG2E - norm[h]), exp2f(p[j][2 * h + 1] * LOG2E - norm[h]));
        store_rows(out, attention + (long long)first * ld + t * TILE, rows - first, ld - t * TILE, ld);
    };
    pipeline<stages<DIM>()>(Part(n), load, compute);
}

// delta (gridDim.y × rows) = Σ attention · dattention of each row, over the keys of a part. It is computed from the
// same rounded dattention (rows × ld) from which it is subtracted: in a row that attends to a single pixel, the
// difference is exactly zero, as it should be.
template <class T, int DIM>
__global__ void __launch_bounds__(THREADS)
attention_delta(const T* query, const T* key, const float* lse, const T* dattention, float* delta, int rows, int n, int d,
                int ld) {
    __shared__ Rows<T, DIM> keys[stages<DIM>()];
    __shared__ Rows<T, TILE> blocks[stages<DIM>()];
    const int first = blockIdx.x * TILE, mine = warp() * 16 + lane() / 4;
    unsigned left[DIM / 16][4];
    load_left<T, DIM>(left, keys[0], query + (long long)first * d, rows - first, d);
    float norm[2], sum[2] = {0, 0};
    for (int h = 0; h < 2; ++h) norm[h] = first + mine + 8 * h < rows ? lse[first + mine + 8 * h] : 0.f;

    auto load = [&](int t, int stage) {
        keys[stage].load(key + (long long)t * TILE * d, n - t * TILE, d, d);
        blocks[stage].load(dattention + (long long)first * ld + t * TILE, rows - first, ld - t * TILE, ld);
    };
    auto compute = [&](int t, int stage) {
        float energy[8][4];
        energies<T, DIM>(energy, left, keys[stage]);
        const bool whole = t * TILE + TILE <= n;
#pragma unroll
        for (int j = 0; j < 8; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int c = j * 8 + 2 * (lane() % 4);
                const float2 dp = unpack<T>(*reinterpret_cast<unsigned*>(&blocks[stage].row[mine + 8 * h][c]));
                if (whole || t * TILE + c < n) sum[h] += exp2f(energy[j][2 * h] * LOG2E - norm[h]) * dp.x;
                if (whole || t * TILE + c + 1 < n) sum[h] += exp2f(energy[j][2 * h + 1] * LOG2E - norm[h]) * dp.y;
            }
    };
    pipeline<stages<DIM>()>(Part(n), load, compute);
#pragma unroll
    for (int h = 0; h < 2; ++h) {  // four threads have a row
        for (int offset = 1; offset < 4; offset *= 2) sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], offset);
        const int r = first + mine + 8 * h;
        if (lane() % 4 == 0 && r < rows) delta[(long long)blockIdx.y * rows + r] = sum[h];
    }
}

// dquery (gridDim.y × rows × d), a sum for each part of the keys, of denergy = attention · (dattention − delta); and,
// in the place of dattention (rows × ld), the attention, for its product with dy.
template <class T, int DIM>
__global__ void __launch_bounds__(THREADS)
attention_dquery(const T* query, const T* key, const float* lse, const float* delta, T* dattention, float* dquery,
                 int rows, int n, int d, int ld) {
    __shared__ Rows<T, DIM> keys[stages<DIM>()];
    __shared__ Rows<T, TILE> blocks[stages<DIM>()];
    const int first = blockIdx.x * TILE, mine = warp() * 16 + lane() / 4;
    unsigned left[DIM / 16][4];
    load_left<T, DIM>(left, keys[0], query + (long long)first * d, rows - first, d);
    float norm[2], mean[2], sum[DIM / 8][4] = {};
    for (int h = 0; h < 2; ++h) {
        const int r = first + mine + 8 * h;
        norm[h] = r < rows ? lse[r] : 0.f;
        mean[h] = r < rows ? delta[r] : 0.f;
    }

    T* row = dattention + (long long)first * ld;
    auto load = [&](int t, int stage) {
        keys[stage].load(key + (long long)t * TILE * d, n - t * TILE, d, d);
        blocks[stage].load(row + t * TILE, rows - first, ld - t * TILE, ld);
    };
    auto compute = [&](int t, int stage) {
        float energy[8][4];
        energies<T, DIM>(energy, left, keys[stage]);
        const bool whole = t * TILE + TILE <= n;
#pragma unroll
        for (int j = 0; j < 8; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int c = j * 8 + 2 * (lane() % 4);
                unsigned* both = reinterpret_cast<unsigned*>(&blocks[stage].row[mine + 8 * h][c]);
                const float2 dp = unpack<T>(*both);
                const float p0 = exp2f(energy[j][2 * h] * LOG2E - norm[h]);
                const float p1 = exp2f(energy[j][2 * h + 1] * LOG2E - norm[h]);
                *both = pack<T>(p0, p1);
                energy[j][2 * h] = whole || t * TILE + c < n ? p0 * (dp.x - mean[h]) : 0.f;
                energy[j][2 * h + 1] = whole || t * TILE + c + 1 < n ? p1 * (dp.y - mean[h]) : 0.f;
            }
        gather<T, DIM>(sum, energy, keys[stage]);
        store_rows(blocks[stage], row + t * TILE, rows - first, ld - t * TILE, ld);
    };
    pipeline<stages<DIM>()>(Part(n), load, compute);
    write_sum<DIM>(sum, dquery + ((long long)blockIdx.y * rows + first) * d, rows - first, d, 0);
}

// dkey (gridDim.y × n × d), a sum for each part of the rows of query; with accumulate, added to its values.
template <class T, int DIM>
__global__ void __launch_bounds__(THREADS)
attention_dkey(const T* query, const T* key, const float* lse, const float* delta, const T* dattention, float* dkey,
               int rows, int n, int d, int ld, int accumulate) {
    __shared__ Rows<T, DIM> queries[stages<DIM>()];
    __shared__ Rows<T, TILE> blocks[stages<DIM>()];
    __shared__ float norms[stages<DIM>()][TILE], means[stages<DIM>()][TILE];
    const int first = blockIdx.x * TILE;
    unsigned left[DIM / 16][4];
    load_left<T, DIM>(left, queries[0], key + (long long)first * d, n - first, d);
    float sum[DIM / 8][4] = {};

    auto load = [&](int t, int stage) {
        const int below = rows - t * TILE;
        queries[stage].load(query + (long long)t * TILE * d, below, d, d);
        blocks[stage].load(dattention + (long long)t * TILE * ld + first, below, ld - first, ld);
        if (threadIdx.x < TILE) {  // attention is 0 where there is no row
            norms[stage][threadIdx.x] = threadIdx.x < below ? lse[t * TILE + threadIdx.x] : -lowest<float>();
            means[stage][threadIdx.x] = threadIdx.x < below ? delta[t * TILE + threadIdx.x] : 0.f;
        }
    };
    auto compute = [&](int, int stage) {
        float energy[8][4];  // of keys (rows) and queries (columns)
        energies<T, DIM>(energy, left, queries[stage]);
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            unsigned both[4];  // dattention, transposed as the energies are
            ldmatrix_x4_trans(both, &blocks[stage].row[j * 8 + lane() / 16 * 8 + lane() % 8]
                                                      [warp() * 16 + lane() / 8 % 2 * 8]);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float* pair = &energy[j + i / 2][i % 2 * 2];
                const int c = (j + i / 2) * 8 + 2 * (lane() % 4);
                const float2 dp = unpack<T>(both[i]);
                pair[0] = exp2f(pair[0] * LOG2E - norms[stage][c]) * (dp.x - means[stage][c]);
                pair[1] = exp2f(pair[1] * LOG2E - norms[stage][c + 1]) * (dp.y - means[stage][c + 1]);
            }
        }
        gather<T, DIM>(sum, energy, queries[stage]);
    };
    pipeline<stages<DIM>()>(Part(rows), load, compute);
    write_sum<DIM>(sum, dkey + ((long long)blockIdx.y * n + first) * d, n - first, d, accumulate);
}

// out = Σ over parts of partial (parts × size).
template <class T> __global__ void sum_parts(const float* partial, T* out, int size, int parts) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float sum = 0;
    for (int p = 0; p < parts; ++p) sum += partial[(long long)p * size + i];
    out[i] = T(sum);
}

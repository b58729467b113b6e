// Updates of all parameters in one launch. Each block of 256 threads takes CHUNK values of one of many arrays.

constexpr int CHUNK = 8192;

// Arrays of one call side by side: columns of `count` addresses, then a column each of kinds, sizes and first blocks,
// then columns of numbers.
struct Table {
    const unsigned long long* words;
    int count;

    __device__ unsigned long long at(int column, int row) const { return words[(long long)column * count + row]; }
    template <class T> __device__ T* array(int column, int row) const { return reinterpret_cast<T*>(at(column, row)); }
    __device__ double number(int column, int row) const {
        return __longlong_as_double((long long)at(column, row));
    }
};

enum Kind { FLOAT, DOUBLE, HALF, BFLOAT16 };

__device__ inline double read(unsigned long long address, int kind, long long i) {
    switch (kind) {
        case FLOAT: return reinterpret_cast<const float*>(address)[i];
        case DOUBLE: return reinterpret_cast<const double*>(address)[i];
        case HALF: return float(reinterpret_cast<const __half*>(address)[i]);
        default: return float(reinterpret_cast<const __nv_bfloat16*>(address)[i]);
    }
}

// The row of a table whose array this block has a chunk of, and the chunk.
struct Share {
    int row;
    long long begin, end;

    __device__ Share(const Table& table, int columns) {
        int low = 0, high = table.count;  // the last row whose first block is not after this one
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if ((int)table.at(columns + 2, middle) <= (int)blockIdx.x) low = middle;
            else high = middle;
        }
        row = low;
        begin = (long long)((int)blockIdx.x - (int)table.at(columns + 2, row)) * CHUNK;
        const long long size = (long long)table.at(columns + 1, row);
        end = begin + CHUNK < size ? begin + CHUNK : size;
    }
};

// partial[block] = Σ x² over the chunk. Columns: x.
__global__ void square_chunks(const unsigned long long* words, int count, double* partial) {
    const Table table{words, count};
    const Share share(table, 1);
    const int kind = (int)table.at(1, share.row);
    double sum = 0;
    for (long long i = share.begin + threadIdx.x; i < share.end; i += 256) {
        const double x = read(table.at(0, share.row), kind, i);
        sum += x * x;
    }
    sum = row_sum<256>(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// out = Σ partial, by one block of 256 threads.
__global__ void sum_squares(const double* partial, double* out, int blocks) {
    double sum = 0;
    for (int i = threadIdx.x; i < blocks; i += 256) sum += partial[i];
    sum = row_sum<256>(sum);
    if (threadIdx.x == 0) *out = sum;
}

// g = scale·gradient + decay·w;  v = momentum·v + g;  w = w − rate·v. Columns: w, v, gradient; numbers: rate, decay.
template <class T>
__global__ void sgd_update(const unsigned long long* words, int count, double momentum, const double* scale,
                           const bool* apply) {
    if (apply && !*apply) return;
    const Table table{words, count};
    const Share share(table, 3);
    T* w = table.array<T>(0, share.row);
    T* v = table.array<T>(1, share.row);
    const unsigned long long gradient = table.at(2, share.row);
    const int kind = (int)table.at(3, share.row);
    const T rate = T(table.number(6, share.row)), decay = T(table.number(7, share.row));
    const T factor = scale ? T(*scale) : T(1), kept = T(momentum);
    for (long long i = share.begin + threadIdx.x; i < share.end; i += 256) {
        const T g = factor * T(read(gradient, kind, i)) + decay * w[i];
        v[i] = kept * v[i] + g;
        w[i] -= rate * v[i];
    }
}

// g = scale·gradient;  w = w − rate·decay·w;  m = β₁·m + (1 − β₁)·g;  v = β₂·v + (1 − β₂)·g²;
// w = w − rate · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε), t = steps + 1. Columns: w, m, v, gradient; numbers: rate, decay.
template <class T>
__global__ void adamw_update(const unsigned long long* words, int count, double beta1, double beta2, double epsilon,
                             const double* steps, const double* scale, const bool* apply) {
    if (apply && !*apply) return;
    const Table table{words, count};
    const Share share(table, 4);
    __shared__ double corrections[2];  // 1 − βᵗ, once for each block: pow takes long
    if (threadIdx.x < 2) corrections[threadIdx.x] = 1 - pow(threadIdx.x ? beta2 : beta1, *steps + 1);
    __syncthreads();
    T* w = table.array<T>(0, share.row);
    T* m = table.array<T>(1, share.row);
    T* v = table.array<T>(2, share.row);
    const unsigned long long gradient = table.at(3, share.row);
    const int kind = (int)table.at(4, share.row);
    const double rate = table.number(7, share.row), decay = table.number(8, share.row);
    const T kept = T(1 - rate * decay), length = T(rate / corrections[0]), root = T(1 / sqrt(corrections[1]));
    const T m_kept = T(beta1), m_given = T(1 - beta1), v_kept = T(beta2), v_given = T(1 - beta2);
    const T factor = scale ? T(*scale) : T(1), least = T(epsilon);
    for (long long i = share.begin + threadIdx.x; i < share.end; i += 256) {
        const T g = factor * T(read(gradient, kind, i));
        m[i] = m_kept * m[i] + m_given * g;
        v[i] = v_kept * v[i] + v_given * g * g;
        w[i] = kept * w[i] - length * m[i] / (sqrt(v[i]) * root + least);
    }
}

// target = (1 − weight)·target + weight·source. Columns: target, source; numbers: weight.
template <class T>
__global__ void move_towards(const unsigned long long* words, int count, const bool* apply) {
    if (apply && !*apply) return;
    const Table table{words, count};
    const Share share(table, 2);
    T* target = table.array<T>(0, share.row);
    const unsigned long long source = table.at(1, share.row);
    const int kind = (int)table.at(2, share.row);
    const double weight = table.number(5, share.row);
    const T kept = T(1 - weight), given = T(weight);
    for (long long i = share.begin + threadIdx.x; i < share.end; i += 256)
        target[i] = kept * target[i] + given * T(read(source, kind, i));
}

// CUDA C++ on a CPU: under this header g++ compiles kernels as they are written, and runs them.
//
// A block runs after the other. Each thread of a block is a fibre: it has a stack of its own, is left where it waits for
// other threads, and is resumed when they have come. The order in which threads go on is chosen by whoever launches, so
// that a result which depends on it shows. What would be undefined on a GPU is an error, in a sentence, where it can be
// noticed: threads that wait for each other for ever, or at different places; lanes missing where all must take part;
// addresses that are no multiple of what is read at once; indices beyond an array. What is read before it is written is
// NaN.
#pragma once

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// The kernels' words. CUDA's headers give some of them another meaning for host compilers.
#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __shared__ static  // blocks do not overlap in time
#define __launch_bounds__(...)
#define SEGATTN_CUDA_ON_CPU

using std::max;
using std::min;

// Where the linker has put what `static` variables begin and end: nothing but shared memory, see `block` below.
extern "C" __attribute__((visibility("hidden"))) char __bss_start, _end;

namespace on_cpu {

constexpr unsigned MOST_THREADS = 1024, LANES = 32, ALL_LANES = 0xffffffff;
constexpr size_t STACK_BYTES = 64 * 1024;

// How the threads of a block take turns. A group goes on until each of its threads waits or has ended.
struct Order {
    bool backwards;   // the last thread first
    bool warps;       // a group is a warp, else the whole block: warps get far ahead of each other
    bool late_copies; // asynchronous copies happen when they are waited for, else at once
};

struct Copy { void* to; const void* from; bool inside; };

struct Fibre {
    std::unique_ptr<char[]> stack;
    void* top;           // of the stack where it was left
    bool begun = false;  // it has such a top
    bool ended = false;
    uint3 index;
    unsigned number;
    std::vector<Copy> copies;  // begun and not waited for

    // What it waits for: that *round is no longer `seen`.
    const unsigned* round = nullptr;
    unsigned seen;
    const char* place;
    int line;

    bool can_go_on() const { return !ended && (!round || *round != seen); }
};

// Threads that wait for each other at one place: those of a block, or of a warp.
struct Meeting {
    unsigned round = 0, arrived = 0;
    const char* place;
    int line;
};

struct Warp {
    Meeting meeting;
    unsigned alive = 0, lanes = 0, mask;  // one bit a lane: not ended, arrived, wanted
    void* brought[LANES];
    void (*act)(void* const* brought, unsigned lanes);
};

struct Block {
    dim3 grid, shape;
    uint3 index;
    Order order;
    Fibre fibres[MOST_THREADS];
    Warp warps[MOST_THREADS / LANES];
    Meeting barrier;
    unsigned threads, alive;
    Fibre* running;
    void* scheduler;  // the top of its stack
    void (*kernel)(void** arguments);
    void** arguments;
    char failure[400];
};

// Not among the uninitialised variables: these are the kernels' shared memory.
__attribute__((section(".data"))) static Block* block = nullptr;

// Leaves one stack for another, with the registers that a call must not change; back when somebody leaves for `*from`.
__attribute__((naked, noipa)) static void change_stack(void** from, void* to) {
    asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15;"
        "mov %rsp, (%rdi); mov %rsi, %rsp;"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}
inline void pause() { change_stack(&block->running->top, block->scheduler); }

// Ends the launch with a sentence.
[[noreturn]] inline void fail(const char* format, ...) {
    const uint3 at = block->index;
    int n = snprintf(block->failure, sizeof block->failure, "block (%u, %u, %u)", at.x, at.y, at.z);
    if (block->running) n += snprintf(block->failure + n, sizeof block->failure - n, ", thread %u", block->running->number);
    n += snprintf(block->failure + n, sizeof block->failure - n, ": ");
    va_list values;
    va_start(values, format);
    vsnprintf(block->failure + n, sizeof block->failure - n, format, values);
    va_end(values);
    pause();
    __builtin_unreachable();
}

inline void wait(Meeting& meeting) {
    Fibre& me = *block->running;
    me.round = &meeting.round;
    me.seen = meeting.round;
    me.place = meeting.place;
    me.line = meeting.line;
    pause();
    me.round = nullptr;
}

inline void end(Meeting& meeting) {
    meeting.arrived = 0;
    ++meeting.round;
}

// Opens or joins a meeting; all must have come to the same place in the text.
inline void join(Meeting& meeting, const char* place, int line) {
    if (meeting.arrived && (meeting.line != line || strcmp(meeting.place, place)))
        fail("comes to %s in line %d while others wait at %s in line %d.", place, line, meeting.place, meeting.line);
    meeting.place = place;
    meeting.line = line;
    ++meeting.arrived;
}

inline void end_barrier_if_complete() {
    if (block->barrier.arrived && block->barrier.arrived == block->alive) end(block->barrier);
}

inline void barrier(int line) {
    join(block->barrier, "__syncthreads", line);
    const unsigned round = block->barrier.round;
    end_barrier_if_complete();
    if (block->barrier.round == round) wait(block->barrier);
}

// Lanes that have ended are not waited for, as on a GPU.
inline void end_meeting_if_complete(Warp& warp) {
    if (!warp.lanes || (warp.mask & warp.alive & ~warp.lanes)) return;
    warp.act(warp.brought, warp.lanes);
    warp.lanes = 0;
    end(warp.meeting);
}

// Meets the lanes of `mask`. The last of them to come runs act(brought, lanes) on what each has brought.
inline void meet(unsigned mask, void* mine, void (*act)(void* const*, unsigned), const char* place, int line) {
    const unsigned number = block->running->number, lane = number % LANES;
    Warp& warp = block->warps[number / LANES];
    if (!(mask >> lane & 1)) fail("calls %s in line %d with the mask %08x, which leaves it out.", place, line, mask);
    join(warp.meeting, place, line);
    if (warp.lanes && warp.mask != mask) fail("calls %s in line %d with a mask of its own.", place, line);
    warp.mask = mask;
    warp.act = act;
    warp.brought[lane] = mine;
    warp.lanes |= 1u << lane;
    const unsigned round = warp.meeting.round;
    end_meeting_if_complete(warp);
    if (warp.meeting.round == round) wait(warp.meeting);
}

// A fibre runs one thread of each block that needs so many.
inline void live() {
    for (;;) {
        block->kernel(block->arguments);
        Fibre& me = *block->running;
        Warp& warp = block->warps[me.number / LANES];
        me.ended = true;
        --block->alive;
        warp.alive &= ~(1u << me.number % LANES);
        end_meeting_if_complete(warp);
        end_barrier_if_complete();
        pause();
    }
}

// Lets a thread go on until it waits or has ended; false where it failed.
inline bool resume(Fibre& fibre) {
    if (!fibre.begun) {
        fibre.begun = true;
        if (!fibre.stack) fibre.stack.reset(new char[STACK_BYTES]);
        const size_t shift = fibre.number % 61 * 64;  // else all stacks would want the same lines of the cache
        void** top = reinterpret_cast<void**>(uintptr_t(fibre.stack.get() + STACK_BYTES - shift) & ~uintptr_t(63));
        *--top = nullptr;  // nobody to return to
        *--top = reinterpret_cast<void*>(live);
        for (int i = 0; i < 6; ++i) *--top = nullptr;  // registers
        fibre.top = top;
    }
    block->running = &fibre;
    change_stack(&block->scheduler, fibre.top);
    block->running = nullptr;
    return !block->failure[0];
}

inline void describe_deadlock() {
    for (unsigned i = 0; i < block->threads; ++i) {
        const Fibre& fibre = block->fibres[i];
        if (fibre.ended) continue;
        unsigned there = 0;
        for (unsigned j = 0; j < block->threads; ++j) {
            const Fibre& other = block->fibres[j];
            there += !other.ended && other.line == fibre.line && !strcmp(other.place, fibre.place);
        }
        snprintf(block->failure, sizeof block->failure,
                 "block (%u, %u, %u): deadlock, thread %u waits at %s in line %d, where %u of %u threads are; %u have ended.",
                 block->index.x, block->index.y, block->index.z, i, fibre.place, fibre.line, there, block->threads,
                 block->threads - block->alive);
        return;
    }
}

inline bool run_block() {
    const unsigned threads = block->threads, group = block->order.warps ? LANES : threads;
    memset(&__bss_start, 0xff, &_end - &__bss_start);  // NaN, in every type of numbers
    block->alive = threads;
    block->barrier = Meeting();
    for (unsigned w = 0; w * LANES < threads; ++w) {
        block->warps[w] = Warp();
        block->warps[w].alive = ALL_LANES >> (LANES - min(LANES, threads - w * LANES));
    }
    for (unsigned i = 0; i < threads; ++i) {
        Fibre& fibre = block->fibres[i];
        fibre.ended = false;
        fibre.round = nullptr;
        fibre.copies.clear();
        fibre.number = i;
        fibre.index = {i % block->shape.x, i / block->shape.x % block->shape.y, i / (block->shape.x * block->shape.y)};
    }
    const auto turn = [](unsigned i, unsigned of) { return block->order.backwards ? of - 1 - i : i; };
    const auto go_on = [&](unsigned first, unsigned count, bool& moved) {  // each thread of a group, once
        bool any = false;
        for (unsigned i = 0; i < count; ++i) {
            Fibre& fibre = block->fibres[first + turn(i, count)];
            if (!fibre.can_go_on()) continue;
            if (!resume(fibre)) return false;
            any = moved = true;
        }
        return any;
    };
    const unsigned groups = (threads + group - 1) / group;
    for (bool moved = true; moved && block->alive && !block->failure[0];) {
        moved = false;
        for (unsigned g = 0; g < groups && !block->failure[0]; ++g) {
            const unsigned first = turn(g, groups) * group;
            while (go_on(first, min(group, threads - first), moved)) {}
        }
    }
    if (block->alive && !block->failure[0]) describe_deadlock();
    if (!block->failure[0]) return true;
    for (Fibre& fibre : block->fibres) fibre.begun = false;  // all are somewhere in the kernel
    return false;
}

// Runs a grid; the sentence that says what went wrong, or null.
inline const char* run(void (*kernel)(void**), const unsigned (&grid)[3], const unsigned (&shape)[3], void** arguments,
                       Order order) {
    if (!block) block = new Block;
    block->grid = dim3(grid[0], grid[1], grid[2]);
    block->shape = dim3(shape[0], shape[1], shape[2]);
    block->order = order;
    block->threads = shape[0] * shape[1] * shape[2];
    block->running = nullptr;
    block->kernel = kernel;
    block->arguments = arguments;
    block->failure[0] = 0;
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned x = 0; x < grid[0]; ++x) {
                block->index = {x, y, z};
                if (!run_block()) return block->failure;
            }
    return nullptr;
}

// NumPy's names of the types of a kernel's parameters.
template <class T> struct Name;
#define ON_CPU_NAME(T, NAME) template <> struct Name<T> { static constexpr const char* text = NAME; }
ON_CPU_NAME(bool, "bool");
ON_CPU_NAME(unsigned char, "uint8");
ON_CPU_NAME(unsigned short, "uint16");
ON_CPU_NAME(int, "int32");
ON_CPU_NAME(unsigned, "uint32");
ON_CPU_NAME(long long, "int64");
ON_CPU_NAME(unsigned long long, "uint64");
ON_CPU_NAME(float, "float32");
ON_CPU_NAME(double, "float64");
ON_CPU_NAME(__half, "float16");
ON_CPU_NAME(__nv_bfloat16, "bfloat16");
ON_CPU_NAME(uint4, "16bytes");
#undef ON_CPU_NAME
template <class T> struct Name<T*> { static constexpr const char* text = Name<std::remove_const_t<T>>::text; };

template <class... P> struct Parameters {
    // "*float32 int32 ": a pointer to float and an int.
    static void signature(char* text) {
        ((text += sprintf(text, "%s%s ", std::is_pointer_v<P> ? "*" : "", Name<P>::text)), ...);
    }
    template <void (*KERNEL)(P...)> static void call(void** arguments) {
        call<KERNEL>(arguments, std::index_sequence_for<P...>());
    }
    template <void (*KERNEL)(P...), size_t... I> static void call(void** arguments, std::index_sequence<I...>) {
        KERNEL(*static_cast<P*>(arguments[I])...);
    }
};
template <class... P> Parameters<P...> parameters_of(void (*)(P...));

// What is wrong with an address or an index, as g++ reports it under -fsanitize=alignment,bounds.
struct Place { const char* file; unsigned line, column; };
struct TypeMismatch { Place place; const void* type; unsigned char alignment_bits, kind; };
struct OutOfBounds { Place place; const void *array, *index; };

}  // namespace on_cpu

extern "C" __attribute__((used, visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(on_cpu::TypeMismatch* found,
                                                                                          uintptr_t) {
    on_cpu::fail("reads or writes an address in line %u that is no multiple of %u.", found->place.line,
                 1u << found->alignment_bits);
}
extern "C" __attribute__((used, visibility("hidden"))) void __ubsan_handle_out_of_bounds(on_cpu::OutOfBounds* found,
                                                                                       uintptr_t index) {
    on_cpu::fail("uses the index %lld in line %u, beyond the array.", (long long)index, found->place.line);
}

#define threadIdx (on_cpu::block->running->index)
#define blockIdx (on_cpu::block->index)
#define blockDim (on_cpu::block->shape)
#define gridDim (on_cpu::block->grid)

// Lines are those of the kernels, not of this header.
inline void __syncthreads(int line = __builtin_LINE()) { on_cpu::barrier(line); }
inline void __syncwarp(unsigned mask = on_cpu::ALL_LANES, int line = __builtin_LINE()) {
    on_cpu::meet(mask, nullptr, [](void* const*, unsigned) {}, "__syncwarp", line);
}

namespace on_cpu {
template <class T> struct Shuffle { T value, result; unsigned from; };

// Every lane takes the value of another; of one that does not take part it would be undefined, and is NaN here.
template <class T> T shuffle(unsigned mask, T value, unsigned from, const char* place, int line) {
    Shuffle<T> mine{value, value, from};
    const auto exchange = [](void* const* brought, unsigned lanes) {
        for (unsigned lane = 0; lane < LANES; ++lane) {
            if (!(lanes >> lane & 1)) continue;
            auto& each = *static_cast<Shuffle<T>*>(brought[lane]);
            if (lanes >> each.from & 1)
                each.result = static_cast<Shuffle<T>*>(brought[each.from])->value;
            else
                memset(static_cast<void*>(&each.result), 0xff, sizeof(T));
        }
    };
    meet(mask, &mine, exchange, place, line);
    return mine.result;
}
inline unsigned lane() { return block->running->number % LANES; }
}  // namespace on_cpu

template <class T> T __shfl_sync(unsigned mask, T value, int from, int line = __builtin_LINE()) {
    return on_cpu::shuffle(mask, value, from % on_cpu::LANES, "__shfl_sync", line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int line = __builtin_LINE()) {
    return on_cpu::shuffle(mask, value, (on_cpu::lane() ^ bits) % on_cpu::LANES, "__shfl_xor_sync", line);
}
template <class T> T __ldg(const T* from) { return *from; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// copy.cuh. A copy may happen at any time between its beginning and the wait for it: the orders try both ends.
inline void make_copy(const on_cpu::Copy& copy) {
    if (copy.inside)
        memcpy(copy.to, copy.from, 16);
    else
        memset(copy.to, 0, 16);
}
inline void copy_16_bytes(void* shared, const void* global, bool inside) {
    if (uintptr_t(shared) % 16 || uintptr_t(global) % 16) on_cpu::fail("copies 16 bytes between other addresses than multiples of 16.");
    const on_cpu::Copy copy{shared, global, inside};
    if (on_cpu::block->order.late_copies)
        on_cpu::block->running->copies.push_back(copy);
    else
        make_copy(copy);
}
inline void end_group() {}  // all groups are waited for at once
inline void wait_for_copies() {
    for (const on_cpu::Copy& copy : on_cpu::block->running->copies) make_copy(copy);
    on_cpu::block->running->copies.clear();
}

// mma.cuh. Who holds what is said in the PTX ISA, under "Matrix Fragments for mma.m16n8k16" and "ldmatrix".
namespace on_cpu {
template <class T> float number(unsigned both, unsigned which) {
    const unsigned short bits = both >> 16 * which;
    T value;
    memcpy(static_cast<void*>(&value), &bits, 2);
    return float(value);
}

struct Product { float* d; const unsigned *a, *b; };

// The last lane to come multiplies for all 32.
template <class T> void multiply(void* const* brought, unsigned lanes) {
    if (lanes != ALL_LANES) fail("mma: only the lanes %08x take part.", lanes);
    float a[16][16], b[16][8];
    for (unsigned lane = 0; lane < LANES; ++lane) {
        const Product& each = *static_cast<const Product*>(brought[lane]);
        const unsigned group = lane / 4, pair = lane % 4 * 2;
        for (unsigned i = 0; i < 2; ++i) {
            for (unsigned r = 0; r < 4; ++r) a[group + r % 2 * 8][pair + i + r / 2 * 8] = number<T>(each.a[r], i);
            for (unsigned r = 0; r < 2; ++r) b[pair + i + r * 8][group] = number<T>(each.b[r], i);
        }
    }
    for (unsigned lane = 0; lane < LANES; ++lane) {
        const Product& each = *static_cast<const Product*>(brought[lane]);
        for (unsigned e = 0; e < 4; ++e) {
            const unsigned row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
            float sum = 0;
            for (unsigned k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
            each.d[e] += sum;
        }
    }
}

struct Load { unsigned* r; const void* row; };

template <bool TRANSPOSED> void load_tiles(void* const* brought, unsigned lanes) {
    if (lanes != ALL_LANES) fail("ldmatrix: only the lanes %08x take part.", lanes);
    for (unsigned tile = 0; tile < 4; ++tile) {
        unsigned short numbers[8][8];
        for (unsigned i = 0; i < 8; ++i) {
            const void* row = static_cast<const Load*>(brought[tile * 8 + i])->row;
            if (uintptr_t(row) % 16) fail("ldmatrix: the row of lane %u does not begin at a multiple of 16 bytes.", tile * 8 + i);
            memcpy(numbers[i], row, 16);
        }
        for (unsigned lane = 0; lane < LANES; ++lane) {
            const unsigned group = lane / 4, pair = lane % 4 * 2;
            const unsigned low = TRANSPOSED ? numbers[pair][group] : numbers[group][pair];
            const unsigned high = TRANSPOSED ? numbers[pair + 1][group] : numbers[group][pair + 1];
            static_cast<const Load*>(brought[lane])->r[tile] = low | high << 16;
        }
    }
}
}  // namespace on_cpu

template <class T>
void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
    on_cpu::Product mine{d, a, b};
    on_cpu::meet(on_cpu::ALL_LANES, &mine, on_cpu::multiply<T>, "mma_m16n8k16", line);
}
inline void ldmatrix_x4(unsigned (&r)[4], const void* row, int line = __builtin_LINE()) {
    on_cpu::Load mine{r, row};
    on_cpu::meet(on_cpu::ALL_LANES, &mine, on_cpu::load_tiles<false>, "ldmatrix_x4", line);
}
inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* row, int line = __builtin_LINE()) {
    on_cpu::Load mine{r, row};
    on_cpu::meet(on_cpu::ALL_LANES, &mine, on_cpu::load_tiles<true>, "ldmatrix_x4_trans", line);
}

// One kernel a library.
#define ON_CPU_EXPORT(...)                                                                                              \
    extern "C" __attribute__((visibility("default"))) void signature(char* text) {                                      \
        decltype(on_cpu::parameters_of(&__VA_ARGS__))::signature(text);                                                 \
    }                                                                                                                   \
    extern "C" __attribute__((visibility("default"))) const char* run(                                                  \
        const unsigned (&grid)[3], const unsigned (&shape)[3], void** arguments, bool backwards, bool warps, bool late) { \
        using Found = decltype(on_cpu::parameters_of(&__VA_ARGS__));                                                    \
        return on_cpu::run(Found::template call<&__VA_ARGS__>, grid, shape, arguments, {backwards, warps, late});       \
    }

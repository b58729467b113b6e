"""The header under which g++ runs kernels does what CUDA does, and says so where CUDA would leave it undefined."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from .compiled import ORDERS, ROOT, CompiledKernel, KernelError
from .extra import needs_extra

pytestmark = [pytest.mark.cuda_cpu, needs_extra]

KERNELS = ROOT / "backends" / "cupy" / "kernels"
MMA = (KERNELS / "mma.cuh").read_text("utf-8")
COPY = (KERNELS / "copy.cuh").read_text("utf-8")


def kernel(body, parameters="float* x", name="k"):
    return CompiledKernel(f"__global__ void {name}({parameters}) {{ {body} }}", name)


def ramp(n, dtype=np.float32):
    return np.arange(n).astype(dtype)


@pytest.mark.parametrize("order", ORDERS)
def test_every_thread_of_every_block_runs_once(order):
    x = np.zeros((2, 3, 4, 3, 5, 7), np.float32)
    add = kernel(
        "const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;"
        "const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;"
        "const int at = block * blockDim.x * blockDim.y * blockDim.z + thread;"
        "x[at] += 1 + threadIdx.x + 10 * threadIdx.y + 100 * blockIdx.x;"
    )
    add((4, 3, 2), (7, 5, 3), x, order=order)
    block, y, thread = np.ogrid[:4, :5, :7]
    np.testing.assert_array_equal(x, np.broadcast_to((1 + thread + 10 * y + 100 * block)[:, None], x.shape))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("threads", [1, 31, 64, 1000, 1024])
def test_a_barrier_shows_what_others_wrote(order, threads):
    x = ramp(threads)
    kernel(
        "__shared__ float v[1024]; v[threadIdx.x] = x[threadIdx.x]; __syncthreads();"
        "x[threadIdx.x] = v[blockDim.x - 1 - threadIdx.x];"
    )((1,), (threads,), x, order=order)
    np.testing.assert_array_equal(x, ramp(threads)[::-1])


def test_without_the_barrier_what_is_not_yet_written_is_nan():
    seen = []
    for order in ORDERS:
        x = ramp(64)
        kernel(
            "__shared__ float v[64]; v[threadIdx.x] = x[threadIdx.x]; x[threadIdx.x] = v[63 - threadIdx.x];"
        )((1,), (64,), x, order=order)
        seen.append(np.isnan(x))
    assert all(nan.any() for nan in seen)
    assert not np.array_equal(seen[0], seen[1])


def test_a_warp_may_get_far_ahead():
    """Two sums by one array: the barrier between them is missing, and only an order by warps shows it."""
    body = """
        __shared__ float parts[2];
        float sum = 0;
        for (int i = 0; i < 2; ++i) {
            float v = x[threadIdx.x] + i;
            for (int bits = 16; bits; bits /= 2) v += __shfl_xor_sync(0xffffffff, v, bits);
            BETWEEN
            if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
            __syncthreads();
            sum += parts[0] + parts[1];
        }
        x[64 + threadIdx.x] = sum;"""
    right = np.full(64, 2 * ramp(64).sum() + 64)

    def results(between):
        summed = []
        for order in ORDERS:
            x = np.concatenate([ramp(64), ramp(64)])
            kernel(body.replace("BETWEEN", between))((1,), (64,), x, order=order)
            summed.append(np.array_equal(x[64:], right))
        return summed

    assert results("__syncthreads();") == [True] * 4
    assert not all(results(""))


def test_shared_memory_is_forgotten_between_blocks():
    x = ramp(3)
    kernel("__shared__ float v; x[blockIdx.x] = v; v = 1;")((3,), (1,), x)
    assert np.isnan(x).all()


@pytest.mark.parametrize("order", ORDERS)
def test_shuffles(order):
    x = np.stack([ramp(64), ramp(64)])
    kernel(
        "const float v = x[threadIdx.x];"
        "x[threadIdx.x] = __shfl_xor_sync(0xffffffff, v, 5);"
        "x[64 + threadIdx.x] = __shfl_sync(0xffffffff, v, 3);"
    )((1,), (64,), x, order=order)
    np.testing.assert_array_equal(x[0], np.arange(64) ^ 5)
    np.testing.assert_array_equal(x[1], np.repeat([3, 35], 32))


def test_a_value_of_a_lane_that_has_ended_is_undefined():
    x = ramp(32)
    kernel("if (threadIdx.x > 15) return; x[threadIdx.x] = __shfl_xor_sync(0xffffffff, 1.f, 16);")((1,), (32,), x)
    assert np.isnan(x[:16]).all()
    np.testing.assert_array_equal(x[16:], np.arange(16, 32))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "if (threadIdx.x < 40) __syncthreads(); else __shfl_xor_sync(0xffffffff, 1.f, 1);",
            "deadlock, thread .* where .* of 64 threads are",
        ),
        (
            "if (threadIdx.x < 32)\n__syncthreads();\nelse\n__syncthreads();",
            "comes to __syncthreads .* while others wait at __syncthreads",
        ),
        (
            "if (threadIdx.x % 2) __shfl_sync(0xffffffff, 1.f, 1); else __syncwarp();",
            "comes to __s(yncwarp|hfl_sync) .* while others wait at __s(yncwarp|hfl_sync)",
        ),
        ("if (threadIdx.x % 2) __syncwarp();", None),  # the others end, which is as good
        ("if (threadIdx.x % 2) __syncwarp(); __syncthreads();", "deadlock"),
        ("__syncwarp(1u);", "mask 00000001, which leaves it out"),
        ("__syncwarp(1u << threadIdx.x % 32);", None),
        ("__syncwarp(threadIdx.x % 2 ? 0xffffffff : 0x55555555);", "with a mask of its own"),
        ("struct alignas(16) V { float of[4]; }; *(V*)(x + 1) = V();", "`.*` that is no multiple of 16"),
        ("float v[4] = {}; x[0] = v[4 + threadIdx.x];", "uses the index [0-9]+ in `.*`, beyond the array"),
    ],
)
def test_what_would_be_undefined_is_an_error(body, sentence):
    x = np.zeros(64, np.float32)
    for order in ORDERS:
        if sentence is None:
            kernel(body)((1,), (64,), x, order=order)
        else:
            with pytest.raises(KernelError, match=sentence):
                kernel(body)((1,), (64,), x, order=order)


def test_after_a_failure_a_kernel_runs_again():
    stuck = kernel(
        "__syncthreads(); if (x[0] && threadIdx.x % 2) __syncwarp(); __syncthreads(); x[threadIdx.x] = 0;"
    )
    x = np.ones(64, np.float32)
    with pytest.raises(KernelError, match="deadlock"):
        stuck((1,), (64,), x)
    x[0] = 0
    stuck((1,), (64,), x)
    assert not x.any()


@pytest.mark.parametrize(("grid", "block"), [((1,), (1025,)), ((0,), (32,)), ((1, 65536), (1,))])
def test_what_no_gpu_starts(grid, block):
    with pytest.raises(KernelError, match="no GPU starts"):
        kernel("")(grid, block, np.zeros(1, np.float32))


def test_what_does_not_compile():
    with pytest.raises(KernelError, match="'nothing' was not declared"):
        kernel("*x = nothing;")


def test_the_parameters_of_a_kernel():
    parameters = "const T* x, __half* y, int n, double d, long long l, const uint4* v"
    source = f"template <class T> __global__ void k({parameters}) {{}}"
    assert CompiledKernel(source, "k<__nv_bfloat16>").parameters == [
        "*bfloat16", "*float16", "int32", "float64", "int64", "*16bytes",
    ]  # fmt: skip


@pytest.mark.parametrize("waits", [True, False])
def test_a_copy_is_there_after_it_was_waited_for(waits):
    """It may be there before, too: one of the orders sees it and another does not."""
    body = f"""
        alignas(16) __shared__ float v[8];
        v[threadIdx.x] = 0;
        __syncthreads();
        if (threadIdx.x < 2) copy_16_bytes(v + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x == 0);
        end_group();
        {"wait_for_copies();" if waits else ""}
        __syncthreads();
        x[8 + threadIdx.x] = v[threadIdx.x];"""
    arrived = []
    for order in ORDERS:
        x = np.concatenate([1 + ramp(8), ramp(8)])
        CompiledKernel(f"{COPY} __global__ void k(float* x) {{ {body} }}", "k")((1,), (8,), x, order=order)
        assert not x[12:].any()
        arrived.append(np.array_equal(x[8:12], [1, 2, 3, 4]))
    assert all(arrived) if waits else len(set(arrived)) == 2


FRAGMENTS = """
template <class T> __global__ void product(const unsigned* a, const unsigned* b, float* d) {
    unsigned left[4], right[2];
    float sum[4];
    for (int i = 0; i < 4; ++i) left[i] = a[4 * threadIdx.x + i];
    for (int i = 0; i < 2; ++i) right[i] = b[2 * threadIdx.x + i];
    for (int i = 0; i < 4; ++i) sum[i] = d[4 * threadIdx.x + i];
    mma_m16n8k16<T>(sum, left, right);
    for (int i = 0; i < 4; ++i) d[4 * threadIdx.x + i] = sum[i];
}
template <bool TRANSPOSED> __global__ void tiles(const unsigned* from, unsigned* to) {
    alignas(16) __shared__ unsigned rows[32][4];
    for (int i = 0; i < 4; ++i) rows[threadIdx.x][i] = from[4 * threadIdx.x + i];
    __syncwarp();
    unsigned r[4];
    TRANSPOSED ? ldmatrix_x4_trans(r, rows[threadIdx.x]) : ldmatrix_x4(r, rows[threadIdx.x]);
    for (int i = 0; i < 4; ++i) to[4 * threadIdx.x + i] = r[i];
}
"""


def mma_kernel(name):
    return CompiledKernel(f"{MMA} {FRAGMENTS}", name)


@pytest.mark.parametrize(("dtype", "name"), [(np.float16, "__half"), (ml_dtypes.bfloat16, "__nv_bfloat16")])
def test_fragments_of_a_product(dtype, name):
    """Element by element as the PTX ISA has it for mma.m16n8k16: ``a_i``, ``b_i`` and ``c_i`` of each lane."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(dtype) for shape in ((16, 16), (16, 8)))
    c = rng.normal(size=(16, 8)).astype(np.float32)
    group, member = np.divmod(np.arange(32)[:, None], 4)

    i = np.arange(8)
    rows = np.where((i < 2) | ((i >= 4) & (i < 6)), group, group + 8)
    held_a = a[rows, member * 2 + (i & 1) + np.where(i >= 4, 8, 0)]
    i = np.arange(4)
    held_b = b[member * 2 + (i & 1) + np.where(i >= 2, 8, 0), group]
    at_c = np.where(i < 2, group, group + 8), member * 2 + (i & 1)
    held_c = c[at_c]

    mma_kernel(f"product<{name}>")(
        (1,), (32,), held_a.view(np.uint32), held_b.view(np.uint32), held_c, order=ORDERS[0]
    )
    np.testing.assert_allclose(held_c, (a.astype(float) @ b.astype(float) + c)[at_c], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_tiles_from_shared_memory(transposed, order):
    """Lane l gets two neighbours of row l / 4 of each of the four tiles, or of its transpose."""
    matrices = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
    got = np.zeros((32, 4), np.uint32)
    mma_kernel(f"tiles<{str(transposed).lower()}>")((1,), (32,), matrices, got, order=order)
    wanted = matrices.transpose(0, 2, 1) if transposed else matrices
    by_tile = got.view(np.uint16).reshape(8, 4, 4, 2).transpose(2, 0, 1, 3)
    np.testing.assert_array_equal(by_tile.reshape(4, 8, 8), wanted)


def test_all_lanes_multiply():
    body = (
        "if (threadIdx.x == 3) return;"
        "unsigned a[4] = {}, b[2] = {}; float d[4] = {}; mma_m16n8k16<__half>(d, a, b);"
    )
    with pytest.raises(KernelError, match="mma: only the lanes fffffff7 take part"):
        CompiledKernel(f"{MMA} __global__ void k(float* x) {{ {body} }}", "k")((1,), (32,), np.zeros(1, np.float32))

"""PyTorch, in float64 on the same device, as a second oracle at sizes where the reference would take minutes."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),  # PyTorch, of its own backward thread
]

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-10}


@pytest.fixture
def torch(ops):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA device")
    return torch


@pytest.fixture
def check(ops, cupy, torch):
    """``check(op, theirs, shapes, dtype)``: ours in ``dtype`` against theirs in float64, with all gradients."""

    def compare(op, theirs, shapes, dtype, scale=1.0, **options):
        rng = np.random.default_rng(0)
        inputs = [(rng.normal(size=shape) * scale).astype(dtype) for shape in shapes]
        tensors = [torch.tensor(x, dtype=torch.float64, device="cuda", requires_grad=True) for x in inputs]
        exact = theirs(*tensors)
        dy = rng.normal(size=tuple(exact.shape)).astype(dtype)
        exact.backward(torch.tensor(dy, dtype=torch.float64, device="cuda"))

        y, cache = getattr(ops, op)(*map(ops.asarray, inputs), **options)
        gradients = getattr(ops, f"{op}_backward")(ops.asarray(dy), cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        wanted = [exact.detach(), *(tensor.grad for tensor in tensors)]
        for n, (got, want) in enumerate(zip((y, *gradients), wanted, strict=True)):
            want = want.cpu().numpy()
            error = np.abs(ops.to_numpy(got) - want).max() / np.abs(want).max()
            assert error < TOLERANCE[dtype], f"{op}: output {n} is off by {error:.1e}"

    return compare


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("pixels", [2304, 1001])
def test_position_attention(torch, check, dtype, pixels):
    def theirs(query, key, value):
        return torch.softmax(query @ key.mT, dim=-1) @ value

    shapes = [(2, pixels, 64), (2, pixels, 64), (2, pixels, 512)]
    check("position_attention", theirs, shapes, dtype, scale=0.5)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_channel_attention(torch, check, dtype):
    def theirs(x):
        energy = x.mT @ x
        attention = torch.softmax(energy.max(dim=-1, keepdim=True).values - energy, dim=-1)
        return x @ attention.mT

    check("channel_attention", theirs, [(2, 2304, 128)], dtype, scale=0.02)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("size", "weight", "options"),
    [
        ((48, 50), (3, 3, 128, 64), {"padding": 4, "dilation": 4}),
        ((97, 65), (3, 3, 64, 64), {"stride": 2, "padding": 1}),
        ((96, 96), (1, 1, 256, 64), {}),
        ((128, 96), (7, 7, 3, 64), {"stride": 2, "padding": 3}),
    ],
)
def test_conv2d(torch, check, dtype, size, weight, options):
    def theirs(x, kernel, bias):
        y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias, **options)
        return y.permute(0, 2, 3, 1)

    shapes = [(2, *size, weight[2]), weight, (weight[3],)]
    check("conv2d", theirs, shapes, dtype, **options)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("align_corners", [True, False])
def test_resize_bilinear(torch, check, dtype, align_corners):
    def theirs(x):
        y = torch.nn.functional.interpolate(
            x.permute(0, 3, 1, 2), size=(385, 384), mode="bilinear", align_corners=align_corners
        )
        return y.permute(0, 2, 3, 1)

    check("resize_bilinear", theirs, [(2, 49, 48, 19)], dtype, size=(385, 384), align_corners=align_corners)

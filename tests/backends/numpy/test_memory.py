"""What the ops take beside their inputs and outputs, measured from outside in fresh processes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ATTENTION = """
import tracemalloc
import numpy as np
from backends import get_backend

ops = get_backend("numpy")
rng = np.random.default_rng(0)
query, key = rng.standard_normal((2, 1, 9216, 64), dtype=np.float32) / 4
value, dy = rng.standard_normal((2, 1, 9216, 512), dtype=np.float32)

def resident(field):  # MiB, now or at most so far
    (line,) = (line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) / 1024

start = resident("VmRSS")
tracemalloc.start()
y, cache = ops.position_attention(query, key, value)
gradients = ops.position_attention_backward(dy, cache)
outputs = sum(array.nbytes for array in (y, *gradients)) / 2**20
print(tracemalloc.get_traced_memory()[1] / 2**20 - outputs, resident('VmHWM') - start - outputs)
"""


@pytest.mark.slow
def test_position_attention_forward_and_backward_take_less_than_150_mb():
    """N = 9216, widths 64 and 512, float32: one N×N matrix would be 324 MiB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("resident memory is read from /proc, which this system does not have")
    command, environment = [sys.executable, "-c", ATTENTION], os.environ | {"SEGATTN_THREADS": "2"}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    traced, resident = map(float, printed.split())
    assert traced < 100
    assert resident < 150e6 / 2**20


STEPS = """
import resource
import numpy as np
import backends.numpy
from backends.numpy.heap import keep_freed_memory

def step():
    arrays = [np.ones(1 << 21) for _ in range(4)]  # 16 MiB each

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

step()
step()
before = faults()
step()
print(keep_freed_memory(), faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep freed memory in their own ways")
@pytest.mark.parametrize(
    "variable", [{}, {"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_freed_memory_is_used_again_unless_the_user_chose_otherwise(variable):
    command, environment = [sys.executable, "-c", STEPS], os.environ | variable
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    kept, faults = printed.split()
    assert kept == str(not variable)
    assert int(faults) < 10 if not variable else int(faults) > 50  # a page has 4 KiB or, for large arrays, 2 MiB

"""Files that PyTorch wrote, read without it: see ``make_golden.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segattn_cli.errors import CheckpointError
from segattn_cli.weights import read_weights

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.npz")))
def test_golden(name: str, form: str) -> None:
    path = GOLDEN / f"{name}.{form}.pt"
    if name == "mmengine":
        with pytest.raises(CheckpointError, match=r"'mmengine.logging.history_buffer.HistoryBuffer'"):
            read_weights(path)
        return
    file = read_weights(path)
    with np.load(GOLDEN / f"{name}.npz") as wanted:
        dtypes = {str(row[0]): str(row[1]) for row in wanted["dtypes"]}
        prefix = f"{file.wrapper}/" if file.wrapper else ""
        expected = {path.removeprefix(prefix): dtype for path, dtype in dtypes.items() if path.startswith(prefix)}
        assert {name: tensor.dtype for name, tensor in file.tensors.items()} == expected
        for tensor_name, tensor in file.tensors.items():
            values = tensor.as_float32() if tensor.dtype == "bfloat16" else tensor.values
            np.testing.assert_array_equal(values, wanted[prefix + tensor_name], tensor_name)

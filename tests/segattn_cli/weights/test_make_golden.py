"""The golden files are still what PyTorch makes of the contents, and say what they should."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
pytestmark = pytest.mark.torch

NAMES = sorted(path.stem for path in Path(__file__).with_name("golden").glob("*.npz"))


def test_each_content_has_its_files(golden: ModuleType) -> None:
    assert sorted(golden.CONTENTS) == NAMES


def agree(golden: ModuleType, content: object, name: str) -> None:
    found = golden.expected(content)
    with np.load(golden.GOLDEN / f"{name}.npz") as expected:
        assert set(found) == set(expected)
        for path in expected:
            assert found[path].dtype == expected[path].dtype
            np.testing.assert_array_equal(found[path], expected[path], path)


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_of_these_contents(golden: ModuleType, name: str) -> None:
    with golden.imitated_mmengine():
        agree(golden, golden.CONTENTS[name](), name)


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", NAMES)
def test_pytorch_reads_what_is_expected(golden: ModuleType, name: str, form: str) -> None:
    with golden.imitated_mmengine():
        agree(golden, torch.load(golden.GOLDEN / f"{name}.{form}.pt", weights_only=False), name)


def test_two_runs_differ_in_nothing_but_addresses(golden: ModuleType, tmp_path: Path) -> None:
    for run in ("first", "second"):
        golden.main(tmp_path / run)
    for first in (tmp_path / "first").iterdir():
        second = tmp_path / "second" / first.name
        if first.name.endswith("legacy.pt"):
            assert first.stat().st_size == second.stat().st_size
        else:
            assert first.read_bytes() == second.read_bytes(), first.name


def test_the_files_are_small(golden: ModuleType) -> None:
    assert all(path.stat().st_size < 40 * 1024 for path in golden.GOLDEN.iterdir())


def test_the_contents_have_what_they_are_for(golden: ModuleType) -> None:
    assert golden.network().state_dict()._metadata
    assert not golden.network().state_dict()["3.weight"].is_contiguous()
    assert {value.dtype for value in golden.dtypes().values()} >= {torch.bfloat16, torch.float16, torch.int64}
    views = golden.views()
    assert views["tied"].data_ptr() == views["tied_again"].data_ptr()
    assert views["first"].untyped_storage().data_ptr() == views["last"].untyped_storage().data_ptr()
    assert sum(not value.is_contiguous() for value in views.values()) >= 4
    momenta = golden.checkpoint()["optimizer"]["state"]
    assert all(each["momentum_buffer"] is not None for each in momenta.values())
    assert isinstance(golden.checkpoint()["best_pred"], np.float64)

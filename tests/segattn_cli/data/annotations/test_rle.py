"""Run-length encodings of masks, beside the code of the tools that write them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segattn_cli.data.annotations.rle import Brush, Runs, coco_runs
from segattn_cli.errors import DataError

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.booleans())
#: What pycocotools and label-studio-sdk make of `MASK`.
MASK = np.array([[0, 0, 1, 1, 1], [1, 0, 0, 1, 1], [1, 1, 0, 0, 0]], bool)
COCO_TEXT = "122000O00"
BRUSH = [0, 0, 0, 60, 57, 27, 252, 224, 23, 255, 231, 0, 191, 255, 108, 0]


def runs_of(bits: np.ndarray) -> list[int]:
    """Lengths of runs, 0 first."""
    lengths, value = [0], False
    for bit in bits.tolist():
        if bit != value:
            lengths.append(0)
            value = bit
        lengths[-1] += 1
    return lengths


class TestRuns:
    @given(MASKS)
    def test_along_rows_and_down_columns(self, mask: np.ndarray) -> None:
        height, width = mask.shape
        by_row, by_column = runs_of(mask.ravel()), runs_of(mask.T.ravel())
        np.testing.assert_array_equal(Runs(by_row, (height, width)).region((height, width)).mask, mask)
        region = Runs(by_column, (height, width), by_column=True).region((height, width))
        np.testing.assert_array_equal(region.mask, mask)

    def test_in_a_part_of_an_image(self) -> None:
        region = Runs([1, 1], (1, 2), top=2, left=3).region((5, 5))
        assert (region.top, region.left, region.mask.tolist()) == (2, 3, [[False, True]])

    @pytest.mark.parametrize(
        ("runs", "sentence"),
        [
            (Runs([3, 4], (2, 3)), "do not add up to its 3×2 pixels"),
            (Runs([9, -3], (2, 3)), "do not add up"),
            (Runs([], (2, 3)), "do not add up"),
            (Runs([10**30], (2, 3)), "do not add up"),
            (Runs([6], (2, 3), left=2), r"a mask of 3×2 at \(2, 0\) does not fit its image of 4×4"),
            (Runs([6], (2, 3), top=-1), "does not fit"),
            (Runs([4 * 10**9], (40000, 100000)), "does not fit"),
            (Runs([6], (2, 3), by_column=True), "does not fit"),  # COCO's are of the whole image
        ],
    )
    def test_that_do_not_fit(self, runs: Runs, sentence: str) -> None:
        with pytest.raises(DataError, match=sentence):
            runs.region((4, 4))


class TestTextOfCoco:
    def test_what_pycocotools_writes(self) -> None:
        runs = coco_runs(COCO_TEXT)
        np.testing.assert_array_equal(Runs(runs, MASK.shape, by_column=True).region(MASK.shape).mask, MASK)

    @given(arrays(bool, st.tuples(st.integers(1, 60), st.integers(1, 60)), elements=st.booleans()))
    def test_what_pycocotools_writes_of_any_mask(self, mask: np.ndarray) -> None:
        coco_masks = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed: pip install it")
        text = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert coco_runs(text) == runs_of(mask.T.ravel())

    @pytest.mark.parametrize("text", ["é", " ", "P", "oooooooooooooooooooo"])
    def test_no_such_text(self, text: str) -> None:
        with pytest.raises(DataError, match="compressed mask"):
            coco_runs(text)


class TestBrush:
    def test_what_label_studio_packs(self) -> None:
        np.testing.assert_array_equal(Brush(bytes(BRUSH), (3, 5)).region((3, 5)).mask, MASK)

    @pytest.mark.parametrize("length", range(len(BRUSH) - 2))
    def test_cut_short(self, length: int) -> None:
        with pytest.raises(DataError, match=r"cut short|pixels of its image"):
            Brush(bytes(BRUSH[:length]), (3, 5)).region((3, 5))

    @pytest.mark.parametrize("number", range(8))
    def test_damaged(self, number: int) -> None:
        """It may mean another mask then; it never raises anything else."""
        damaged = bytes(byte ^ (0x55 if index % 8 == number else 0) for index, byte in enumerate(BRUSH))
        with suppress(DataError):
            assert Brush(damaged, (3, 5)).region((3, 5)).mask.shape == (3, 5)

    def test_of_another_size(self) -> None:
        with pytest.raises(DataError, match="does not fit its image"):
            Brush(bytes(BRUSH), (3, 5)).region((5, 3))
        with pytest.raises(DataError, match="has not the 8 pixels"):
            Brush(bytes(BRUSH), (2, 4)).region((2, 4))

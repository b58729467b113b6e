"""The quick forms of paths say what pathlib and os.path say."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path, PurePath

import pytest

from segattn_cli.prediction.path_texts import absolute, inside, normal, parent_and_name, stem

#: All of up to six characters that can make a path odd.
TEXTS = ["".join(each) for length in range(1, 7) for each in product("a./", repeat=length)]


def test_any_path_is_what_pathlib_makes_of_it():
    for text in TEXTS:
        assert normal(text) == str(Path(text)), text
        assert absolute(text) == os.path.abspath(text), text


@pytest.mark.parametrize("folder", [".", "/", "..", "a", "../a", "/a/.b", "//a"])
def test_a_path_in_a_folder_is_what_pathlib_joins(folder):
    for text in TEXTS:
        assert inside(folder, text) == str(Path(folder) / text), text


def test_a_normal_path_has_the_stem_and_the_parent_that_libraries_find():
    for text in {str(Path(text)) for text in TEXTS} - {"."}:
        assert stem(text) == PurePath(text).stem, text
        assert parent_and_name(text) == os.path.split(text), text

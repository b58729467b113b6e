"""Each kind of file call of each command fails once, or is the last of its process."""

from __future__ import annotations

import pytest

from .file_faults import Scene, telling_faults

pytestmark = pytest.mark.faults

#: The smallest set that has every way in which a file is written. `make faults` has all scenarios.
TELLING = (
    "train", "infer to images", "infer over older results", "export of a state dict", "import of weights", "report",
    "eval", "merge", "import of annotations", "sample", "check of data",
)  # fmt: skip


@pytest.mark.parametrize("name", TELLING)
def test_a_fault_is_one_sentence_and_nothing_is_lost(name, processes, template, tmp_path):
    scene = Scene(name, processes, template, tmp_path / "work")
    faults = list(telling_faults(scene.undisturbed.calls))
    problems = [f"{fault}: {problem}" for fault in faults for problem in scene.problems(fault)]
    assert not problems, "\n".join(problems)
    assert scene.counts["errors of file calls"] > len(faults) / 4
    assert scene.counts["kills at file calls"] > 2

"""Loops are compiled in other processes, before they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

pytest.importorskip("numba", reason="Numba is not installed: pip install '.[numba]'")

from backends import get_backend
from segattn_cli.checking import compilation
from segattn_cli.checking.compilation import COMMON, RARE, Compiled, compile_loops
from segattn_cli.commands.shared.first_use import compiled


def test_every_op_with_loops_is_listed() -> None:
    backend: Any = get_backend("numba")
    modules = {name: getattr(op, "__module__", "") for name, op in vars(backend).items()}
    own = {name for name, module in modules.items() if module.startswith("backends.numba.")}
    own -= {"constants", "resize_bilinear_rows"}  # which have no loops but those of other ops
    assert {*COMMON, *RARE} == {name for name in own if not name.endswith("_backward")}


@pytest.mark.parametrize("op", [*COMMON, *RARE])
def test_every_op_can_be_called(op: str) -> None:
    compilation._call(op)


def test_the_machine_code_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert list(compile_loops(["relu"], 2)) == [Compiled(1, 1, "relu")]
    stored = {path.name.split("-")[0] for path in tmp_path.rglob("elementwise.*.nbi")}
    assert stored == {"elementwise._rectify", "elementwise._rectify_gradient"}


def test_without_processes_a_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError("No space left on device")

    monkeypatch.setattr(compilation, "ProcessPoolExecutor", fail)
    assert list(compiled(["relu"])) == []
    assert "No space left on device" in capsys.readouterr().err

"""How many ranks ``--ranks`` starts on this machine."""

from __future__ import annotations

from typing import Any

import pytest

from segattn_cli.errors import ExitCode


@pytest.mark.parametrize("command", [["train", "--out", "new"], ["eval", "--demo"], ["infer", "--demo", "a.png"]])
def test_ranks_that_would_stop_the_machine_are_not_started(
    cli: Any, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    started = []

    def run_under_mpiexec(ranks: int, line: list[str]) -> int:
        started.append(ranks)
        return 0

    monkeypatch.setattr("backends.cores.allowed_cores", lambda: 2)
    monkeypatch.setattr("segattn_cli.ranks.launcher.run_under_mpiexec", run_under_mpiexec)
    done = cli(*command, "--ranks", "17")
    assert done.code == ExitCode.USAGE
    assert "--ranks 17 would start 17 processes on 2 cores: start at most 16 of them" in done.err
    assert started == []
    assert cli(*command, "--ranks", "16").code == ExitCode.OK
    assert started == [16]

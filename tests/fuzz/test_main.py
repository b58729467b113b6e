"""Fuzzing fails for what is always the same; what chance finds is shown, and fails unless that is lenient."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fuzz import __main__ as fuzz
from fuzz.__main__ import Run
from fuzz.targets import TARGETS


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch):
    """Lets runs end as told: one target's replay, one target's new inputs."""

    def told(replay: str | None = None, new: str | None = None, works: bool = True) -> None:
        def run(name: str, options: list[str]) -> Run:
            ended = Run(7, replay) if "--replay" in options else Run(100, new, works)
            return ended if name == "lists" else Run(100, None)

        monkeypatch.setattr(fuzz, "_run", run)

    return told


def fuzzed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["fuzz", *arguments])
    return fuzz.main()


@pytest.mark.parametrize(
    ("arguments", "ended", "code"),
    [
        ([], {}, 0),
        ([], {"replay": "Error\nits input"}, 1),
        ([], {"new": "Error\nits input"}, 1),
        (["--lenient"], {}, 0),
        (["--lenient"], {"replay": "Error\nits input"}, 1),
        (["--lenient"], {"new": "Error\nits input"}, 0),
        (["--lenient"], {"new": "Error\nits input", "works": False}, 1),
        (["--replay"], {"replay": "Error\nits input"}, 1),
        (["--replay"], {"new": "Error\nits input"}, 0),
    ],
)
def test_exit_codes_and_the_last_lines(monkeypatch, capsys, runs, arguments, ended, code) -> None:
    runs(**ended)
    assert fuzzed(monkeypatch, *arguments) == code
    shown = capsys.readouterr().out
    find = ended.get("replay") or (None if "--replay" in arguments else ended.get("new"))
    assert shown.endswith(f"\n{find}\n") if find else "Error" not in shown


def test_a_target_whose_package_is_absent_is_left_out(monkeypatch, capsys, runs) -> None:
    runs(new="Error\nits input")
    monkeypatch.setitem(fuzz.NEEDED, "lists", ("no_such_package", "pip install it"))
    assert fuzzed(monkeypatch) == 0
    assert "left out: no_such_package is not installed: pip install it" in capsys.readouterr().out


def test_an_error_and_its_input_are_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(fuzz.FOLDER, str(tmp_path))
    with pytest.raises(ZeroDivisionError), fuzz._described("lists", "--input x"):
        raise ZeroDivisionError("division by zero")
    lines = (tmp_path / fuzz.DESCRIPTION).read_text().splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-2:] == ["lists: ZeroDivisionError: division by zero", "python -m fuzz lists --input x"]


def test_a_process_that_died_is_described_without_libfuzzers_lines() -> None:
    output = "INFO: Loaded\n#2\tINITED cov: 1\n\tNEW_FUNC[1/2]: 0x0\nALARM: 301 seconds\nstat::peak: 3\n"
    output += "Test unit written to build/fuzz/lists/timeout-5\n"
    ended = subprocess.CompletedProcess([], 70, output, "")
    assert fuzz._death("lists", ended).splitlines() == [
        "INFO: Loaded", "ALARM: 301 seconds", "Test unit written to build/fuzz/lists/timeout-5",
        "lists: the process ended with code 70: build/fuzz/lists/timeout-5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, "#15\tINITED\nstat::number_of_executed_units: 300\n", (300, True)),
        (77, "#15\tINITED\nTest unit written to build/fuzz/lists/crash-5\n", (15, True)),
        (-9, "#15\tINITED\n#256\tpulse\n", (256, True)),  # for want of memory, perhaps
        (255, "#15\tINITED\n#19\tNEW\n", (19, False)),  # nothing died but the fuzzing itself
        (1, "Traceback", (0, False)),
        (0, "", (0, False)),
    ],
)
def test_the_end_of_a_process_tells_whether_fuzzing_works(
    monkeypatch: pytest.MonkeyPatch, code: int, output: str, expected: tuple[int, bool]
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, output))
    ended = fuzz._run("lists", [])
    assert (ended.executions, ended.works) == expected
    assert (ended.find is None) == (code == 0)


def test_new_inputs_are_made_by_mutations(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: it makes new inputs")
    ended = fuzz._run("evaluations", ["--seconds", "2", "--chance", "1", "--kept", f"{tmp_path}"])
    assert ended.works, ended.find
    assert ended.executions > 20  # its seeds are 8


def test_a_mutation_that_fails_is_another_one() -> None:
    def mutated(data, mutate, size, rng):
        return mutate(data, size) + data[:1] if data else data[0]

    def mutate(data, size):
        return b"new" + data

    mutated = fuzz.mutator(mutated, mutate)
    assert mutated(b"ab", 100, 0) == b"newaba"
    assert mutated(b"ab", 3, 0) == b"new"
    assert mutated(b"", 100, 0) == b"new"  # an IndexError


@pytest.mark.parametrize("number", range(3))
def test_what_cannot_be_read_is_mutated_by_bytes(number: int) -> None:
    from fuzz.targets import evaluations

    damaged = sorted((fuzz.FOUND / "evaluations").iterdir())[number].read_bytes()[:-number or None]
    mutated = fuzz.mutator(evaluations.mutated, lambda data, size: data[::-1])
    assert all(mutated(damaged, 1 << 16, seed) for seed in range(20))


def test_former_finds_belong_to_targets() -> None:
    assert {folder.name for folder in fuzz.FOUND.iterdir()} <= set(TARGETS)

"""Paths that cannot be used, in every place of every command that takes one: one sentence and its exit code."""

from __future__ import annotations

import itertools
import os
import shutil
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from segattn_cli.app import app
from segattn_cli.config import keys
from segattn_cli.errors import ExitCode

from .file_faults import REFUSALS, is_refused_by_typer
from .forks import Ended
from .scenarios import TRAIN, filled, said

pytestmark = pytest.mark.faults

NUMPY = ("--backend", "numpy")
#: For each command, its parameters that are paths, and calls with a path in the place of each: what is read
#: (``{in}``; ``{image}``, which may be a pipe; ``{name}``, which may be empty), a file that is written (``{file}``;
#: ``{named}`` before an ending), or a folder (``{folder}``).
CALLS: dict[str, dict[str, list[tuple[str, ...]]]] = {
    "train": {
        "file": [("train", "{in}", "--dry-run")],
        "data": [("train", "--data", "{in}", "--dry-run"), ("train", "--set", "data.source={in}", "--dry-run")],
        "weights": [("train", "--weights", "{in}", "--dry-run")],
        "out": [("train", *TRAIN[3:], "--out", "{folder}"), ("train", "--resume", "--out", "{in}")],
    },
    "eval": {
        "run": [("eval", "{in}", *NUMPY)],
        "others": [("eval", "{w}/run", *NUMPY, "--with", "{in}")],
        "data": [("eval", "{w}/run", *NUMPY, "--data", "{in}")],
        "json_file": [("eval", "{w}/run", *NUMPY, "--json", "{file}")],
        "confusion": [("eval", "{w}/run", *NUMPY, "--confusion", "{file}")],
        "save": [("eval", "{w}/run", *NUMPY, "--save", each) for each in ("{file}", "{named}.npz")],
    },
    "infer": {
        "run": [("infer", "{in}", "{w}/images", *NUMPY)],
        "inputs": [("infer", "{w}/run", "{image}", "--out", "{w}/o", *NUMPY)],
        "lists": [("infer", "{w}/run", "--from", "{image}", "--out", "{w}/o", *NUMPY)],
        "others": [("infer", "{w}/run", "{w}/images", "--out", "{w}/o", *NUMPY, "--with", "{in}")],
        "out": [("infer", "{w}/run", "{w}/images/a.png", "--out", "{folder}", *NUMPY)],
        "watch": [("infer", "{w}/run", "--watch", "{in}/x", "--out", "{w}/o", *NUMPY)],
    },
    "export": {
        "run": [("export", "{in}", "--out", "{w}/n.safetensors")],
        "out": [
            ("export", "{w}/run", "--to", "state-dict", "--out", "{file}"),
            ("export", "{w}/run", "--out", "{named}.safetensors"), ("export", "{w}/run", "--out", "{named}.onnx"),
        ],
    },
    "ablate": {
        "study": [("ablate", "{in}")],
        "out": [("ablate", "{w}/study.toml", "--out", "{folder}")],
        "json_file": [("ablate", "{w}/study.toml", "--out", "{w}/s", "--json", "{file}")],
        "markdown": [("ablate", "{w}/study.toml", "--out", "{w}/s", "--markdown", "{file}")],
        "csv": [("ablate", "{w}/study.toml", "--out", "{w}/s", "--csv", "{file}")],
    },
    "compare": {
        "runs": [("compare", "{w}/run", "{in}", *NUMPY), ("compare", "{in}", "{w}/run", *NUMPY)],
        "data": [("compare", "{w}/run", "{w}/second", *NUMPY, "--data", "{in}")],
        "json_file": [("compare", "{w}/run", "{w}/second", *NUMPY, "--json", "{file}")],
        "markdown": [("compare", "{w}/run", "{w}/second", *NUMPY, "--markdown", "{file}")],
        "csv": [("compare", "{w}/run", "{w}/second", *NUMPY, "--csv", "{file}")],
    },
    "explain": {
        "run": [("explain", "{in}", "{w}/images/a.png", "--out", "{w}/e.html", *NUMPY)],
        "images": [("explain", "{w}/run", "{image}", "--out", "{w}/e.html", *NUMPY)],
        "out": [("explain", "{w}/run", "{w}/images/a.png", "--out", "{file}", *NUMPY)],
        "png": [("explain", "{w}/run", "{w}/images/a.png", "--out", "{w}/e.html", "--png", "{folder}", *NUMPY)],
        "npz": [("explain", "{w}/run", "{w}/images/a.png", "--out", "{w}/e.html", "--npz", "{file}", *NUMPY)],
    },
    "merge": {
        "files": [("merge", "{in}"), ("merge", "{w}/whole.npz", "{in}")],
        "save": [("merge", "{w}/whole.npz", "--save", each) for each in ("{file}", "{named}.npz")],
        "json_file": [("merge", "{w}/whole.npz", "--json", "{file}")],
    },
    "read": {"name": [("read", "{name}")]},
    "report": {
        "runs": [("report", "{in}", *NUMPY), ("report", "{w}/run", "{in}", *NUMPY)],
        "data": [("report", "{w}/run", *NUMPY, "--data", "{in}", "--out", "{w}/r.html")],
        "out": [("report", "{w}/run", "--curves-only", "--out", "{file}")],
    },
    "summary": {"source": [("summary", "{in}")], "json_file": [("summary", "{w}/run", "--json", "{file}")]},
    "config": {"key": [("config", "{name}")]},
    "check": {"json_file": [("check", *NUMPY, "--op", "relu", "--json", "{file}")]},
    "bench": {
        "json_file": [("bench", *NUMPY, "--suite", "ops", "--only", "relu", "--json", "{file}")],
        "plot": [("bench", *NUMPY, "--suite", "ops", "--only", "relu", "--plot", "{file}")],
    },
    "presets show": {"name": [("presets", "show", "{name}")]},
    "data download": {
        "name": [("data", "download", "{name}", "--out", "{w}/i")],
        "out": [("data", "download", "camvid", "--out", "{folder}")],
    },
    "data import": {
        "source": [("data", "import", "{in}", "--out", "{w}/i")],
        "out": [("data", "import", "{w}/export", "--out", "{folder}")],
        "classes": [("data", "import", "{w}/export", "--classes", "{in}", "--out", "{w}/i")],
        "images": [("data", "import", "{w}/export", "--images", "{name}", "--out", "{w}/i")],
    },
    "data sample": {"out": [("data", "sample", "scenes", "--count", "1", "--out", "{folder}")]},
    "data check": {
        "source": [("data", "check", "{in}")],
        "json_file": [("data", "check", "{w}/data", "--json", "{file}")],
    },
    "weights import": {
        "file": [("weights", "import", "{in}", "--out", "{w}/m.safetensors")],
        "out": [
            ("weights", "import", "{w}/run/best.safetensors", "--out", each)
            for each in ("{file}", "{named}.safetensors")
        ],
    },
    "weights show": {"file": [("weights", "show", "{in}")]},
}  # fmt: skip


def commands(group: typer.Typer, name: str = "") -> Iterator[tuple[str, dict[str, object]]]:
    """Each command, and the types of its parameters by name."""
    for command in group.registered_commands:
        assert command.callback is not None
        own = command.name or command.callback.__name__
        yield f"{name} {own}".strip(), typing.get_type_hints(command.callback)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{name} {inner.name}".strip())


def test_every_path_of_every_command_is_tried() -> None:
    missing = [
        f"{command}: {parameter}"
        for command, types in commands(app) for parameter, type in types.items()
        if "Path" in str(type) and parameter not in CALLS.get(command, {})
    ]  # fmt: skip
    assert not missing


@pytest.mark.parametrize("command", CALLS)
def test_the_calls_have_options_and_keys_that_there_are(command: str) -> None:
    """Else a command would refuse the call, and not the path in it."""
    found = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]
    options = {option for parameter in found.params for option in parameter.opts}
    for call in itertools.chain.from_iterable(CALLS[command].values()):
        assert " ".join(call).startswith(command)
        assert {part.partition("=")[0] for part in call if part.startswith("--")} <= options
        settings = {part.partition("=")[0] for before, part in itertools.pairwise(call) if before == "--set"}
        assert settings <= {key.path for key in keys()}


@pytest.fixture(scope="module")
def folder(processes, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("paths") / "folder"
    shutil.copytree(template, made)
    ended = processes.run(filled(("eval", "{w}/run", *NUMPY, "--save", "{w}/whole.npz"), made), made)
    assert ended.code == 0, said(ended)
    return made


@pytest.fixture(scope="module")
def paths(folder: Path) -> Iterator[dict[str, list[str]]]:
    """Paths that cannot be used, for each kind of place."""
    odd = folder / "odd"
    closed, unlisted, still, empty = (odd / name for name in ("closed", "unlisted", "still", "empty"))
    for each in (closed, unlisted, still):
        each.mkdir(parents=True)
        shutil.copy(folder / "images" / "a.png", each)
    empty.mkdir()
    pipe, loop, text, unreadable = (odd / name for name in ("pipe", "loop", "text", "unreadable"))
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    text.write_bytes(b"no text \xff\n")
    unreadable.touch(mode=0o000)
    closed.chmod(0o000)
    unlisted.chmod(0o311)
    still.chmod(0o555)
    everywhere = [odd / ("x" * 300), closed, closed / "a.png", text / "below", loop / "below"]
    for ending in ("npz", "onnx", "safetensors"):
        (odd / f"folder.{ending}").mkdir()
    named = [
        odd / ("x" * 300), closed / "a", text / "below", loop / "below", "/proc/x", still / "new",
        odd / "no" / "folder", odd / "folder",
    ]  # fmt: skip
    name = [*everywhere, loop, unlisted, unreadable, empty, text, odd / "nothing"]
    found = {
        "name": name,
        "image": [*name, ""],
        "in": [*name, "", pipe],
        "file": [*everywhere, unlisted, still / "new", "/", ".", empty, odd / "no" / "folder", "/proc/x"],
        "named": named,
        "folder": [*everywhere, loop, unlisted, still / "new", "/", pipe, text, "/dev/null", "/proc/x"],
    }
    yield {kind: [str(path) for path in each] for kind, each in found.items()}
    for each in (closed, unlisted, still):
        each.chmod(0o700)


def problem(ended: Ended) -> str | None:
    """What is wrong with how a command with such a path ended."""
    if "Traceback" in ended.err or "Exception ignored" in ended.err:
        return "a traceback"
    sentences = [line for line in ended.err.splitlines() if line.startswith("segattn: ")]
    if is_refused_by_typer(ended) or (ended.code == ExitCode.USAGE and sentences):
        return None
    if ended.code not in REFUSALS:
        return f"exit code {ended.code}"
    return None if sentences else "no sentence"


@pytest.mark.parametrize("command", CALLS)
def test_paths_that_cannot_be_used(command, processes, folder, paths):
    problems = []
    for call in (call for calls in CALLS[command].values() for call in calls):
        (kind,) = (kind for kind in paths if any(f"{{{kind}}}" in part for part in call))
        for path in paths[kind]:
            for made in ("o", "i", "s", "e.html", "r.html", "n.safetensors", "m.safetensors"):
                each = folder / made
                shutil.rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)
            given = [part.replace(f"{{{kind}}}", path) for part in filled(call, folder)]
            ended = processes.run(given, folder, obeys_modes=True)
            if found := problem(ended):
                problems.append(f"{' '.join(call)} with {path[-60:]!r}: {found}: {said(ended)}")
    assert not problems, "\n".join(problems)

"""The console script: every kind of error is one sentence on standard error and an exit code of its own."""

from __future__ import annotations

import ast
import errno
import os
import re
import subprocess
import sys
import types

import pytest

import backends.registry
from backends import BackendError
from segattn_cli import app, errors


def kinds():
    """Every class of error that the engine raises, with its code."""
    declared = {kind: kind.exit_code for kind in errors.SegattnError.__subclasses__()}
    declared |= {BackendError: errors.ExitCode.BACKEND, KeyboardInterrupt: errors.ExitCode.INTERRUPTED}
    return list(declared.items())


@pytest.mark.parametrize(("kind", "code"), kinds())
def test_each_error_has_its_code_and_no_traceback(monkeypatch, capsys, kind, code):
    def fail(prog_name):
        raise kind("The thing is not there: bring it.")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == code != 0
    out, err = capsys.readouterr()
    assert out == ""
    sentence = "Interrupted." if kind is KeyboardInterrupt else "The thing is not there: bring it."
    assert err == f"segattn: {sentence}\n"


def test_too_little_memory_has_its_code_and_a_way_out(monkeypatch, capsys):
    def fail(prog_name):
        raise MemoryError("Unable to allocate 1 TiB")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == errors.ExitCode.MEMORY
    assert "lower training.batch_size" in capsys.readouterr().err


def test_nowhere_for_temporary_files(tmp_path):
    """As Matplotlib and Python meet it on a file system that is wholly read-only, for a user without a home."""
    (tmp_path / "sitecustomize.py").write_text(
        "import tempfile\n"
        "def fail(*_, **__): raise FileNotFoundError(2, 'No usable temporary directory found in [...]')\n"
        "tempfile.mkdtemp = tempfile.gettempdir = fail\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "MPLCONFIGDIR")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "HOME": "/proc"}
    script = "from segattn_cli import app, rendering; app.app = lambda **_: rendering.cividis(); app.main()"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == errors.ExitCode.OUTPUT
    assert done.stderr.splitlines()[-1].startswith("segattn: No folder for temporary files can be written: ")
    assert "Traceback" not in done.stderr


def of_cupy(base, module="cupy.cuda.memory"):
    return type("Full", (base,), {"__module__": module})


@pytest.mark.parametrize(
    "error",
    [
        of_cupy(MemoryError)("Out of memory allocating 12 bytes"),
        of_cupy(RuntimeError, "cupy_backends.cuda.api.runtime")("cudaErrorMemoryAllocation: out of memory"),
        of_cupy(RuntimeError, "cupy_backends.cuda.libs.cublas")("CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_too_little_memory_on_a_gpu_says_how_much_there_is(monkeypatch, capsys, error):
    def fail(prog_name):
        raise error

    memory = types.SimpleNamespace(out_of_memory=lambda error: "the GPU could not allocate 3 GB more")
    monkeypatch.setitem(sys.modules, "backends.cupy", types.ModuleType("backends.cupy"))
    monkeypatch.setitem(sys.modules, "backends.cupy.memory", memory)
    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == errors.ExitCode.MEMORY
    said = capsys.readouterr().err
    assert said.startswith("segattn: There is not enough memory (the GPU could not allocate 3 GB more): lower")
    assert "--precision float16" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        of_cupy(RuntimeError, "cupy_backends.cuda.api.runtime")("cudaErrorIllegalAddress"),
        RuntimeError("cudaErrorMemoryAllocation, said by somebody else"),
    ],
)
def test_other_failures_of_a_gpu_are_bugs(monkeypatch, error):
    def fail(prog_name):
        raise error

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(RuntimeError):
        app.main()


def test_results_name_what_auto_takes(monkeypatch, capsys):
    """Nothing else is said of it where CuPy is not installed: the result has the name."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    backends.registry._log_once.cache_clear()
    assert run(monkeypatch, "check", "--backend", "auto", "--op", "relu") == 0
    out, err = capsys.readouterr()
    assert "agrees with the reference" in out
    assert "The backend is" not in out + err


def test_the_limit_of_a_gpus_memory_is_for_all_commands(monkeypatch):
    monkeypatch.setenv("SEGATTN_GPU_MEMORY", "1GB")  # which is put back at the end
    assert run(monkeypatch, "--gpu-memory", "50%", "check", "--backend", "numpy", "--op", "relu") == 0
    assert os.environ["SEGATTN_GPU_MEMORY"] == "50%"


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX's")
@pytest.mark.parametrize("arguments", [["presets"], ["config"], ["--help"], ["presets", "--help"]], ids=" ".join)
def test_a_reader_that_has_enough_is_no_bug(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "segattn_cli.app", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (errors.ExitCode.CLOSED_PIPE, b"")


def test_no_message_names_a_file_of_the_repository(repository):
    """A tool that is installed has no docs folder."""
    for package in ("segattn_cli", "backends", "reference"):
        for path in (repository / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
            docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented)
                          and node.body and isinstance(node.body[0], ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    assert not re.search(r"docs/|\.md\b", node.value) or path.parts[-2:] == ("config", "docs.py")


def test_codes_are_distinct():
    codes = [code for _, code in kinds()]
    assert len(set(codes)) == len(codes)


def test_a_bug_is_not_hidden(monkeypatch):
    def fail(prog_name):
        raise ZeroDivisionError

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(ZeroDivisionError):
        app.main()


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["segattn", *arguments])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    return stopped.value.code


def test_version(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("segattn ")


def test_an_unknown_option_is_a_matter_of_usage(monkeypatch, capsys):
    assert run(monkeypatch, "train", "--epoch", "3") == errors.ExitCode.USAGE
    assert "--epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("segattn tr", "train"),
        ("segattn train --preset dual", "dual-scale-resnet18-camvid"),
        ("segattn train --set network.he", "network.head="),
        ("segattn config network.he", "network.head"),
        ("segattn presets show dual", "dual-scale-resnet18-camvid"),
        ("segattn train --backend n", "numpy"),
        ("segattn train --format c", "camvid"),
        ("segattn check --op scale_f", "scale_fusion"),
        ("segattn check --network danet-resnet18", "danet-resnet18-camvid"),
    ],
)
def test_the_shell_completes(monkeypatch, capsys, typed, offered):
    monkeypatch.setenv("_SEGATTN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    monkeypatch.setattr(sys, "argv", ["segattn"])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == 0
    assert offered in capsys.readouterr().out.split()


def test_a_stream_that_cannot_hold_every_character() -> None:
    """Windows redirects into an encoding of its own."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "segattn_cli.app", "data", "check", "scenes", "--split", "val"],
        capture_output=True, env=environment, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"? All 80 images and their masks can be used." in done.stdout


def test_a_limit_without_a_unit(monkeypatch, capsys):
    assert run(monkeypatch, "--gpu-memory", "8", "doctor") == 2
    assert "--gpu-memory must be a size such as 8GB" in capsys.readouterr().err


def test_a_path_that_cannot_be_looked_at(monkeypatch, capsys):
    name = "x" * 300
    for arguments in (["infer", name, "a.png"], ["export", "run", "--out", f"{name}.onnx"], ["eval", name]):
        assert run(monkeypatch, *arguments) == errors.ExitCode.OUTPUT
        *before, sentence = capsys.readouterr().err.splitlines()
        assert all("The backend is" in line for line in before)  # where CuPy is installed without a GPU
        assert "xxx" in sentence
        assert sentence.endswith("cannot be used: File name too long.")


@pytest.mark.parametrize("name", ["[/x]", "[bold]", "\x1b[31m"])
def test_names_are_no_markup(monkeypatch, capsys, name):
    commands = ([name], ["train", f"--{name}"], ["eval", name], ["config", name], ["train", "--preset", name])
    for arguments in commands:
        assert run(monkeypatch, *arguments) not in (0, 1)
        said = capsys.readouterr().err
        assert name.replace("\x1b", "?") in said or name == "\x1b[31m"


def test_no_thread_to_be_had(monkeypatch, capsys):
    def fail(prog_name):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == errors.ExitCode.MEMORY
    assert "(can't start new thread)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EIO, "Input/output error"), "A file cannot be read or written: Input/output error."),
        (OSError(errno.EIO, "Input/output error", 3), "A file cannot be read or written: Input/output error."),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b cannot be used: Permission denied."),
    ],
)
def test_an_error_of_the_system_is_a_sentence(monkeypatch, capsys, error, sentence):
    def fail(prog_name):
        raise error

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == errors.ExitCode.OUTPUT
    assert capsys.readouterr().err == f"segattn: {sentence}\n"


def test_nothing_is_said_of_an_error_that_says_nothing(monkeypatch, capsys):
    def fail(prog_name):
        raise MemoryError

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit):
        app.main()
    assert capsys.readouterr().err.startswith("segattn: There is not enough memory: lower")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("(os.kill(os.getpid(), signal.SIGINT), SystemError)[1]", errors.ExitCode.INTERRUPTED),
        ("MemoryError", errors.ExitCode.MEMORY),
        ("ImportError('libx.so: failed to map segment from shared object')", errors.ExitCode.MEMORY),
    ],
)
def test_what_may_happen_while_it_starts(error, code):
    script = (
        "import builtins, os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # the tests may have been started by nohup
        "from segattn_cli.__main__ import main\n"
        "builtins_import = builtins.__import__\n"
        "def fail(name, *rest):\n"
        f"    if name == 'typer': raise {error}\n"
        "    return builtins_import(name, *rest)\n"
        "builtins.__import__ = fail\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("segattn: ")
    assert done.stderr.count("\n") == 1

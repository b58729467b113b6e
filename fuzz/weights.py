"""A fuzz target: no bytes make the reader of weights do anything but return, or say what is wrong in one sentence.

    python fuzz/weights.py -max_total_time=60 fuzz/corpus

Needs atheris (``pip install 'segattn[fuzz]'``). The files in ``fuzz/corpus`` are what mutation starts from: every
kind of file, as ``fuzz/make_corpus.py`` wrote them. What a run finds new goes to the first folder that is named.
An exit code of 0 means that nothing was found. Memory is bounded: a file of a few kilobytes that makes the reader
take more than 256 MB is a find, too.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["segattn_cli.weights", "pickletools", "zipfile"]):
    from segattn_cli.errors import SegattnError
    from segattn_cli.weights import import_weights

FOLDER = Path(tempfile.mkdtemp(prefix="segattn-fuzz-"))


FORBIDDEN = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "ctypes.dlopen"}
LIMITS = ["-rss_limit_mb=1024", "-malloc_limit_mb=256", "-timeout=10", "-max_len=65536"]


def no_code(event: str, arguments: tuple) -> None:
    """Nothing that a file says may reach the system: whatever would run or import something is a find."""
    if event in FORBIDDEN:
        raise SystemError(f"a file made the reader call {event}{arguments}")


def one_input(data: bytes) -> None:
    """The bytes as a file; if they could be a pickle, as that of an archive, too, whose checksum is then right."""
    path = FOLDER / "weights"
    path.write_bytes(data)
    one_file(path)
    if data.startswith(b"\x80"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
            for key in range(4):
                archive.writestr(f"archive/data/{key}", bytes(24))
        one_file(path)


def one_file(path: Path) -> None:
    try:
        import_weights(path)
    except SegattnError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise SystemError(f"no sentence: {error!r}") from None


if __name__ == "__main__":
    sys.addaudithook(no_code)
    atheris.Setup([*sys.argv, *LIMITS], one_input)
    atheris.Fuzz()

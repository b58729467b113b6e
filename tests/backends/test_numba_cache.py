"""Where neither the installation nor a home can be written, compiled loops go into a folder for temporary files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

numba = pytest.importorskip("numba")

from numba.core import caching  # noqa: E402
from numba.core.caching import IndexDataCacheFile  # noqa: E402

from backends.numba import machine_code  # noqa: E402

#: Those of Numba without the one that writes beside the source.
LOCATORS = [caching.UserProvidedCacheLocator, caching.UserWideCacheLocator]


def double(x: float) -> float:
    return 2 * x


@pytest.fixture
def nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only a folder that is given by name can be written, as on a read-only installation without HOME."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(machine_code.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_folder_of_this_user_alone(nowhere_to_write: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(double, cache=True)
    assert machine_code.stored(double)(2.0) == 4.0
    (folder,) = nowhere_to_write.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.rglob("*.nbi"))
    assert not machine_code.is_first_use()


def test_a_folder_that_others_can_write_is_not_trusted(nowhere_to_write: Path) -> None:
    machine_code.use_temporary_cache()
    planted = Path(numba.config.CACHE_DIR)
    planted.chmod(0o777)
    machine_code.use_temporary_cache()
    assert Path(numba.config.CACHE_DIR) != planted


def test_nothing_can_be_written(nowhere_to_write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folder() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    for folder in (no_folder, lambda: str(nowhere_to_write / "missing" / "deep")):
        monkeypatch.setattr(machine_code.tempfile, "gettempdir", folder)
        assert machine_code.stored(double)(2.0) == 4.0


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Numba alone would trust, and write, a folder that is called ~ where the command runs."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", LOCATORS)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(machine_code.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert machine_code.stored(double)(2.0) == 4.0
    assert not list((tmp_path / "work").iterdir())
    assert list((tmp_path / "temporary").rglob("*.nbi"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the machine code of :func:`double`."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machine_code, "_reported", set())
    assert machine_code.stored(double)(2.0) == 4.0
    assert {path.suffix for path in files_of(tmp_path)} == {".nbi", ".nbc"}
    return tmp_path


def files_of(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*.nb*") if path.is_file()]


def hits_of(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def overwrite(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [empty, truncate, flip_a_bit, overwrite])
def test_what_is_damaged_is_compiled_anew_and_mended(
    cache: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], suffix: str
) -> None:
    undamaged = machine_code.stored(double)
    assert (undamaged(2.0), hits_of(undamaged)) == (4.0, 1)
    for path in files_of(cache):
        if path.suffix == suffix:
            damage(path)
    again = machine_code.stored(double)
    assert (again(2.0), hits_of(again)) == (4.0, 0)
    assert again(3) == 6
    (said,) = caplog.messages
    assert said.startswith("Machine code cannot be read (")
    mended = machine_code.stored(double)
    assert (mended(2.0), hits_of(mended)) == (4.0, 1)


def test_a_full_disk(cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for path in files_of(cache):
        path.unlink()
    monkeypatch.setattr(IndexDataCacheFile, "_save_index", fail)
    monkeypatch.setattr(Path, "open", fail)
    function = machine_code.stored(double)
    assert (function(2.0), function(3)) == (4.0, 6)
    assert caplog.messages == [
        "Machine code cannot be stored (No space left on device): it is compiled anew, which takes minutes."
    ]

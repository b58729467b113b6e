"""Where neither the installation nor a home can be written, compiled loops go into a folder for temporary files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

numba = pytest.importorskip("numba")

from numba.core import caching  # noqa: E402

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

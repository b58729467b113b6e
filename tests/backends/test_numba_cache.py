"""Where neither the installation nor a home can be written, compiled loops go into a folder for temporary files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

numba = pytest.importorskip("numba")

from numba.core import caching  # noqa: E402

from backends.numba import compile as compiling  # noqa: E402


def double(x: float) -> float:
    return 2 * x


@pytest.fixture
def nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only a folder that is given by name can be written, as on a read-only installation without HOME."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiling.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_folder_of_this_user_alone(nowhere_to_write: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(double, cache=True)
    assert compiling._compiled(double)(2.0) == 4.0
    (folder,) = nowhere_to_write.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.rglob("*.nbi"))
    assert not compiling.is_first_use()


def test_a_folder_that_others_can_write_is_not_trusted(nowhere_to_write: Path) -> None:
    compiling.use_temporary_cache()
    planted = Path(numba.config.CACHE_DIR)
    planted.chmod(0o777)
    compiling.use_temporary_cache()
    assert Path(numba.config.CACHE_DIR) != planted


def test_nothing_can_be_written(nowhere_to_write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.tempfile, "gettempdir", lambda: str(nowhere_to_write / "missing" / "deep"))
    assert compiling._compiled(double)(2.0) == 4.0

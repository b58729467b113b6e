"""The process that forks, and what each scenario finds in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .forks import Forks, compiled_library, forks
from .scenarios import make_template


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    work = tmp_path_factory.mktemp("forks")
    library = compiled_library(work)
    if library is None:
        pytest.skip("file calls fail by LD_PRELOAD: needs Linux and a C compiler, such as apt-get install gcc")
    with forks(library, work) as process:
        yield process


@pytest.fixture(scope="session")
def template(processes: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "template"
    make_template(processes, folder)
    return folder

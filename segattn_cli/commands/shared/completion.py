"""Completion of values in the shell. Modules are imported when the shell asks, so that start-up stays fast."""

from __future__ import annotations

from collections.abc import Iterable


def backends(incomplete: str) -> list[str]:
    from backends import BACKENDS

    return _starting(incomplete, ["auto", *BACKENDS])


def precisions(incomplete: str) -> list[str]:
    from backends.contract import PRECISIONS

    return _starting(incomplete, PRECISIONS)


def formats(incomplete: str) -> list[str]:
    from segattn_cli.data.formats.recognition import LAYOUTS

    return _starting(incomplete, ["auto", *LAYOUTS])


def presets(incomplete: str) -> list[str]:
    from segattn_cli.config import PRESETS

    return _starting(incomplete, PRESETS)


def studies(incomplete: str) -> list[str]:
    from segattn_cli.config.study import STUDIES

    return _starting(incomplete, STUDIES)


def keys(incomplete: str) -> list[str]:
    from segattn_cli.config import keys

    tables = dict.fromkeys(key.table for key in keys() if key.table)
    return _starting(incomplete, [*tables, *(key.path for key in keys())])


def settings(incomplete: str) -> list[str]:
    from segattn_cli.config import keys

    return _starting(incomplete, [f"{key.path}=" for key in keys()])


def ops(incomplete: str) -> list[str]:
    from segattn_cli.checking.cases import CASES

    return _starting(incomplete, CASES)


def readable(incomplete: str) -> list[str]:
    from segattn_cli.config import PRESETS
    from segattn_cli.reading.equations import papers
    from segattn_cli.reading.op_source import op_names

    equations = [each.name for paper in papers() for each in paper.entries if each.name]
    return _starting(incomplete, [*op_names(), *(paper.name for paper in papers()), *equations, *PRESETS])


def networks(incomplete: str) -> list[str]:
    from segattn_cli.checking.network_checks import NETWORKS
    from segattn_cli.config import PRESETS

    return _starting(incomplete, [*NETWORKS, *PRESETS])


def suites(incomplete: str) -> list[str]:
    from segattn_cli.benchmarking import BUSY, SUITES

    return _starting(incomplete, [*SUITES, BUSY, "all"])


def baselines(incomplete: str) -> list[str]:
    from segattn_cli.benchmarking.variants import BASELINES

    return _starting(incomplete, BASELINES)


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]

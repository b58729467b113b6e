"""Versions of the packages that a result or a speed may depend on."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of ``packages``; any of them may be missing, even segattn in a checkout.

    >>> versions(["no-such-package"])["no-such-package"]
    'not installed'
    """
    result = {"python": platform.python_version()}
    for package in packages:
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            result[package] = "not installed"
    return result

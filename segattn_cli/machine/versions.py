"""Versions of what a result or a speed may depend on."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of ``packages``; one may be missing, also segattn in a checkout.

    >>> versions(["no-such-package"])["no-such-package"]
    'not installed'
    """
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found

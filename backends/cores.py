"""How many cores this process may use: by its affinity, and by the quotas of its control groups on Linux."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def usable_cores() -> int:
    """The number of threads that can compute at once.

    Part of a core counts as one: with a quota of 1.5, two threads compute half as much again as one.
    """
    cores, quota = allowed_cores(), cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def allowed_cores() -> int:
    """The number of cores that the affinity of this process allows, whatever its quota."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: Path = ROOT) -> float | None:
    """The time on cores that this process may use, in cores; None without a limit.

    Containers set it: Docker's ``--cpus``, the limits of Kubernetes, systemd's ``CPUQuota``.
    """
    quotas = []
    for folder in cpu_groups(root):
        quota, _, period = _read(folder / "cpu.max").partition(" ")  # version 2 of control groups
        if not period:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")  # version 1
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def cpu_groups(root: Path = ROOT) -> Iterator[Path]:
    """The folders of the control groups that can limit this process: its own, and those around it."""
    groups: dict[str, str] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path.lstrip("/"))  # version 2 has no controllers: ""
    for line in _read(root / "proc/self/mounts").splitlines():
        _, place, kind, options, *_ = line.split()
        controller = "" if kind == "cgroup2" else "cpu"
        if not kind.startswith("cgroup") or controller not in groups or controller not in ("", *options.split(",")):
            continue
        mount = root / place.lstrip("/")
        own = mount / groups[controller]
        # In a container, the path may be that outside of it, of which only the top is there.
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(mount) and folder.is_dir())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""

"""Cores that a process may use, by its affinity and by its quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends import cores
from backends.cores import allowed_cores, cpu_groups, cpu_quota, usable_cores


@pytest.fixture
def system(tmp_path: Path):
    """``system(mounts, cgroup, files)``: a root folder with the files of Linux that say what a process may use."""

    def make(mounts: str, cgroup: str, files: dict[str, str]) -> Path:
        for name, text in {"proc/self/mounts": mounts, "proc/self/cgroup": cgroup, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="utf-8")
        return tmp_path

    return make


V2 = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0"
V1 = (
    "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
    "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0"
)
BY_SYSTEMD = "3:cpuset:/\n2:cpu,cpuacct:/user/shell\n0::/user/shell"


@pytest.mark.parametrize(
    ("mounts", "cgroup", "files", "quota"),
    [
        pytest.param(V2, "0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5, id="container"),
        pytest.param(V2, "0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, None, id="no limit"),
        pytest.param(
            V2, "0::/user/shell",
            {
                "sys/fs/cgroup/user/shell/cpu.max": "400000 100000",
                "sys/fs/cgroup/user/cpu.max": "100000 50000",
                "sys/fs/cgroup/other/cpu.max": "1000 50000",
            },
            2.0, id="the group around it allows less",
        ),
        pytest.param(
            V1, BY_SYSTEMD,
            {
                "sys/fs/cgroup/cpu,cpuacct/user/shell/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/user/shell/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_quota_us": "350000",
                "sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpuset/cpu.cfs_quota_us": "1000",
                "sys/fs/cgroup/cpuset/cpu.cfs_period_us": "100000",
            },
            3.5, id="version 1",
        ),
        pytest.param(
            V1, "2:cpu,cpuacct:/docker/0123\n0::/docker/0123",
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            0.5, id="a container of version 1, with the path outside of it",
        ),
        pytest.param("", "", {}, None, id="no control groups"),
        pytest.param(V2, "0::/", {"sys/fs/cgroup/cpu.max": "nonsense"}, None, id="nonsense"),
    ],
)  # fmt: skip
def test_the_least_quota_of_all_groups_around_a_process_counts(system, mounts, cgroup, files, quota):
    assert cpu_quota(system(mounts, cgroup, files)) == quota


def test_a_system_without_these_files_has_no_quota(tmp_path: Path):
    assert cpu_quota(tmp_path) is None
    assert list(cpu_groups(tmp_path)) == []


def test_a_system_without_affinities_has_all_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, allowed in (6, 6), (None, 1):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert allowed_cores() == allowed


@pytest.mark.parametrize(
    ("quota", "usable"), [(None, 16), (2.5, 3), (2.0, 2), (0.3, 1), (40.0, 16)], ids=lambda value: str(value)
)
def test_part_of_a_core_counts_as_one(monkeypatch: pytest.MonkeyPatch, quota: float | None, usable: int):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert usable_cores() == usable

"""Mounts on which a lock holds on one machine only are recognised; nothing of other machines is removed there."""

from __future__ import annotations

from pathlib import Path

import pytest

from segattn_cli import files, mounts
from segattn_cli.files import remove_stale
from segattn_cli.mounts import mount_without_shared_locks

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw"
UNFINISHED = ".segattn-0123456789abcdef.partial"


def mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *lines: str) -> None:
    table = tmp_path.parent / f"{tmp_path.name}-mountinfo"
    table.write_text("\n".join([ROOT, *lines]) + "\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", table)


@pytest.mark.parametrize(
    ("kind", "options", "local"),
    [
        ("nfs", "rw,vers=3,nolock,addr=10.0.0.1", True),
        ("nfs", "rw,vers=3,local_lock=flock,addr=10.0.0.1", True),
        ("nfs4", "rw,vers=4.2,local_lock=all", True),
        ("nfs4", "rw,vers=4.2,local_lock=none", False),
        ("nfs4", "rw,vers=4.2,local_lock=posix", False),  # flock is sent to the server
        ("cifs", "rw,vers=3.1.1,nobrl", True),
        ("cifs", "rw,vers=3.1.1", False),
        ("lustre", "rw,localflock", True),
        ("lustre", "rw,flock", False),
        ("fuse.sshfs", "rw,user_id=0,group_id=0", True),
        ("fuse.glusterfs", "rw,user_id=0", False),
        ("9p", "rw,trans=virtio", True),
        ("tmpfs", "rw,size=40k", False),
        ("ext4", "rw", False),
    ],
)
def test_file_systems(monkeypatch, tmp_path, kind, options, local) -> None:
    mounted(monkeypatch, tmp_path, f"40 27 0:50 / {tmp_path} rw,relatime shared:1 - {kind} server:/x {options}")
    found = mount_without_shared_locks(tmp_path / "run" / "new")
    assert (found is not None) == local
    assert mount_without_shared_locks(tmp_path.parent) is None
    if found is not None:
        assert (found.type, found.source) == (kind, "server:/x")


def test_the_deepest_and_last_mount_counts(monkeypatch, tmp_path) -> None:
    (tmp_path / "a b").mkdir()
    point = f"{tmp_path}/a\\040b"
    network, disk = "- nfs server:/x rw,nolock", "- ext4 /dev/vdb rw"
    mounted(monkeypatch, tmp_path, f"40 27 0:50 / {tmp_path} rw {disk}", f"41 40 0:51 / {point} rw {network}")
    assert mount_without_shared_locks(tmp_path / "a b") is not None
    assert mount_without_shared_locks(tmp_path / "a bc") is None
    mounted(monkeypatch, tmp_path, f"41 40 0:51 / {point} rw {network}", f"42 41 0:52 / {point} rw {disk}")
    assert mount_without_shared_locks(tmp_path / "a b") is None
    (tmp_path / "link").symlink_to("a b")
    mounted(monkeypatch, tmp_path, f"41 27 0:51 / {point} rw {network}")
    assert mount_without_shared_locks(tmp_path / "link") is not None


def test_without_a_table_of_mounts_nothing_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "nothing")
    assert mount_without_shared_locks(tmp_path) is None
    mounted(monkeypatch, tmp_path, "no such line", "")
    assert mount_without_shared_locks(tmp_path) is None


@pytest.mark.skipif(files.fcntl is None, reason="without flock nothing stale is removed")
@pytest.mark.parametrize("shared", [True, False])
def test_what_another_machine_may_be_writing_stays(monkeypatch, tmp_path, shared) -> None:
    (tmp_path / UNFINISHED).touch()
    option = "local_lock=none" if shared else "nolock"
    mounted(monkeypatch, tmp_path, f"40 27 0:50 / {tmp_path} rw - nfs server:/x rw,{option}")
    remove_stale(tmp_path)
    assert (tmp_path / UNFINISHED).exists() != shared

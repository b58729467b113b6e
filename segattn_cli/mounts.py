"""File systems whose locks do not keep processes of other machines out, as Linux lists them in its mounts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

MOUNTINFO = Path("/proc/self/mountinfo")
#: Options of NFS, SMB, Lustre, GFS2 and OCFS2 that leave locks to each machine alone: nfs(5), mount.cifs(8), …
LOCAL_OPTIONS = frozenset(
    {"nolock", "local_lock=all", "local_lock=flock", "nobrl", "localflock", "localflocks"}
)  # fmt: skip
#: File systems of several machines that leave ``flock`` to each of them, whatever their options.
LOCAL_TYPES = frozenset(
    {"9p", "vboxsf", "virtiofs", "fuse.blobfuse", "fuse.blobfuse2", "fuse.davfs", "fuse.gcsfuse", "fuse.goofys",
     "fuse.mount-s3", "fuse.mountpoint-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse"}
)  # fmt: skip


class Mount(NamedTuple):
    """A line of ``mountinfo`` (proc_pid_mountinfo(5))."""

    point: str  # where it is mounted
    type: str  # "nfs4"
    source: str  # "server:/export"
    options: frozenset[str]  # of the file system, and of this mount

    @property
    def locks_on_one_machine_only(self) -> bool:
        return self.type in LOCAL_TYPES or bool(self.options & LOCAL_OPTIONS)


def mount_without_shared_locks(path: Path) -> Mount | None:
    """The mount that ``path`` is on, if a lock there holds on this machine only, and others may write there, too.

    None as well where it cannot be told: on other systems than Linux.
    """
    try:
        mount = _mount_of(os.path.realpath(path), MOUNTINFO.read_text(errors="surrogateescape"))
    except OSError:
        return None
    return mount if mount is not None and mount.locks_on_one_machine_only else None


def _mount_of(path: str, mountinfo: str) -> Mount | None:
    """The mount of an absolute ``path``: the deepest that holds it, and the last of those on one point.

    >>> line = "36 35 0:50 / /mnt/my\\\\040runs rw,relatime - nfs4 server:/runs rw,vers=4.2,local_lock=none"
    >>> _mount_of("/mnt/my runs/first", line)[:3]
    ('/mnt/my runs', 'nfs4', 'server:/runs')
    >>> _mount_of("/mnt/my runsand/first", line) is None
    True
    """
    deepest = None
    for line in mountinfo.splitlines():
        own, _, of_all = line.partition(" - ")
        fields, more = own.split(" "), of_all.split(" ")
        if len(fields) < 6 or len(more) < 3:
            continue
        point = _unescaped(fields[4])
        holds = path == point or path.startswith(f"{point.rstrip('/')}/")
        if holds and (deepest is None or len(point) >= len(deepest.point)):
            options = frozenset([*fields[5].split(","), *more[2].split(",")])
            deepest = Mount(point, more[0], _unescaped(more[1]), options)
    return deepest


def _unescaped(text: str) -> str:
    """``text`` with spaces, tabs, newlines and backslashes, which stand there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

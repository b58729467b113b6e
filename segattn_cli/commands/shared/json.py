"""Results as JSON, in a file or on standard output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segattn_cli.json_text import json_text

#: The file name that stands for standard output.
STDOUT = Path("-")


def print_json(value: Any) -> None:
    print(json_text(value, indent=1))


def show_and_write(value: Any, file: Path | None, show: Callable[[], object]) -> None:
    """Call ``show``, and write ``value`` to ``file`` if one is given; :data:`STDOUT` prints ``value`` alone."""
    from segattn_cli.files import write_atomically

    if file == STDOUT:
        print_json(value)
        return
    show()
    if file is not None:
        write_atomically(file, f"{json_text(value, indent=1)}\n".encode())

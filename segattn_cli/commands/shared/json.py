"""Results as JSON, in a file or on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The file name that stands for standard output.
STDOUT = Path("-")


def print_json(value: Any) -> None:
    print(_text(value))


def show_and_write(value: Any, file: Path | None, show: Callable[[], object]) -> None:
    """Call ``show``, and write ``value`` to ``file`` if one is given; :data:`STDOUT` prints ``value`` alone."""
    from segattn_cli.files import write_atomically

    if file == STDOUT:
        print_json(value)
        return
    show()
    if file is not None:
        write_atomically(file, f"{_text(value)}\n".encode())


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False)

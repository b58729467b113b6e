"""From a template and data to one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent


def render_page(
    template: str, data: Mapping[str, Any], *, scripts: Sequence[str], styles: Sequence[str], **context: Any
) -> str:
    """The page that ``templates/<template>`` makes of ``context``, with ``data`` in its one JSON block.

    Scripts and styles (files of ``static/``) are written into the page, the scripts as one function, so that their
    names are nobody else's. The page's content security policy lets nothing be loaded and no other script run.
    Everything in ``context`` is escaped.

    Raises:
        ValueError: for a NaN or an infinity in ``data``.
    """
    script = "(() => {\n'use strict';\n" + "\n".join(_static(name) for name in scripts) + "\n})();"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template(template).render(
        **context,
        style="\n".join(_static(name) for name in styles),
        script=script,
        script_hash=f"sha256-{digest}",
        data=_json(data),
    )


def _json(data: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: no text in it can end the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )


def _static(name: str) -> str:
    return (FOLDER / "static" / name).read_text(encoding="utf-8")

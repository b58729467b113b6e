"""From a template and data to one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segattn_cli.json_text import json_text

if TYPE_CHECKING:
    from jinja2 import Environment

#: The scripts, styles and templates that several pages share.
SHARED = Path(__file__).with_name("static")


def render_page(
    template: Path, data: Mapping[str, Any], *, scripts: Sequence[str], styles: Sequence[str], **context: Any
) -> str:
    """Render ``template`` with ``context``, and with ``data`` in the page's one JSON block.

    Scripts and styles are named files in the folder of ``template`` or in :data:`SHARED`. They are written into the
    page, the scripts inside one function, so that their names stay their own. The content security policy of the
    page forbids every request and every other script. Everything in ``context`` is escaped.
    """
    script = "(() => {\n'use strict';\n" + _joined(template, scripts) + "\n})();"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment(template.parent).get_template(template.name).render(
        **context,
        style=_joined(template, styles),
        script=script,
        script_hash=f"sha256-{digest}",
        data=_json(data),
    )


def _json(data: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: no text in it can end the element."""
    text = json_text(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([folder, SHARED]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )


def _joined(template: Path, names: Sequence[str]) -> str:
    """The texts of the files ``names``, which lie beside ``template`` or in :data:`SHARED`."""
    folders = (template.parent, SHARED)
    paths = [next(folder / name for folder in folders if (folder / name).is_file()) for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)

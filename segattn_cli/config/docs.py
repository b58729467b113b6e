"""The tables of all keys in ``docs/configuration.md``: ``python -m segattn_cli.config.docs`` writes them anew."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from segattn_cli.config import Config, keys

BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"


def tables() -> str:
    """A Markdown table for each table of the configuration."""
    parts = []
    for table, entries in groupby(keys(), lambda entry: entry[0].rpartition(".")[0]):
        heading = f"### `[{table}]`\n\n{_about(table)}\n\n" if table else ""
        rows = [
            f"| `{path.rpartition('.')[2]}` | {_default(field)} | {field.description} |" for path, field in entries
        ]
        parts.append(heading + "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts)


def rewritten(text: str) -> str:
    """``text`` with what stands between the marks replaced by the tables."""
    return re.sub(f"(?s)(?<={BEGIN}\n).*(?={END})", lambda _: f"\n{tables()}\n\n", text)


def _about(table: str) -> str:
    section: Any = Config
    for name in table.split("."):
        section = section.model_fields[name].annotation
    return (section.__doc__ or "").strip()


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return "–"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    text = str(value).lower() if isinstance(value, bool) else str(value).replace("'", '"')
    return f'`"{text}"`' if isinstance(value, str) else f"`{text}`"


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")

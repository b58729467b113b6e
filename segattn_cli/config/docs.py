"""The tables of all keys in ``docs/configuration.md``: ``python -m segattn_cli.config.docs`` writes them anew."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from segattn_cli.config import Config, Key, keys
from segattn_cli.config.description import toml_value

BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"


def tables() -> str:
    """A Markdown table for each table of the configuration."""
    parts = []
    for table, entries in groupby(keys(), lambda key: key.table):
        heading = f"### `[{table}]`\n\n{_about(table)}\n\n" if table else ""
        rows = [f"| `{key.name}` | {_default(key)} | {key.meaning} |" for key in entries]
        parts.append(heading + "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts)


def rewritten(text: str) -> str:
    """``text`` with what stands between the marks replaced by the tables."""
    return re.sub(f"(?s)(?<={BEGIN}\n).*(?={END})", lambda _: f"\n{tables()}\n\n", text)


def _about(table: str) -> str:
    section: object = Config()
    for name in table.split("."):
        section = getattr(section, name)
    return (section.__doc__ or "").partition("\n\n")[0].replace("``", "`")


def _default(key: Key) -> str:
    return "–" if key.default is None else f"`{toml_value(key.default)}`"


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")

"""The tables in ``docs/papers.md``: ``python docs/extensions/papers_tables.py`` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from segattn_cli.reading.equations import Entry, Paper, Place, papers

PAGE = Path(__file__).parents[1] / "papers.md"


def rewritten(text: str) -> str:
    """``text`` with the table of each paper between its marks."""
    for paper in papers():
        begin, end = f"<!-- {paper.name}: begin -->", f"<!-- {paper.name}: end -->"
        text = re.sub(f"(?s)(?<={begin}\n).*(?={end})", lambda _, paper=paper: f"\n{table(paper)}\n\n", text)
    return text


def table(paper: Paper) -> str:
    rows = ["| in the paper | in the code | tests |", "| --- | --- | --- |"]
    for each in paper.entries:
        rows.append(f"| {_where(each)} | {'<br>'.join(map(_code, each.places))} | {_tests(each)} |")
    return "\n".join(rows)


def _where(entry: Entry) -> str:
    formula = f": `{entry.formula}`" if entry.formula else ""
    page = entry.page + ".md"
    return f"[{entry.where}]({page}), {entry.what}{formula}"


def _code(place: Place) -> str:
    lines = "".join(f"<br>`{line}`" for line in place.lines)
    return f"[`{place.function}`](../{place.file}){lines}"


def _tests(entry: Entry) -> str:
    files: dict[str, list[str]] = {}
    for test in entry.tests:
        file, _, name = test.partition("::")
        files.setdefault(file, []).append(name.removeprefix("test_").replace("_", " "))
    return "<br>".join(f"[{', '.join(names)}](../{file})" for file, names in files.items())


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

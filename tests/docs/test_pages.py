"""The pages: each is in the navigation, and links lead to files."""

from __future__ import annotations

import re
from pathlib import Path

from segattn_cli.reading.op_source import op_names


def listed(index: Path) -> set[str]:
    """The pages in the navigation, also those of the tables of contents of other pages."""
    pages = set()
    for block in re.findall(r"```\{toctree\}\n(.*?)```", index.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line and not line.startswith(":"):
                page = (index.parent / f"{line}.md").resolve()
                pages |= {page} | (listed(page) if page.exists() else set())
    return pages


def test_every_page_is_in_the_navigation(repository):
    """A page that is not would be a warning of Sphinx, and these are errors."""
    docs = repository / "docs"
    assert listed(docs / "index.md") == set(docs.rglob("*.md")) - {docs / "index.md"}


def test_the_page_of_every_op_has_all_parts(repository):
    for op in op_names():
        text = (repository / "docs" / "understand" / "ops" / f"{op}.md").read_text(encoding="utf-8")
        parts = re.findall(r"```\{(op[\w-]*)\} (\w+)\n```", text)
        assert parts == [("op", op), ("op-code", op), ("op-live", op), ("op-facts", op)]


def test_the_readme_is_a_screenful(repository):
    assert len((repository / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_links_between_files_lead_to_files(repository):
    """Of the README and of the pages, as they are read on GitHub."""
    files = [*(repository / "docs").rglob("*.md"), *repository.glob("*.md")]
    for file in files:
        text = re.sub(r"(?ms)^```.*?^```$", "", file.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\((?!\w+:|#)([^)\s#]+)", text):
            assert (file.parent / target).exists(), f"{file.name}: {target}"

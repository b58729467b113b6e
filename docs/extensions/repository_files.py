"""Links from the pages into the repository, and pages that stand outside of ``docs/``.

The Markdown files link to each other and to the code by relative paths, so that they can be read on GitHub, too. On
the site, a link to an op leads to its page, and a link to another file leads to a page with its text. A page that
consists of ``{include} ../README.md`` has the text of that file, with its links.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: Files outside of docs/ that have a page.
PAGES = {"README.md": "index", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
INCLUDE = re.compile(r"```\{include\} (\S+)\n```\n")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\]\([^)]*\))*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def included(app: Sphinx, docname: str, content: list[str]) -> None:
    """Insert what a page includes, and turn its links into those of the site."""
    folder = Path(app.env.doc2path(docname)).parent

    def text_of(match: re.Match[str]) -> str:
        path = (folder / match[1]).resolve()
        app.env.note_dependency(str(path))
        return rewritten(path.read_text(encoding="utf-8"), path.parent, folder)

    content[0] = INCLUDE.sub(text_of, rewritten(content[0], folder, folder))


def rewritten(text: str, folder: Path, page_folder: Path) -> str:
    """``text`` of a file in ``folder`` with the links that it has on a page in ``page_folder``."""
    blocks = re.split(r"(?ms)(^```.*?^```$)", text)
    return "".join(block if n % 2 else _rewritten(block, folder, page_folder) for n, block in enumerate(blocks))


def _rewritten(text: str, folder: Path, page_folder: Path) -> str:
    def link(match: re.Match[str]) -> str:
        image, label, path, anchor = match[1], match[2], match[3], match[4] or ""
        label = LINK.sub(link, label)
        target = (folder / path).resolve()
        if not target.is_relative_to(ROOT):
            return match[0]
        name = target.relative_to(ROOT).as_posix()
        if name in PAGES:
            target = DOCS / f"{PAGES[name]}.md"
        elif not target.is_relative_to(DOCS):
            return f"{{source}}`` {label} <{name}> ``"
        up = Path(os.path.relpath(target, page_folder)).as_posix()
        return f"{image}[{label}]({up}{anchor})"

    return LINK.sub(link, text)


class Source(SphinxRole):
    """``{source}`text <reference/ops/relu.py>```: a link to a file, to one of its lines, or to a folder."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        label, _, path = self.text.strip().rpartition(" <")
        path, _, line = path.rstrip(">").partition("#L")
        node = nodes.reference("", "", internal=True, classes=["source"])
        node += nodes.literal("", label.strip("`")) if label.startswith("`") else nodes.Text(label)
        if not (ROOT / path).exists():
            message = self.inliner.reporter.error(f"There is no file {path} in the repository.", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        node["refuri"] = link_to_file(self.env, path, line)
        return [node], []


def link_to_file(env: Any, path: str, line: object = "") -> str:
    """The link from the page that is read to a file, or to one of its lines; of an op, to its page."""
    op = ROOT / "docs" / "understand" / "ops" / f"{Path(path).stem}.md"
    if path.startswith("reference/ops/") and op.exists() and not line:
        page = f"understand/ops/{Path(path).stem}"
    else:
        page = f"source/{path}"
        linked_files(env).setdefault(env.docname, set()).add(path)
    from_page = env.app.builder.get_target_uri(env.docname)
    return relative_uri(from_page, f"{page}.html") + (f"#L{line}" if line else "")


def linked_files(env: Any) -> dict[str, set[str]]:
    """The files that each page links to."""
    if not hasattr(env, "segattn_linked_files"):
        env.segattn_linked_files = {}
    found: dict[str, set[str]] = env.segattn_linked_files
    return found


def forget(app: Sphinx, env: Any, docname: str) -> None:
    """Forget the links of a page that is read again, or gone."""
    linked_files(env).pop(docname, None)


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file that a page links to; a folder's page lists its files."""
    waiting, done = sorted(set().union(*linked_files(app.env).values())), set()
    while waiting:
        name = waiting.pop(0)
        if name in done:
            continue
        done.add(name)
        path = ROOT / name
        if path.is_dir():
            files = sorted(each.name for each in path.iterdir() if each.suffix in (".py", ".txt"))
            waiting += [f"{name}/{each}" for each in files]
            links = (f'<a href="{path.name}/{escape(each)}.html">{escape(each)}</a>' for each in files)
            body = f"<ul><li>{'</li><li>'.join(links)}</li></ul>"
        else:
            body = listing(path)
        yield f"source/{name}", {"title": name, "body": f"<h1>{escape(name)}</h1>\n{body}"}, "page.html"


def listing(path: Path) -> str:
    """The text of a file, with the number of each line as its anchor."""
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    formatter = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)
    html: str = highlight(path.read_text(encoding="utf-8"), lexer, formatter)
    return html.replace('"L-', '"L').replace("#L-", "#L")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", included)
    app.connect("env-purge-doc", forget)
    app.connect("html-collect-pages", source_pages)
    app.add_role("source", Source())
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}

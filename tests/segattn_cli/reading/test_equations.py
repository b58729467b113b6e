"""The table of equations against the papers, the code, the tests and the pages."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from segattn_cli.reading.equations import Place, find_entries, papers
from segattn_cli.reading.op_source import read_op

ENTRIES = [(paper.name, entry) for paper in papers() for entry in paper.entries]
EVERY_ENTRY = pytest.mark.parametrize(
    "entry", [entry for _, entry in ENTRIES], ids=[f"{paper} {entry.where}" for paper, entry in ENTRIES]
)


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.name)
def test_every_equation_of_a_paper_is_there(paper):
    names = [each.name for each in paper.entries if each.name]
    assert names == [f"{paper.name}-{number}" for number in range(1, paper.equations + 1)]
    assert all(each.formula and all(place.lines for place in each.places) for each in paper.entries if each.name)


def test_the_papers_have_so_many_equations():
    assert {paper.name: paper.equations for paper in papers()} == {"danet": 4, "attention-to-scale": 2}


@EVERY_ENTRY
def test_every_line_is_where_the_table_says(entry, repository):
    assert entry.places
    for place in entry.places:
        numbers = place.numbers(repository)
        source = (repository / place.file).read_text(encoding="utf-8").splitlines()
        for number, line in zip(numbers, place.lines, strict=False):
            assert source[number - 1].strip().startswith(line)


@EVERY_ENTRY
def test_every_test_is_there(entry, repository):
    assert entry.tests
    for test in entry.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((repository / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@EVERY_ENTRY
def test_every_page_is_there(entry, repository):
    assert (repository / "docs" / f"{entry.page}.md").exists()


@EVERY_ENTRY
def test_a_formula_is_that_of_the_docstring(entry):
    """With its number, which the paper gave it."""
    if not entry.formula:
        return
    number = entry.where.removeprefix("equation ")
    lines = [" ".join(line.split()) for line in read_op(entry.places[-1].function).formulas()]
    assert f"{entry.formula} ({number})" in lines


def test_a_line_that_moved_is_noticed(repository):
    place = papers()[0].entries[2].places[0]
    moved = Place(place.file, "position_attention_backward", place.lines)
    with pytest.raises(LookupError, match=r"position_attention_backward in .* has no line 'energy = query"):
        moved.numbers(repository)
    with pytest.raises(LookupError, match=r"position_attention.py has no attention\."):
        Place(place.file, "attention", ()).numbers(repository)


def test_an_equation_and_a_paper_can_be_asked_for():
    assert [each.where for each in find_entries("danet-3")] == ["equation 3"]
    assert len(find_entries("attention-to-scale")) == len(papers()[1].entries)
    assert find_entries("") == find_entries("danet-5") == []


def test_the_page_has_the_tables_of_today(repository):
    """Otherwise, run: python docs/extensions/papers_tables.py"""
    script = (
        "import papers_tables as t; text = t.PAGE.read_text(encoding='utf-8'); assert t.rewritten(text) == text"
    )
    path = f"{repository}:{repository / 'docs' / 'extensions'}"
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": path}, cwd=repository, check=True)

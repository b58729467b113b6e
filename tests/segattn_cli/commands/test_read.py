"""``segattn read``: ops, equations and papers in a terminal."""

from __future__ import annotations

import json

import pytest

from segattn_cli.commands.read_display import code_columns
from segattn_cli.commands.shared.completion import readable
from segattn_cli.errors import ExitCode
from segattn_cli.reading.equations import papers
from segattn_cli.reading.op_source import op_names, read_op


def shown(op, width):
    from rich.console import Console

    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(code_columns(read_op(op), width))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_list_has_all(cli):
    out = cli("read").out
    for name in [*op_names(), "danet", "danet-4", "attention-to-scale", "attention-to-scale-2"]:
        assert any(line.split()[:1] == [name] for line in out.splitlines())
    assert json.loads(cli("read", "--json").out)["ops"] == list(op_names())


@pytest.mark.parametrize("op", op_names())
def test_an_op_is_shown_with_its_formula_code_and_tests(op, cli):
    done = cli("read", op)
    assert done.code == 0
    for line in read_op(op).formulas():
        assert line in done.out
    for function in (op, f"{op}_backward") if read_op(op).backward else (op,):
        assert f"def {function}(" in done.out
    assert "tests     tests/reference/ops/test_" in done.out


def test_lines_that_belong_together_have_one_number():
    lines = shown("position_attention", 80)
    numbers = {line.strip(" 0123456789").partition("  #")[0]: line[:1] for line in lines if line[:1].isdigit()}
    assert numbers["y = attention @ value"] == numbers["dvalue = attention.mT @ dy"] == "1"
    assert numbers["energy = query @ key.mT"] == numbers["dkey = denergy.mT @ query"] == "3"


def test_backward_is_beside_forward_where_there_is_room():
    wide, narrow = shown("relu", 160), shown("relu", 100)
    assert any("def relu(" in line and "def relu_backward(" in line for line in wide)
    assert not any("def relu(" in line and "def relu_backward(" in line for line in narrow)
    assert max(map(len, wide)) <= 160


@pytest.mark.parametrize("width", [30, 44, 70, 150])
@pytest.mark.parametrize("op", op_names())
def test_code_that_is_too_long_goes_on_further_to_the_right(op, width):
    lines = shown(op, width)
    assert max(map(len, lines)) <= width
    if width < 150:  # nothing is beside it
        assert "".join("".join(lines).split()) == "".join("".join(shown(op, 1000)).split())


def test_what_goes_on_is_further_to_the_right_than_its_line():
    lines = shown("position_attention", 44)
    at = lines.index("1     dvalue = attention.mT @ dy  # (B,")
    assert lines[at + 1] == "          N, C)"


def test_an_equation_is_shown_with_the_numbers_of_its_lines(cli, repository):
    out = cli("read", "danet-1").out
    source = (repository / "reference" / "ops" / "position_attention.py").read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(source, 1) if "energy = query @ key.mT" in line)
    assert f"{number}  energy = query @ key.mT" in out
    assert "s_ji = exp(B_i · C_j) / Σ_i exp(B_i · C_j)" in out
    assert json.loads(cli("read", "danet-1", "--json").out)[0]["places"][0]["lines"][0] == number


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.name)
def test_a_paper_is_shown_as_a_whole(paper, cli):
    out = cli("read", paper.name).out
    for entry in paper.entries:
        assert entry.what in out


def test_json_of_an_op(cli):
    facts = json.loads(cli("read", "relu", "--json").out)
    assert facts["formulas"] == ["y = max(x, 0)"]
    assert facts["backward"][0]["quotes"] == ["y = np.maximum(x, 0)"]


def test_an_unknown_name_is_refused_with_the_one_that_was_meant(cli):
    done = cli("read", "positon_attention")
    assert done.code == ExitCode.USAGE
    assert "did you mean position_attention?" in done.err


def test_a_network_is_shown_with_its_layers_code_and_equations(cli, repository):
    done = cli("read", "tiny-scenes")
    assert done.code == 0
    assert "tiny-scenes: 8 classes, one image of 96×128" in done.out
    rows = [line.split() for line in done.out.splitlines()]
    assert ["head.position.query", "linear", "32", "→", "4", "192×4", "132", "0.0"] in rows
    assert ["head.position.classifier", "*"] in [row[:2] for row in rows]
    place = next(row[1] for row in rows if row[:1] == ["PositionAttention"])
    file, _, line = place.partition(":")
    assert "self.query.forward" in (repository / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert [row[0] for row in rows if row and row[0].startswith(("danet-", "attention-to-scale-"))] == [
        "danet-1:", "danet-2:", "danet-3:", "danet-4:", "attention-to-scale-1:", "attention-to-scale-2:",
    ]  # fmt: skip


def test_a_network_is_sentences_where_no_table_fits(cli, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr("segattn_cli.commands.read_network.console", lambda: Console(width=40))
    out = cli("read", "tiny-scenes").out
    line = "head.position.query: linear 32 → 4, 192×4 and 48×4, 132 parameters, 0.0 million multiply-adds"
    assert line in out.splitlines()
    assert "head.position.gate: gate · attended + x, 192×32 and 48×32, 1 parameter" in out.splitlines()
    assert any(line.startswith("head.position.classifier *: linear 32 → 8") for line in out.splitlines())


def test_a_network_may_be_a_file_or_a_run(cli, run, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[network]\nhead = "channel"\n')
    facts = json.loads(cli("read", path, "--json").out)
    assert facts["equations"] == ["danet-3", "danet-4"]
    assert facts["nodes"][0]["name"] == "backbone.conv1"
    assert facts["nodes"][0]["function"] == "ConvNorm.forward"
    widths = {node["name"]: node["shapes"] for node in json.loads(cli("read", run, "--json").out)["nodes"]}
    assert widths["head.position.attended"] == {"scale 1": [192, 8], "scale 0.5": [48, 8]}


def test_an_empty_name_is_refused(cli):
    done = cli("read", "")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "There is nothing to read about ''" in done.err


def test_a_mistyped_network_is_refused_with_the_one_that_was_meant(cli):
    done = cli("read", "tiny-scense")
    assert done.code == ExitCode.USAGE
    assert "did you mean tiny-scenes?" in done.err
    assert "tiny-scenes" in cli("read").out
    assert readable("tiny") == ["tiny-scenes"]

"""Documents that are damaged, or made to do harm, end in one sentence that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from segattn_cli.data.annotations.documents import Coordinate, Schema, has_keys, read_json, read_xml
from segattn_cli.errors import DataError


class Item(Schema):
    id: int
    points: list[tuple[Coordinate, Coordinate]] = []  # noqa: RUF012


ITEMS = TypeAdapter(list[Item])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "document"


class TestJson:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings(self, file: Path, encoding: str) -> None:
        file.write_text('[{"id": 3, "points": [[1, 2.5]], "more": NaN}]', encoding=encoding)
        assert read_json(file, ITEMS) == [Item(id=3, points=[(1, 2.5)])]

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "Invalid JSON"),
            ("[", "Invalid JSON"),
            ("[" * 100_000, "recursion limit"),
            ('[{"id": 1, "more": ' + "[" * 100_000 + "}]", "recursion limit"),
            ("{}", "valid (list|array)"),
            ('[{"id": "one"}]', r"at \[0\].id: .*valid integer"),
            ('[{"id": 1, "points": [[1, NaN]]}]', r"at \[0\].points\[0\]\[1\]: .*finite"),
            ('[{"id": 1, "points": [[1, 1e999]]}]', "finite"),
            ('[{"id": 1, "points": [[1, 1e8]]}]', "less than or equal to 10000000"),
            ('[{"id": 1, "points": {"x": 1}}]', r"at \[0\].points: "),
            ('[{"id": ' + "9" * 5000 + "}]", "Invalid JSON"),
        ],
    )
    def test_what_cannot_be_used(self, file: Path, text: str, sentence: str) -> None:
        file.write_text(text)
        with pytest.raises(DataError, match=rf"document cannot be used.*{sentence}"):
            read_json(file, ITEMS)

    def test_no_text(self, file: Path) -> None:
        file.write_bytes(b"\x89PNG\r\n")
        with pytest.raises(DataError, match="document is not text"):
            read_json(file, ITEMS)


class TestXml:
    def test_a_document(self, file: Path) -> None:
        file.write_text('<?xml version="1.0" encoding="utf-8"?>\n<a><b c="&lt;ü&#8364;"/></a>', encoding="utf-8")
        assert read_xml(file)[0].get("c") == "<ü€"

    def test_entities_are_refused_before_they_are_expanded(self, file: Path) -> None:
        laughs = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
        file.write_text(f'<!DOCTYPE a [<!ENTITY l0 "lol">{laughs}]><a>&l9;</a>')
        with pytest.raises(DataError, match="document has a document type definition"):
            read_xml(file)

    def test_files_from_elsewhere_are_not_read(self, file: Path) -> None:
        file.write_text('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>')
        with pytest.raises(DataError, match="document type definition"):
            read_xml(file)

    @pytest.mark.parametrize("text", ["", "<a>", "<a>&x;</a>", '<?xml version="1.0" encoding="no"?><a/>', "\0"])
    def test_what_is_not_well_formed(self, file: Path, text: str) -> None:
        file.write_text(text)
        with pytest.raises(DataError, match="document is not well-formed"):
            read_xml(file)

    def test_deep_nesting(self, file: Path) -> None:
        file.write_text("<a>" * 50_000 + "</a>" * 50_000)
        assert read_xml(file).tag == "a"


class TestKeys:
    def test_in_the_beginning_and_the_end_of_large_files(self, file: Path) -> None:
        file.write_text('{"images": [' + "0," * 500_000 + '0], "categories": []}')
        assert has_keys(file, "{", "images", "categories")
        assert not has_keys(file, "{", "images", "annotations")
        assert not has_keys(file, "[", "images")

    def test_in_utf_16(self, file: Path) -> None:
        file.write_text('{"images": []}', encoding="utf-16")
        assert has_keys(file, "{", "images")

    def test_a_file_that_is_gone(self, file: Path) -> None:
        assert not has_keys(file, "{", "images")

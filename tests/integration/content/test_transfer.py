"""Import and export, by the commands."""

import json
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fastcms.cli import app
from fastcms.config import Settings
from fastcms.content.importing import import_records
from fastcms.content.reading import FileFormat
from fastcms.content.service import create_collection, find_collection, list_records
from fastcms.database import Database
from fastcms.errors import InvalidInputError


@pytest.fixture
def database(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    """The database that the commands work on; the working directory is a fresh folder."""
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.chdir(tmp_path)
    settings.data_dir.mkdir()
    database = Database(settings.database_path)
    database.migrate()
    return database


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["content", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.stdout


def records_of(database: Database, name: str) -> list[dict[str, Any]]:
    with database.read() as session:
        return [record.data for record in list_records(session, find_collection(session, name)).items][::-1]


def products(count: int) -> list[dict[str, Any]]:
    pick = random.Random(1)
    return [
        {
            "id": number,
            "Name": f'Chair "{number}", größer;\n second line',
            "price": round(pick.random() * 100, 2),
            "in stock": pick.random() < 0.5,
            "added": "2025-01-15",
            "postcode": f"{number:05}",
            "tags": [{"a": number}, "x"] if number % 2 else None,
            "site": f"https://example.com/{number}",
        }
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_three_thousand_rows_survive_the_round_trip(database: Database, suffix: str) -> None:
    Path("in.json").write_text(json.dumps(products(3000)))
    report = json.loads(run("import", "in.json", "--collection", "products", "--create", "--json"))
    assert (report["imported"], report["refused"], report["is_new_collection"]) == (3000, 0, True)
    run("export", f"out.{suffix}", "--collection", "products")
    with database.write() as session:
        fields = find_collection(session, "products").fields
        create_collection(session, "copies", fields)
    run("import", f"out.{suffix}", "--collection", "copies")
    run("export", f"again.{suffix}", "--collection", "copies")
    assert Path(f"again.{suffix}").read_bytes() == Path(f"out.{suffix}").read_bytes()
    exported = json.loads(run("export", "--collection", "copies"))
    given = products(3000)
    assert [row["id"] for row in exported] == [str(row["id"]) for row in given]
    assert [row["Name"] for row in exported] == [row["Name"] for row in given]
    assert [row["tags"] for row in exported] == [row["tags"] for row in given]
    assert [row["in_stock"] for row in exported] == [row["in stock"] for row in given]
    assert {field["name"]: field["type"] for field in fields} == {
        "Name": "editor",
        "price": "number",
        "in_stock": "bool",
        "added": "date",
        "postcode": "text",
        "tags": "json",
        "site": "url",
    }


def test_rows_that_do_not_fit_are_reported_and_the_others_go_in(database: Database) -> None:
    with database.write() as session:
        fields: list[dict[str, Any]] = [
            {"name": "title", "type": "text", "required": True},
            {"name": "n", "type": "number"},
        ]
        create_collection(session, "posts", fields)
    rows: list[Any] = [
        {"title": "a", "n": 1},
        {"title": "b", "n": "many"},
        {"n": 2},
        ["not", "an", "object"],
        {"title": "c", "colour": "red"},
        {"id": "same", "title": "d"},
        {"id": "same", "title": "e"},
        {"id": "a b", "title": "f"},
        {"created": "soon", "title": "g"},
        {"title": "h", "n": ""},
    ]
    Path("rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    report = json.loads(run("import", "rows.jsonl", "--collection", "posts", "--json", exit_code=2))
    assert (report["imported"], report["refused"]) == (3, 7)
    assert [(r["row"], r["field"]) for r in sorted(report["refusals"], key=lambda r: r["row"])] == [
        (2, "n"),
        (3, "title"),
        (4, ""),
        (5, "colour"),
        (7, "id"),
        (8, "id"),
        (9, "created"),
    ]
    assert [record["title"] for record in records_of(database, "posts")] == ["a", "d", "h"]
    again = CliRunner().invoke(app, ["content", "import", "rows.jsonl", "-c", "posts", "--show", "1"])
    assert again.exit_code == 2
    assert "Imported 2 records into posts; refused 8." in again.stdout
    assert "Row 2, n: Input should be a number" in again.stderr
    assert "and 7 more" in again.stderr


def test_csv_cells_become_the_fields_types(database: Database) -> None:
    Path("in.csv").write_bytes(
        '\ufeffFirst Name;n;yes;j;zip\r\nJürgen;1.5;true;"{""a"":1}";01234\r\nBo;;no;;9\r\n'.encode()
    )
    run("import", "in.csv", "--collection", "people", "--create")
    assert records_of(database, "people") == [
        {"First_Name": "Jürgen", "n": 1.5, "yes": True, "j": '{"a":1}', "zip": "01234"},
        {"First_Name": "Bo", "n": None, "yes": False, "j": None, "zip": "9"},
    ]
    Path("more.csv").write_text("first name,n,yes\nCy,x,maybe\nDi,2,1\nEd,1,1,1\n")
    report = json.loads(run("import", "more.csv", "--collection", "people", "--json", exit_code=2))
    assert report["imported"] == 1
    assert [(r["row"], r["field"]) for r in report["refusals"]] == [(1, "n"), (1, "yes"), (3, "")]


def test_relations_within_the_file_may_point_forward(database: Database) -> None:
    with database.write() as session:
        create_collection(session, "pages", [{"name": "parent", "type": "relation", "collection": "pages"}])
    rows = [{"id": "a", "parent": "b"}, {"id": "b"}, {"id": "c", "parent": "nobody"}]
    Path("pages.json").write_text(json.dumps(rows))
    report = json.loads(run("import", "pages.json", "--collection", "pages", "--json", exit_code=2))
    assert report["imported"] == 3
    assert [(r["row"], r["field"]) for r in report["refusals"]] == [(3, "parent")]
    assert [record["parent"] for record in records_of(database, "pages")] == ["b", None, None]


def test_an_unknown_collection_is_refused_with_the_way_out(database: Database) -> None:
    Path("in.json").write_text("[]")
    answer = json.loads(run("import", "in.json", "--collection", "nobody", "--json", exit_code=3))
    assert answer["code"] == "collection_not_found"
    assert "--create" in answer["hint"]
    run("export", "--collection", "nobody", exit_code=3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"a": 1},\n {"b": }]', "line 2"),
        ("a.json", b'[{"a": 1}', "line 1"),
        ("a.json", b'[{"a": 1e999}]', "line 1"),
        ("a.json", b"[" * 100_000, "nested"),
        ("a.json", b'{"a": 1}', "does not start with ["),
        ("a.json", b"", "a.json is empty"),
        ("a.json", b" \n", "a.json is empty"),
        ("a.json", "[]".encode("utf-16"), "is not UTF-8"),
        ("a.json", "[]".encode("utf-16-le"), "is not UTF-8"),
        ("a.json", b'[{"a": "\xe9"}]', "is not UTF-8"),
        ("a.json", b'[{"a": ' + b"1" * 5000 + b"}]", "integer overflow"),
        ("a.json", b"[]", "nothing to infer fields from"),
        ("a.json", json.dumps([{f"k{n}": n for n in range(201)}]).encode(), "needs 201 fields"),
        ("a.jsonl", b'{"a": 1}\n{"a": ' + b"1" * 5000 + b"}\n", "line 2: is not valid JSON: it has a number"),
        ("a.jsonl", b"[" * 100_000, "nested too deeply"),
        ("a.jsonl", b"", "nothing to infer fields from"),
        ("a.jsonl", b'{"a": 1}\n{"a"\n', "line 2"),
        ("a.jsonl", b'{"a": 1}\n\n{"a": "\xff"}\n', "line 3: is not UTF-8"),
        ("a.csv", b"a,b\n1,2\n3,\xff\n", "line 3: is not UTF-8"),
        ("a.csv", b'a,b\n1,"2\n', "is not valid CSV"),
        ("a.csv", b"a,a\n1,2\n", "names a column twice"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b",,\n1,2,3\n", "does not name the columns"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "is not UTF-8"),
        ("a.txt", b"", "does not say what it contains"),
    ],
)
def test_a_malformed_file_is_refused_as_a_whole(
    database: Database, name: str, content: bytes, message: str
) -> None:
    Path(name).write_bytes(content)
    answer = json.loads(run("import", name, "--collection", "new", "--create", "--json", exit_code=2))
    assert message in answer["detail"]
    assert json.loads(run("list", "--json")) == []


def test_an_export_asks_before_it_replaces_a_file(database: Database) -> None:
    with database.write() as session:
        create_collection(session, "empty")
    Path("out.json").write_text("precious")
    run("export", "out.json", "--collection", "empty", exit_code=1)
    assert Path("out.json").read_text() == "precious"
    run("export", "out.json", "--collection", "empty", "--yes")
    assert json.loads(Path("out.json").read_text()) == []
    run("import", "missing.json", "--collection", "empty", exit_code=3)
    run("export", "no/such/folder/out.json", "--collection", "empty", exit_code=2)


def test_a_piped_file_goes_in_as_a_whole(database: Database) -> None:
    for suffix in ("jsonl", "json", "csv"):
        pipe = Path(f"pipe.{suffix}")
        os.mkfifo(pipe)
        rows = [{"n": number} for number in range(30_000)]
        content = {
            "json": json.dumps(rows),
            "jsonl": "\n".join(json.dumps(row) for row in rows),
            "csv": "n\n" + "\n".join(str(row["n"]) for row in rows),
        }[suffix]
        writer = threading.Thread(target=pipe.write_text, args=(content,))
        writer.start()
        report = json.loads(run("import", pipe.name, "--collection", suffix, "--create", "--json"))
        writer.join()
        assert (report["imported"], report["refused"]) == (30_000, 0)


def test_a_file_that_changes_while_it_is_imported_is_reported(database: Database) -> None:
    with database.write() as session:
        create_collection(session, "notes", [{"name": "n", "type": "number"}])
    path = Path("in.csv")
    path.write_text("n\n" + "1\n" * 30_000)

    def cut(_done: int, _total: int) -> None:
        path.write_text("n\n1\n")

    with pytest.raises(InvalidInputError, match="it had 30000 rows, then"):
        import_records(database, "notes", path, FileFormat.CSV, on_progress=cut)


def test_a_table_with_its_index_is_imported_with_a_name_for_it(database: Database) -> None:
    Path("frame.csv").write_text(",name,age\n0,Bo,3\n1,Cy,4\n")
    run("import", "frame.csv", "--collection", "people", "--create")
    assert records_of(database, "people") == [
        {"column_1": 0, "name": "Bo", "age": 3},
        {"column_1": 1, "name": "Cy", "age": 4},
    ]


def test_columns_may_be_separated_by_bars(database: Database) -> None:
    Path("in.csv").write_text('"a, b"|c\n1|2\n')
    run("import", "in.csv", "--collection", "bars", "--create")
    assert records_of(database, "bars") == [{"a_b": 1, "c": 2}]


def test_a_header_alone_makes_text_fields(database: Database) -> None:
    Path("in.csv").write_text("id,name,age\n")
    run("import", "in.csv", "--collection", "people", "--create")
    with database.read() as session:
        fields = find_collection(session, "people").fields
    assert [(field["name"], field["type"]) for field in fields] == [("name", "text"), ("age", "text")]


def test_a_file_in_another_encoding_is_refused_with_the_way_out(database: Database) -> None:
    for name, encoding in (("a.csv", "ISO-8859-1"), ("a.jsonl", "ISO-8859-1"), ("b.csv", "UTF-16")):
        Path(name).write_bytes('n\n"\xe9"\n'.encode(encoding) if "csv" in name else b'{"n": "\xe9"}')
        answer = json.loads(run("import", name, "--collection", "x", "--create", "--json", exit_code=2))
        assert f"iconv -f {encoding} -t UTF-8 {name}" in answer["hint"]


def test_a_collections_name_that_does_not_fit_is_refused_in_words(database: Database) -> None:
    Path("in.csv").write_text("n\n1\n")
    answer = json.loads(run("import", "in.csv", "-c", "my posts", "--create", "--json", exit_code=2))
    assert "letters, digits and _" in answer["detail"]
    assert "pattern" not in answer["detail"]
    Path("long.csv").write_text(f"{'1' * 99}\n1\n")
    run("import", "long.csv", "-c", "long", "--create")


def test_an_export_follows_links_and_writes_into_pipes_and_devices(database: Database) -> None:
    with database.write() as session:
        create_collection(session, "empty")
    Path("target.json").write_text("old")
    Path("target.json").chmod(0o640)
    Path("link.json").symlink_to("target.json")
    Path("target.json.partial").write_text("somebody's")
    run("export", "link.json", "--collection", "empty", "--yes")
    assert Path("link.json").is_symlink()
    assert json.loads(Path("target.json").read_text()) == []
    assert Path("target.json").stat().st_mode & 0o777 == 0o640
    assert Path("target.json.partial").read_text() == "somebody's"
    assert sorted(path.name for path in Path().glob(".*.partial")) == []
    os.mkfifo("pipe.json")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe.json").read_text()))
    reader.start()
    run("export", "pipe.json", "--collection", "empty")
    reader.join()
    assert json.loads(read[0]) == []
    assert Path("pipe.json").is_fifo()
    run("export", "/dev/null", "--format", "csv", "--collection", "empty")
    run("export", "/dev/full", "--format", "csv", "--collection", "empty", exit_code=2)

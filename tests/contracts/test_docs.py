"""The documentation and the program agree."""

import ast
import itertools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ByteSize
from typer.main import get_command

from fastcms import errors
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.cli import app as command_line
from fastcms.config import Settings
from fastcms.content.fields import Field
from fastcms.errors import STATUS, FastCMSError
from fastcms.main import create_app
from tests.e2e.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
GUIDE = (DOCS / "user-guide.md").read_text()
_METHODS = ("get", "post", "patch", "put", "delete")


def all_commands() -> Iterator[tuple[str, Any]]:
    """Each command as one types it, and its Click object."""

    def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for child_name, child in children.items():
            yield from walk(child, f"{name} {child_name}")

    yield from walk(get_command(command_line), "fastcms")


def codes_in_source() -> dict[str, tuple[int, int] | None]:
    """Each code, with the status and exit code of the class that is raised with it, where it can be told."""
    found: dict[str, tuple[int, int] | None] = {
        error_class.code: status_of_class(error_class)
        for name in dir(errors)
        if isinstance(error_class := getattr(errors, name), type) and issubclass(error_class, FastCMSError)
    }
    for path in (REPOSITORY / "fastcms").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            raised = getattr(errors, getattr(node.func, "id", ""), None)
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg == "code" and isinstance(value, ast.Constant) and value.value is not None:
                    found[str(value.value)] = status_of_class(raised) if raised else None
    web = ast.parse((REPOSITORY / "fastcms/web.py").read_text())
    for node in ast.walk(web):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_problem":
            found |= {str(a.value): None for a in node.args[2:3] if isinstance(a, ast.Constant)}
    return found


def status_of_class(error_class: type[FastCMSError]) -> tuple[int, int]:
    return next(STATUS[parent] for parent in error_class.__mro__ if parent in STATUS)


def table_row(first_cell: str) -> list[str] | None:
    """The cells of the user guide's row that begins with this, or None."""
    match = re.search(rf"^\| {re.escape(first_cell)} \|(.*)\|$", GUIDE, re.MULTILINE)
    return [cell.strip() for cell in match[1].split("|")] if match else None


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default_and_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    default = field.default.human_readable() if isinstance(field.default, ByteSize) else field.default
    shown = f"`{default}`" if default is not None and str(default) else "not set"
    assert table_row(f"`FASTCMS_{name.upper()}`") == [shown, field.description]


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {f"FASTCMS_{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        assert set(re.findall(r"FASTCMS_[A-Z_]*[A-Z]", page.read_text())) <= known, page.name


def test_every_route_is_documented_and_no_other() -> None:
    schema = create_app(Settings(_env_file=None)).openapi()
    existing = {
        f"{method.upper()} {path}"
        for path, operations in schema["paths"].items()
        for method in operations
        if method in _METHODS
    }
    documented = set(re.findall(r"^\| `((?:GET|POST|PATCH|PUT|DELETE) /[^`]*)` \|", GUIDE, re.MULTILINE))
    assert documented == existing


@pytest.mark.parametrize(("name", "command"), [pytest.param(*item, id=item[0]) for item in all_commands()])
def test_every_command_is_documented_with_its_options(name: str, command: Any) -> None:
    row = re.search(rf"^\| `{name}[ `].*$", GUIDE, re.MULTILINE)
    assert row is not None
    for parameter in command.params:
        if isinstance(parameter, typer.core.TyperOption) and parameter.name not in ("yes", "as_json"):
            assert parameter.opts[0] in row[0]


def test_no_command_is_documented_that_does_not_exist() -> None:
    words = [name.split() for name, _ in all_commands()]
    known = {" ".join(name[:length]) for name in words for length in range(2, len(name) + 1)}
    for page in PAGES:
        for typed in re.findall(r"(?:`|bin/)fastcms ([a-z]+(?: [a-z][a-z-]*)?)", page.read_text()):
            assert f"fastcms {typed}" in known, f"{page.name}: fastcms {typed}"


def test_every_error_code_is_documented_with_its_status_and_exit_code() -> None:
    found = codes_in_source()
    assert {"record_invalid", "backup_busy", "database_unavailable", "unexpected_error"} <= found.keys()
    for code, numbers in found.items():
        row = table_row(f"`{code}`")
        assert row is not None, code
        if numbers is not None:
            assert row[:2] == [str(number) for number in numbers], code


def test_every_field_type_is_documented() -> None:
    union = Field.__origin__  # type: ignore[attr-defined] # Annotated[A | B | ...]
    types = {name for part in union.__args__ for name in part.model_fields["type"].annotation.__args__}
    assert {"text", "relation"} <= types
    for name in types:
        assert table_row(f"`{name}`") is not None, name


def test_every_key_of_the_manifest_is_specified() -> None:
    text = (DOCS / "backup-format.md").read_text()
    for name in BackupManifest.__dataclass_fields__:
        assert f"| `{name}` |" in text
        assert f'"{name}":' in text


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    text = (DOCS / "architecture.md").read_text()
    for requirement in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        assert f"| {re.split('[>=<]', requirement)[0]} |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text()), link


def anchors_of(text: str) -> set[str]:
    """The anchors that a Markdown page's headings get."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tracked_files() -> list[Path]:
    """Every file that is, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def test_no_tracked_file_names_a_package_registry() -> None:
    """Which registry to use is the reader's business, and addresses would tell where this was made."""
    # In pieces, so that this file does not find itself.
    hosts = [("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs"), ("registry", "yarnpkg")]
    forbidden = [".".join(pieces).encode() for pieces in hosts] + [b"index" + b"-url", b"find" + b"-links"]
    files = tracked_files()
    assert REPOSITORY / "pyproject.toml" in files
    assert [(path.name, word) for path in files for word in forbidden if word in path.read_bytes()] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_tested_versions_are_plain_names_and_versions(name: str) -> None:
    lines = (REPOSITORY / name).read_text().splitlines()
    assert len(lines) > 20
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+(; [\w =']+)?", line)] == []


def test_a_package_for_some_machines_is_pinned_for_the_same_ones() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name, _, condition = requirement.partition(";")
        name = re.split("[>=<]", name)[0]
        for file in ("requirements.txt", "requirements-dev.txt"):
            text = (REPOSITORY / file).read_text()
            pinned = re.search(rf"^{name}==[^;\n]*(?:;(.*))?$", text, re.MULTILINE | re.IGNORECASE)
            if condition:
                assert pinned is not None, (file, name)
                assert (pinned[1] or "").strip() == condition.strip(), (file, name)


def test_every_dependency_has_a_tested_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for name, requirements in (
        ("requirements.txt", project["dependencies"]),
        ("requirements-dev.txt", project["optional-dependencies"]["dev"]),
    ):
        pinned = {normalised(line.split("==")[0]) for line in (REPOSITORY / name).read_text().splitlines()}
        assert {normalised(re.split("[>=<]", wanted)[0]) for wanted in requirements} <= pinned


def normalised(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()

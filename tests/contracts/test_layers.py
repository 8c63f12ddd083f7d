"""What import-linter's contracts in pyproject.toml cannot say: the engine's list of what it may import."""

import ast
import sys
from pathlib import Path

import pytest

import fastcms.backups.engine

ALLOWED = (
    "fastcms.backups.engine",
    "fastcms.disks",
    "fastcms.durability",
    "fastcms.errors",
    "fastcms.sqlite",
    "isal",
)
MODULES = sorted(Path(fastcms.backups.engine.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_engine_imports_only_the_standard_library_and_its_own(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    foreign = {
        name
        for name in imported
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(ALLOWED)
    }
    assert foreign == set()
    assert "sqlite3" not in imported

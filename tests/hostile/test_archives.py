"""Each attack is refused with the code of its kind, and leaves no trace."""

import re
from pathlib import Path

import pytest

from fastcms.backups.restoring import stage_restore
from fastcms.errors import ArchiveError, status_of
from fastcms.site import Site
from tests.e2e.conftest import REPOSITORY
from tests.hostile import content_attacks, name_attacks, structure_attacks  # noqa: F401 - they fill ATTACKS
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.database_attacks import DATABASE_ATTACKS, DatabaseAttack
from tests.hostile.grafting import Graft

HOSTILE_NAME = "backup_20200101_000000.zip"


def traces(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a folder that an attack could have changed."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
        if not path.name.startswith((".lock", ".receiving", "app.db-"))
    }


def refuse(victim: Site, content: bytes) -> ArchiveError:
    """Stage a hostile archive, and return why it was refused, after a look at what it left."""
    path = victim.settings.data_dir / "backups" / HOSTILE_NAME
    path.write_bytes(content)
    before = traces(victim.settings.data_dir.parent)
    with pytest.raises(ArchiveError) as refused:
        stage_restore(victim, HOSTILE_NAME, "me")
    assert traces(victim.settings.data_dir.parent) == before
    assert status_of(refused.value) == (422, 7)
    assert HOSTILE_NAME in refused.value.message or "database.db" in refused.value.message
    assert refused.value.hint
    path.unlink()
    return refused.value


@pytest.mark.parametrize(
    ("code", "attack"), ATTACKS, ids=[f"{code}-{attack.__name__}" for code, attack in ATTACKS]
)
def test_each_kind_of_attack_is_refused_with_its_own_code(
    victim: Site, graft: Graft, code: str, attack: Attack
) -> None:
    content = attack(graft)
    error = refuse(victim, graft.build() if content is None else content)
    assert error.code == code, error.message


@pytest.mark.parametrize(
    ("code", "attack"),
    [pytest.param(code, attack, id=f"{code}-{name}") for code, name, attack in DATABASE_ATTACKS],
)
def test_each_kind_of_hostile_database_is_refused_with_its_own_code(
    victim: Site, graft: Graft, code: str, attack: DatabaseAttack
) -> None:
    graft.database.content = attack(graft.database.content)
    error = refuse(victim, graft.build())
    assert error.code == code, error.message


def test_every_code_has_an_attack_and_is_specified() -> None:
    tested = {code for code, _ in ATTACKS} | {code for code, _, _ in DATABASE_ATTACKS}
    sources = [path.read_text() for path in (REPOSITORY / "fastcms/backups").rglob("*.py")]
    refusing = [text for text in sources if "engine.refusals import" in text or "NameFault(" in text]
    specified = (REPOSITORY / "docs/backup-format.md").read_text()
    known = {code for text in refusing for code in re.findall(r'code="(\w+)"', text)}
    # A schema of a hundred thousand tables takes too long to make here: see test_verify.py.
    assert (known | {"archive_too_new"}) - {"database_schema_too_large"} == tested
    assert [code for code in tested if f"| `{code}` |" not in specified] == []

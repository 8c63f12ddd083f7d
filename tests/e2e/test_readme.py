"""The README and the guides, typed by somebody who believes every word.

Every block marked `bash` is run, in order, against a real server; blocks marked `sh` are not (they start
servers, or show one request with placeholders).
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY, Server, clean_environment

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_EXAMPLE_BACKUP = "backup_20250115_100000.zip"


def blocks(page: str, language: str) -> Iterator[str]:
    """The fenced blocks of a page, without their indentation."""
    for match in _BLOCK.finditer((REPOSITORY / page).read_text()):
        if match[2] == language:
            yield re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE)


class Reader:
    """Types blocks into one shell after the other; what a block sets, the next one knows."""

    def __init__(self, server: Server) -> None:
        self.server = server
        # As `make run` leaves it: the commands in .venv, the repository's files beside them.
        (server.folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        (server.folder / "docs").symlink_to(REPOSITORY / "docs")

    def type(self, block: str) -> str:
        """Run a block; any failing command or refused request fails the test."""
        typed = block.replace("localhost:8000", f"localhost:{self.server.port}")
        newest = max((path.name for path in self.backups_dir.glob("backup_*.zip")), default="")
        typed = typed.replace(_EXAMPLE_BACKUP, newest or _EXAMPLE_BACKUP)
        script = f"""
            set -euo pipefail
            fails() {{ [[ " $* " = *" -f "* ]] || echo --fail-with-body; }}
            curl() {{ command curl --silent --show-error $(fails "$@") "$@"; }}
            if [ -e state.sh ]; then source state.sh; fi
            set -a
            {typed}
            set +a
            export -p > state.sh
        """
        run = subprocess.run(
            ["bash", "-c", re.sub(r"^ {12}", "", script, flags=re.MULTILINE)],
            cwd=self.server.folder,
            env=clean_environment() | {"FASTCMS_ADMIN_PASSWORD": "correct horse battery"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert run.returncode == 0, f"{typed}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    @property
    def backups_dir(self) -> Path:
        return self.server.folder / "data" / "backups"


@pytest.fixture
def reader(server: Server) -> Reader:
    return Reader(server)


def test_the_readme_works_from_top_to_bottom(reader: Reader) -> None:
    output = ""
    for block in blocks("README.md", "bash"):
        if "/restore" in block:
            files_before = list((reader.server.folder / "data/files").iterdir())
            reader.type(block)
            reader.server.restart()
            assert list((reader.server.folder / "data/files").iterdir()) == files_before
        else:
            output += reader.type(block)
    assert "Created the admin you@example.com." in output
    assert '"title":"Hello"' in output
    assert re.search(r"Latest restore: backup_\d{8}_\d{6}\.zip", output)
    assert '"status":"deleted"' in output


def test_the_user_guide_works_from_top_to_bottom(reader: Reader) -> None:
    output = "".join(reader.type(block) for block in blocks("docs/user-guide.md", "bash"))
    assert '"price":45' in output
    assert "A short note." in output
    assert "Imported 2 records into wines; refused 0." in output


def test_going_back_by_hand_brings_the_state_before_the_restore(reader: Reader) -> None:
    """The commands of disaster-recovery.md, on a server that was killed."""
    server, folder = reader.server, reader.server.folder
    reader.type('TOKEN=$(.venv/bin/fastcms token create guide); echo "kept" > note.txt')
    upload = "curl -X POST http://localhost:8000/api/v1/files "
    upload += '-H "Authorization: Bearer $TOKEN" -F file=@note.txt'
    reader.type(".venv/bin/fastcms backup create")
    reader.type(upload)
    reader.type(f".venv/bin/fastcms backup restore {_EXAMPLE_BACKUP} --yes")
    server.restart()
    assert list((folder / "data/files").iterdir()) == []
    reader.type(f'echo "of the restored site" > note.txt; {upload}')
    server.kill()

    text = (REPOSITORY / "docs/disaster-recovery.md").read_text()
    section = text[text.index("## Going back") : text.index("## Restoring on a new machine")]
    commands = [re.sub("^ +", "", match[3], flags=re.MULTILINE) for match in _BLOCK.finditer(section)]
    assert commands.pop(0) == "fastcms backup undo\n"
    assert len(commands) == 2
    for block in commands:
        reader.type(block)
    server.start()

    listed = reader.type('curl http://localhost:8000/api/v1/files -H "Authorization: Bearer $TOKEN"')
    assert '"total":1' in listed
    stored = [path for path in (folder / "data/files").iterdir() if path.is_file()]
    assert [path.read_text() for path in stored] == ["kept\n"]


def test_a_backup_can_be_checked_without_fastcms(reader: Reader) -> None:
    reader.type("echo one > note.txt; TOKEN=$(.venv/bin/fastcms token create guide)")
    reader.type(
        'curl -X POST http://localhost:8000/api/v1/files -H "Authorization: Bearer $TOKEN" -F file=@note.txt'
    )
    reader.type(".venv/bin/fastcms backup create")
    (check,) = [block for block in blocks("docs/disaster-recovery.md", "sh") if "sha256sum" in block]
    lines = reader.type(f"({check})").splitlines()
    assert lines[:3] == ["all files are as they were written", "ok", "1"]
    assert '  "problems": [],' in lines


def test_every_bash_block_is_meant_to_be_run() -> None:
    """So that nobody marks one `bash` on a page that no test reads."""
    pages = [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").glob("*.md")]
    with_blocks = {page for page in pages if any(blocks(page, "bash"))}
    assert with_blocks == {"docs/user-guide.md"}

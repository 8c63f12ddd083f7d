"""The README and the guides, typed by somebody who believes every word.

Every block marked `bash` is run, in order, against a real server; blocks marked `sh` are not (they start
servers, or show one request with placeholders).
"""

import json
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
    section = text[text.index("## Going back") : text.index("If `data/files` is a disk of its own, `mv`")]
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
    (check,) = [
        block for block in blocks("docs/disaster-recovery.md", "sh") if "all files are as they were" in block
    ]
    lines = reader.type(f"({check})").splitlines()
    assert lines[:3] == ["all files are as they were written", "ok", "1"]
    assert '  "problems": [],' in lines


def blocks_of_section(title: str) -> list[str]:
    text = (REPOSITORY / "docs/disaster-recovery.md").read_text()
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE) for match in _BLOCK.finditer(section)]


def upload_note(reader: Reader, text: str) -> str:
    """Upload a file; return its URL."""
    reader.type(f"""echo "{text}" > note.txt; TOKEN=${{TOKEN:-$(.venv/bin/fastcms token create guide)}}""")
    answer = reader.type(
        'curl -X POST http://localhost:8000/api/v1/files -H "Authorization: Bearer $TOKEN" -F file=@note.txt'
    )
    return f"http://localhost:8000{json.loads(answer)['url']}"


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_one_file_is_got_back_without_a_restart(reader: Reader, fault: str) -> None:
    url = upload_note(reader, "a note")
    reader.type(".venv/bin/fastcms backup create")
    (path,) = (reader.server.folder / "data/files").glob("note_*.txt")
    name = path.name
    path.unlink() if fault == "missing" else path.write_text("damaged")
    by_commands, asked, taken, checked, compared = blocks_of_section("Getting one file back")
    by_commands = by_commands.replace("sunset_9f1c0d3b5a7e4c2f.jpg", name).replace("sunset", "note")
    (reader.server.folder / "note.txt").unlink()  # what was uploaded
    assert name in reader.type(by_commands.replace("fastcms", ".venv/bin/fastcms"))
    assert (reader.server.folder / "note.txt").read_text() == "a note\n"
    assert reader.type(asked.replace("sunset", "note")) == f"{name}\n"
    reader.type(re.sub("NAME=.*", f"NAME={name}", taken))
    assert reader.type(checked) == f"data/files/{name}: OK\n"
    assert reader.type(compared) == f"files/{name}: OK\n"
    assert reader.type(f"curl {url}") == "a note\n"
    assert "All uploaded files have the bytes" in reader.type(".venv/bin/fastcms doctor --deep")


# Dies like a power cut at the n-th change of a name in the swap.
_DIE = """
import os, sys
from pathlib import Path
from fastcms.backups.engine import moving
left = int(sys.argv[1])
def dying(original):
    def method(self, *arguments):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return original(self, *arguments)
    return method
for name in ("rename", "hardlink_to", "replace"):
    setattr(Path, name, dying(getattr(Path, name)))
from fastcms.config import load_settings
from fastcms.site import new_site
from fastcms.startup import serve_site
with serve_site(new_site(load_settings())):
    pass
"""


def interrupt_a_restore(reader: Reader, steps: int) -> str:
    """Leave a swap as it is after so many steps; return the URL of a file of the state before."""
    reader.type(".venv/bin/fastcms backup create")
    url = upload_note(reader, "of the state before")
    reader.type(f".venv/bin/fastcms backup restore {_EXAMPLE_BACKUP} --yes")
    reader.server.stop()
    (reader.server.folder / "die.py").write_text(_DIE)
    assert "died" in reader.type(f".venv/bin/python die.py {steps} || echo died")
    assert (reader.backups_dir / ".restore_pending").exists()
    return url


@pytest.mark.parametrize("steps", [2, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (1, 3, 5))])
def test_an_interrupted_restore_can_be_taken_back_by_hand(reader: Reader, steps: int) -> None:
    url = interrupt_a_restore(reader, steps)
    copy, back, _ = blocks_of_section("A restore that was interrupted")
    reader.type(f"{copy}\nset +e\n{back}\nset -e")
    reader.server.start()
    assert reader.type(f"curl {url}") == "of the state before\n"
    assert "No restore so far." in reader.type(".venv/bin/fastcms backup status")


@pytest.mark.parametrize("steps", [5, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_restore_can_be_given_up_for_another_one(reader: Reader, steps: int) -> None:
    url = upload_note(reader, "in the backup")
    interrupt_a_restore(reader, steps)
    copy, _, keep = blocks_of_section("A restore that was interrupted")
    reader.type(f"{copy}\nset +e\n{keep}\nset -e")
    reader.type(f".venv/bin/fastcms backup restore {_EXAMPLE_BACKUP} --now --yes")
    reader.server.start()
    assert reader.type(f"curl {url}") == "in the backup\n"
    assert "Latest restore: backup_" in reader.type(".venv/bin/fastcms backup status")


@pytest.mark.parametrize("steps", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_recovery_by_hand_in_the_middle_of_a_restore(reader: Reader, steps: int) -> None:
    url = upload_note(reader, "in the backup")
    interrupt_a_restore(reader, steps)
    aside, *commands = blocks_of_section("By hand, without FastCMS")
    reader.type(f"cp -a data data.broken\nset +e\n{aside}\nset -e\nmkdir -p data/files")
    for block in commands:
        reader.type(block.replace("unzip ", "unzip -o "))  # the answer `A`
    reader.server.start()
    assert reader.type(f"curl {url}") == "in the backup\n"


def test_every_bash_block_is_meant_to_be_run() -> None:
    """So that nobody marks one `bash` on a page that no test reads."""
    pages = [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").glob("*.md")]
    with_blocks = {page for page in pages if any(blocks(page, "bash"))}
    assert with_blocks == {"docs/user-guide.md"}

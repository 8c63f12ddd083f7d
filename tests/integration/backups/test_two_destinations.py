"""Two destinations at once, a real S3 server and a folder: what becomes of the one touches nothing else."""

import hashlib
import io
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fastcms.backups import service
from fastcms.backups.copies import Checked, Copy, CopyState, list_copies
from fastcms.backups.copying import copy_missing
from fastcms.backups.elsewhere import add_destination, remove_destination
from fastcms.backups.status import describe_status
from fastcms.backups.stores.base import PutResult
from fastcms.backups.stores.folder import FolderStore
from fastcms.backups.stores.objects import ObjectStore
from fastcms.config import Settings
from fastcms.media import service as media
from fastcms.site import Site, new_site
from fastcms.startup import serve_site
from tests.object_servers import ObjectServer, seaweedfs

MIB = 1024**2


@pytest.fixture
def near(tmp_path: Path) -> Path:
    folder = tmp_path / "near"
    folder.mkdir()
    return folder


@pytest.fixture
def site(tmp_path: Path, near: Path) -> Iterator[Site]:
    """A site whose server does nothing by itself, with a picture that is sent in two parts."""
    site = new_site(
        Settings(_env_file=None, data_dir=tmp_path / "data", backup_destinations=f"file://{near}")
    )
    with serve_site(site):
        media.add_file(site, io.BytesIO(os.urandom(12 * MIB)), "photo.jpg")
        yield site


def add_server(site: Site, server: ObjectServer) -> str:
    added = add_destination(site, server.address("two"), server.credentials, "somebody")
    return added.id


def copies_by_destination(site: Site) -> dict[str, Copy]:
    return {copy.destination: copy for copy in list_copies(site)}


def sha256_of(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def die_while_sending(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server be killed after its first part, and the copy into the folder be under way meanwhile."""
    killed = threading.Event()
    put_into_folder, put_object = FolderStore.put, ObjectStore.put

    def waiting(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        def passing() -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk
                assert killed.wait(60)

        return put_into_folder(store, name, passing(), size_bytes)

    def dying(store: ObjectStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        def passing() -> Iterator[bytes]:
            sent_bytes = 0
            for chunk in chunks:
                yield chunk
                sent_bytes += len(chunk)
                if sent_bytes > 9 * MIB and not killed.is_set():
                    server.process.kill()
                    server.process.wait()
                    killed.set()

        return put_object(store, name, passing(), size_bytes)

    monkeypatch.setattr(FolderStore, "put", waiting)
    monkeypatch.setattr(ObjectStore, "put", dying)


def test_one_that_is_killed_meanwhile_leaves_the_backup_and_the_other_copy(
    site: Site, near: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3").mkdir()
    backup = service.create_backup(site)
    sha256 = sha256_of(backup.path)
    with monkeypatch.context() as patch, seaweedfs(tmp_path / "s3") as server:
        killed = add_server(site, server)
        die_while_sending(server, patch)
        copy_missing(site)
    copies = copies_by_destination(site)
    failed = copies.pop(killed)
    assert (failed.state, failed.code, failed.needs_somebody) == (
        CopyState.FAILED,
        "store_unreachable",
        False,
    )
    (other,) = copies.values()
    assert (other.state, other.checked, other.sha256) == (CopyState.COPIED, Checked.READ_BACK, sha256)
    assert sha256_of(near / backup.filename) == sha256_of(backup.path) == sha256
    status = describe_status(site)
    assert [reason.code for reason in status.reasons if backup.filename in reason.message] == ["copy_failed"]
    assert status.is_safe

    with seaweedfs(tmp_path / "s3") as server:  # the same data, at another port
        assert server.rclone("lsf", "far:backups/two") == ""
        remove_destination(site, killed, "somebody")
        mended = add_server(site, server)
        copy_missing(site)
        copied = copies_by_destination(site)[mended]
        assert (copied.state, copied.checked, copied.sha256) == (CopyState.COPIED, Checked.FAR_SIDE, sha256)
        server.rclone("copy", f"far:backups/two/{backup.filename}", tmp_path / "back")
    assert sha256_of(tmp_path / "back" / backup.filename) == sha256

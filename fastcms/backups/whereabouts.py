"""Where the copies of a backup are: of this very backup, whatever else has had its name."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

from fastcms.backups.backup_notes import VerificationOutcome
from fastcms.backups.copies import Copy, CopyState, copies_by_filename, newest_names
from fastcms.backups.destinations import list_destinations
from fastcms.backups.job_files import Job, JobKind
from fastcms.backups.origin import Origin, read_origin
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.errors import ConflictError
from fastcms.site import Site


class AtPlace(NamedTuple):
    """A backup at a place; without a `state`, it is not there and is not to be.

    `label` is the place, shortened for people. `is_destination`: it still is one. `job` is that which copies
    it just now. `is_source`: it was fetched from there, so that it was there then.
    """

    destination: str
    label: str
    is_destination: bool
    state: CopyState | None
    copy: Copy | None = None
    job: Job | None = None
    is_source: bool = False

    @property
    def since(self) -> datetime | None:
        return datetime.fromisoformat(self.copy.since) if self.copy else None

    @property
    def percent(self) -> int | None:
        """How far it is; None when nobody copies it, or it is not known."""
        return (
            100 * self.job.done_bytes // self.job.total_bytes if self.job and self.job.total_bytes else None
        )

    @property
    def is_readable(self) -> bool:
        """Whether something of its name can be fetched from there."""
        return self.state is CopyState.COPIED and self.is_destination

    @property
    def is_safe(self) -> bool:
        """Whether it can be fetched again from there: the same bytes were found to be there."""
        return self.is_readable and self.copy is not None and self.copy.checked is not None


def copies_of(site: Site, backups: Sequence[Backup]) -> Mapping[str, Sequence[Copy]]:
    """The copies of these backups, by their names; none where the history cannot be read.

    Of an uploaded one, those that are known to hold the same bytes: it is never copied itself.
    """
    found = dict(copies_by_filename(site, [backup.filename for backup in backups]))
    for backup in backups:
        if backup.kind is BackupKind.UPLOADED and backup.filename in found:
            sha256 = _sha256_of(backup)
            found[backup.filename] = [
                copy for copy in found[backup.filename] if sha256 and copy.archive_sha256 == sha256
            ]
    return found


def is_of_another(site: Site, filename: str, sha256: str | None = None) -> bool:
    """Whether copies of this name are of another backup than the one with this SHA-256, or of any."""
    copies = copies_by_filename(site, [filename]).get(filename, ())
    return any(sha256 is None or copy.archive_sha256 not in (None, sha256) for copy in copies)


def look_for_copies(
    site: Site, backups: Sequence[Backup], jobs: Iterable[Job] = ()
) -> dict[str, list[AtPlace]]:
    """Where each of these backups is, and should be, by their names; `jobs` are those that run.

    That is said of every destination, and of former ones that have a copy.
    """
    places = {destination.id: destination.place for destination in list_destinations(site)}
    copies, newest = copies_of(site, backups), newest_names(site)
    sources = {backup.filename: _source_of(backup) for backup in backups}
    all_places = {*places.values(), *(copy.place for found in copies.values() for copy in found)}
    all_places |= {place for place in sources.values() if place}
    labels = label_places(all_places) | label_places(places.values())  # a former one makes no name longer
    copying = {(job.backup_filename, job.place): job for job in jobs if job.kind is JobKind.COPY}

    def look(backup: Backup) -> Iterator[AtPlace]:
        found = {copy.destination: copy for copy in copies.get(backup.filename, ())}
        for destination, place in places.items():
            copy, job = found.get(destination), copying.get((backup.filename, place))
            state = CopyState(copy.state) if copy else _state_before(backup, newest.get(destination, ""))
            is_source = sources[backup.filename] == place
            yield AtPlace(destination, labels[place], True, state, copy, job, is_source)
        for copy in found.values():
            if copy.destination not in places and copy.state == CopyState.COPIED:
                yield AtPlace(copy.destination, labels[copy.place], False, CopyState.COPIED, copy)
        source = sources[backup.filename]
        if source and source not in places.values():
            yield AtPlace("", labels[source], False, None, is_source=True)

    return {backup.filename: list(look(backup)) for backup in backups}


def say_fetchable(places: Iterable[AtPlace]) -> str | None:
    """From where a backup can be fetched again when it is gone here; None if from nowhere."""
    there = [place for place in places if place.is_safe]
    if not there:
        return None
    names = join_words([place.label for place in there])
    is_encrypted = all(place.copy is not None and place.copy.is_encrypted for place in there)
    key = " That needs the secret key: it is encrypted there." if is_encrypted else ""
    return f"It can be fetched again from {names}.{key}"


def label_places(places: Iterable[str]) -> dict[str, str]:
    """What people call these places: without options, but where two would be called alike."""
    shorter = {place: place.partition("?")[0].removeprefix("file://") for place in places}
    alike = Counter(shorter.values())
    return {
        place: label if alike[label] == 1 else f"{label} at {_server_of(place)}"
        for place, label in shorter.items()
    }


def join_words(words: Sequence[str]) -> str:
    """'one', 'one and two', 'one, two and three'."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _server_of(place: str) -> str:
    options = parse_qs(place.partition("?")[2])
    servers = [endpoint.partition("://")[2] for endpoint in options.get("endpoint", [])]
    return ", ".join(servers + options.get("account", [])) or "the usual server"


def _state_before(backup: Backup, newest_name: str) -> CopyState | None:
    """What becomes of a backup of which nothing is noted: one that is newer than all others waits."""
    is_wanted = (
        backup.kind is not BackupKind.UPLOADED
        and backup.notes.verified_outcome != VerificationOutcome.FAILED
        and backup.filename > newest_name
    )
    return CopyState.WAITING if is_wanted else None


def _sha256_of(backup: Backup) -> str | None:
    origin = _origin_of(backup)
    return origin.sha256 if origin else None


def _source_of(backup: Backup) -> str | None:
    origin = _origin_of(backup) if backup.kind is BackupKind.UPLOADED else None
    return origin.fetched_from if origin else None


def _origin_of(backup: Backup) -> Origin | None:
    with suppress(ConflictError, OSError):  # its record cannot be read, or has just been deleted
        return read_origin(Path(backup.path))
    return None

"""The site that the benchmarks back up: records of text, pictures that no compression shrinks, text files."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from fastcms.config import Settings
from fastcms.content.service import create_collection
from fastcms.content.tables import records_table
from fastcms.database import new_id, utc_now
from fastcms.media.models import MediaFile
from fastcms.site import Site, new_site
from fastcms.startup import use_site

COLLECTION = "articles"
_BATCH = 500
_VOCABULARY = 20_000
_WORD_LENGTHS = range(2, 12)


@dataclass(frozen=True)
class Dataset:
    """How much there is of everything."""

    records: int
    record_bytes: int
    pictures: int
    picture_bytes: int
    texts: int
    text_bytes: int

    @property
    def size_bytes(self) -> int:
        """About how large the site is: a row takes a page of its own if it is not much smaller than one."""
        return self.records * 4_300 + self.pictures * self.picture_bytes + self.texts * self.text_bytes

    def times(self, factor: float) -> "Dataset":
        """The same kind of site, with so many times as many records and files."""
        return Dataset(
            round(self.records * factor),
            self.record_bytes,
            round(self.pictures * factor),
            self.picture_bytes,
            round(self.texts * factor),
            self.text_bytes,
        )


# A 410 MB database and 838 MB in 4,000 files.
MAGAZINE = Dataset(100_000, 3_420, 3_000, 256 * 1024, 1_000, 50_000)
# As many records as one machine is asked about, short ones, and 3 GB of pictures.
MILLION = Dataset(1_000_000, 500, 12_000, 256 * 1024, 0, 0)
# An archive of 2 GB.
PICTURES = Dataset(1_000, 1_000, 7_700, 256 * 1024, 0, 0)
SMALL_FILES = Dataset(1_000, 1_000, 0, 0, 200_000, 4_096)


def build_site(data_dir: Path, dataset: Dataset) -> Site:
    """Make a site of this size, the same one every time."""
    site = new_site(Settings(data_dir=data_dir))
    chance = random.Random(1)
    with use_site(site):
        text = _Text(chance)
        _add_records(site, dataset, text)
        sizes = [dataset.picture_bytes] * dataset.pictures
        _add_files(site, "photo.jpg", (chance.randbytes(size) for size in sizes))
        texts = (text.take(dataset.text_bytes).encode() for _ in range(dataset.texts))
        _add_files(site, "notes.txt", texts)
    return site


class _Text:
    """Words of a made-up language, some far more common than others, as in any."""

    def __init__(self, chance: random.Random) -> None:
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        weights = range(len(letters), 0, -1)
        words = [
            "".join(chance.choices(letters, weights, k=chance.choice(_WORD_LENGTHS)))
            for _ in range(_VOCABULARY)
        ]
        commonness = [1 / rank for rank in range(1, _VOCABULARY + 1)]
        self._chance = chance
        self._pool = " ".join(chance.choices(words, commonness, k=2_000_000))

    def take(self, size: int) -> str:
        start = self._chance.randrange(len(self._pool) - size)
        return self._pool[start : start + size]


def _add_records(site: Site, dataset: Dataset, text: _Text) -> None:
    schema = [{"name": "title", "type": "text"}, {"name": "body", "type": "editor"}]
    with site.database.write() as session:
        table = records_table(create_collection(session, COLLECTION, schema))
    for start in range(0, dataset.records, _BATCH):
        now = utc_now()
        rows = [
            {
                "id": new_id(),
                "created": now,
                "updated": now,
                "title": text.take(40),
                "body": text.take(dataset.record_bytes),
            }
            for _ in range(min(_BATCH, dataset.records - start))
        ]
        with site.database.write() as session:
            session.execute(sa.insert(table), rows)


def _add_files(site: Site, name: str, contents: Iterator[bytes]) -> None:
    stem, _, suffix = name.partition(".")
    rows = []
    for number, content in enumerate(contents):
        path = f"{stem}-{number:06}.{suffix}"
        (site.settings.files_dir / path).write_bytes(content)
        rows.append(
            {
                "path": path,
                "filename": name,
                "content_type": "image/jpeg" if suffix == "jpg" else "text/plain",
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    if rows:
        with site.database.write() as session:
            session.execute(sa.insert(MediaFile), rows)

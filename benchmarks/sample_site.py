"""A small magazine: collections that point at each other and at files, with values of most types."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

COLLECTIONS: dict[str, dict[str, dict[str, str]]] = {
    "authors": {
        "name": {"type": "text"},
        "email": {"type": "email"},
        "joined": {"type": "date"},
        "portrait": {"type": "file"},
        "site": {"type": "url"},
    },
    "places": {
        "name": {"type": "text"},
        "height": {"type": "number"},
        "is_open": {"type": "bool"},
        "details": {"type": "json"},
    },
    "articles": {
        "title": {"type": "text"},
        "body": {"type": "editor"},
        "cover": {"type": "file"},
        "author": {"type": "relation", "collection": "authors"},
        "place": {"type": "relation", "collection": "places"},
    },
}
# In the order of COLLECTIONS: a record can only point at what is there.
COUNTS = {"authors": 20, "places": 60, "articles": 260}
_WORDS = [
    "harbour",
    "light",
    "winter",
    "letter",
    "garden",
    "river",
    "naïve",
    "Zürich",
    "日本",
    "крепость",
    "ελιά",
]

Ids = Mapping[str, list[str]]


def write_records(collection: str, ids: Ids) -> Iterator[dict[str, Any]]:
    """The values of each record; `ids` has those of the files and records that it may point at."""
    chance = random.Random(collection)
    write: Callable[[random.Random, Ids], dict[str, Any]] = {
        "authors": _author,
        "places": _place,
        "articles": _article,
    }[collection]
    for _ in range(COUNTS[collection]):
        yield write(chance, ids)


def _author(chance: random.Random, ids: Ids) -> dict[str, Any]:
    number = chance.randrange(10**6)
    return {
        "name": _text(chance, 2),
        "email": f"author{number}@example.com",
        "joined": f"2024-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "portrait": chance.choice(ids["files"]),
        "site": f"https://example.com/{number}",
    }


def _place(chance: random.Random, _ids: Ids) -> dict[str, Any]:
    return {
        "name": _text(chance, 3),
        "height": chance.choice((chance.randint(0, 4000), round(chance.uniform(0, 4000), 2))),
        "is_open": chance.choice((True, False, None)),
        "details": {"tags": [_text(chance, 1) for _ in range(3)], "zones": {"a": None}},
    }


def _article(chance: random.Random, ids: Ids) -> dict[str, Any]:
    return {
        "title": _text(chance, 5),
        "body": f"<p>{_text(chance, 120)}</p>",
        "cover": chance.choice(ids["files"]),
        "author": chance.choice(ids["authors"]),
        "place": chance.choice(ids["places"]),
    }


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(words))

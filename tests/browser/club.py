"""The site of a rowing club: content as people write it, for pictures and for walks through all pages."""

import io
import math
import random
from datetime import date, timedelta
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter
from pyrage.x25519 import Identity

from fastcms.backups.copying import copy_missing
from fastcms.backups.destinations import add_destination
from fastcms.backups.encryption import encrypted
from fastcms.backups.schemas import Backup
from fastcms.content import service as content
from fastcms.database import utc_now
from fastcms.media import service as media
from fastcms.site import Site

_SIZE = (960, 640)
_PALETTES = (
    ((255, 183, 120), (120, 90, 140), (40, 44, 80)),
    ((170, 215, 240), (90, 150, 150), (30, 80, 70)),
    ((245, 225, 190), (190, 150, 110), (90, 70, 60)),
    ((120, 150, 210), (60, 80, 130), (20, 30, 60)),
)
_PICTURES = (
    "Morning on the lake",
    "Boathouse in autumn",
    "Regatta 2026, start",
    "Regatta 2026, finish",
    "The new eight",
    "Juniors at the jetty",
    "Evening training",
    "Winter paddling",
)
_MEMBERS = (
    ("Ada Brandt", "Coach"),
    ("Tomás Rivera", "Rower"),
    ("Mei Lin", "Cox"),
    ("Jonas Weber", "Rower"),
    ("Fatima El-Sayed", "Rower"),
    ("Øystein Dahl", "Honorary"),
    ("Grace Okafor", "Rower"),
    ("Piotr Zieliński", "Coach"),
)
_BOATS = (("Seeadler", 8), ("Libelle", 2), ("Möwe", 4), ("Forelle", 1), ("Alte Liebe", 4))
_NEWS = (
    "Season opens on the first Saturday of April",
    "The new eight has arrived",
    "How we came second in Lucerne",
    "Juniors: trial training for everyone over ten",
    "Boathouse closed for painting until Thursday",
    "Thank you to all who brought cake",
    "Lost and found after the summer party",
    "Winter training moves to the gym",
    "Annual meeting: agenda and minutes",
    "What to do when you capsize",
)
_SCHEMAS: dict[str, list[dict[str, object]]] = {
    "members": [
        {"name": "name", "type": "text", "required": True},
        {"name": "email", "type": "email"},
        {"name": "role", "type": "select", "values": ["Rower", "Cox", "Coach", "Honorary"]},
        {"name": "joined", "type": "date"},
        {"name": "newsletter", "type": "bool"},
        {"name": "portrait", "type": "file"},
    ],
    "boats": [
        {"name": "name", "type": "text", "required": True},
        {"name": "seats", "type": "number"},
        {"name": "details", "type": "json"},
        {"name": "manual", "type": "url"},
    ],
    "news": [
        {"name": "title", "type": "text", "required": True},
        {"name": "text", "type": "editor"},
        {"name": "cover", "type": "file"},
        {"name": "author", "type": "relation", "collection": "members"},
        {"name": "published", "type": "date"},
    ],
}


def found_club(site: Site) -> str:
    """Give a site that is open the club's collections, files, members and boats; return one article's id."""
    pictures = [add_picture(site, number) for number in range(len(_PICTURES))]
    media.add_file(site, io.BytesIO(b"%PDF-1.4\n% Statutes of the club\n"), "Statutes.pdf")
    with site.database.write() as session:
        members, boats, _news = (
            content.create_collection(session, name, schema, is_public=name == "news")
            for name, schema in _SCHEMAS.items()
        )
        for number, (name, role) in enumerate(_MEMBERS):
            joined = date(2012 + number, 1 + number, 3 + number)
            data = {"name": name, "role": role, "joined": joined.isoformat(), "newsletter": number % 3 > 0}
            address = f"{name.split()[0].lower()}@example.com"
            if address.isascii():
                data["email"] = address
            content.create_record(session, members, data | {"portrait": pictures[number]})
        for name, seats in _BOATS:
            details = {
                "builder": "Yard on the lake",
                "weight_kg": 14 + seats * 9,
                "oars": ["port", "starboard"],
            }
            content.create_record(session, boats, {"name": name, "seats": seats, "details": details})
    return [publish_news(site, number) for number in range(3)][-1]


def copy_elsewhere(site: Site, backup: Backup, folder: Path) -> str:
    """Copy a backup to a folder in which there is a stranger's encrypted one; return the destination's id."""
    folder.mkdir()
    destination = add_destination(site, folder.as_uri(), {})
    copy_missing(site)
    content, key = Path(backup.path).read_bytes(), Identity.generate().to_public()
    with encrypted([content], len(content), [key]) as stream:
        (folder / f"{backup.filename}.age").write_bytes(b"".join(stream.chunks))
    return destination.id


def publish_news(site: Site, number: int) -> str:
    """Add one more article, with a cover and an author that are there; return its id."""
    with site.database.write() as session:
        news, members = (content.find_collection(session, name) for name in ("news", "members"))
        files, _count = media.list_files(session, per_page=20)
        authors = content.list_records(session, members).items
        pictures = [file for file in files if file.content_type == "image/jpeg"]
        data = {
            "title": _NEWS[number % len(_NEWS)],
            "text": "<p>We met at the jetty at seven. It was cold, and nobody minded.</p>" * 4,
            "cover": pictures[number % len(pictures)].id,
            "author": authors[number % len(authors)].id,
            "published": (utc_now() - timedelta(hours=number)).date().isoformat(),
        }
        return content.create_record(session, news, data).id


def add_picture(site: Site, number: int) -> str:
    """Upload a landscape that no other number has; return the id of the file."""
    name = _PICTURES[number] if number < len(_PICTURES) else f"Training {number}"
    return media.add_file(site, io.BytesIO(_draw_landscape(number)), f"{name}.jpg").id


def _draw_landscape(number: int) -> bytes:
    """Hills behind a lake, in the light of some hour."""
    chance = random.Random(number)
    sky, hills, water = _PALETTES[number % len(_PALETTES)]
    width, height = _SIZE
    picture = Image.new("RGB", _SIZE, sky)
    draw = ImageDraw.Draw(picture)
    sun = (chance.randrange(100, width - 100), chance.randrange(80, height // 3))
    draw.circle(sun, 46, fill=tuple(min(band + 60, 255) for band in sky))
    for layer in range(4):
        shade = tuple(round(a + (b - a) * (layer + 1) / 4) for a, b in zip(sky, hills, strict=True))
        top, wave, phase = height * (0.38 + layer * 0.08), chance.uniform(120, 260), chance.uniform(0, 6)
        ridge = [
            (x, top + 34 * math.sin(x / wave + phase) + 9 * math.sin(x / 37 + phase))
            for x in range(0, width + 8, 8)
        ]
        draw.polygon([(0, height), *ridge, (width, height)], fill=shade)
    lake = height * 3 // 4
    draw.rectangle((0, lake, width, height), fill=water)
    for _ in range(60):
        x, y = chance.randrange(width), chance.randrange(lake, height)
        draw.line((x, y, x + chance.randrange(20, 90), y), fill=hills, width=2)
    written = io.BytesIO()
    picture.filter(ImageFilter.SMOOTH).save(written, "JPEG", quality=84)
    return written.getvalue()

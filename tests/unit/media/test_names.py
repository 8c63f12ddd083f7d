"""Names of uploaded files."""

# ruff: noqa: RUF001 - names of any language are the point

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pathvalidate import validate_filename

from fastcms.media.names import clean_filename, stored_name

FILE_ID = "0123456789abcdef0123456789abcdef"
RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in "0123456789¹²³")}

ANY_NAME = st.one_of(
    st.text(max_size=400),
    st.text("./\\:-_ ~\0\u202e\u200dCONaux日é́🎉", max_size=400),
    st.text(st.characters(codec=None), max_size=50),  # lone surrogates, as os.listdir gives them
)


@given(ANY_NAME)
@example("")
@example("..")
@example("../../etc/passwd")
@example("CON.txt")
@example("CON.tar.gz")
@example("COM¹.log")
@example("日本語.png")
@example("photo\u202egnp.exe")
@example("x" * 300 + ".jpeg")
@example("🎉" * 200 + ".PNG")
@example("a.txt:stream")
@example("C:\\Users\\me\\a.txt")
@example(".htaccess")
@example("-rf")
@example("trailing. . ")
def test_any_filename_becomes_one_safe_and_portable_name(filename: str) -> None:
    name = stored_name(filename, FILE_ID)
    assert len(name.encode()) <= 255
    assert not set(name) & set('/\\:*?"<>|\0')
    assert not name.startswith((".", "-", "_", " ", "~"))
    assert not name.endswith((".", " "))
    assert "_0123456789abcdef" in name
    assert name.split(".")[0].strip().lower() not in RESERVED
    assert not {unicodedata.category(c) for c in name if c not in "\u200c\u200d"} & {"Cc", "Cf", "Cs", "Cn"}
    assert name == unicodedata.normalize("NFC", name)
    assert stored_name(filename, FILE_ID) == name
    validate_filename(name.replace("\u200c", "").replace("\u200d", ""), platform="universal")


@given(ANY_NAME)
def test_any_filename_is_kept_without_folders_and_invisible_characters(filename: str) -> None:
    name = clean_filename(filename)
    assert 1 <= len(name) <= 255
    assert not set(name) & set("/\\\0\r\n\u202e")
    assert name.strip(".")
    name.encode()


@pytest.mark.parametrize(
    ("filename", "kept", "stored"),
    [
        ("日本語.png", "日本語.png", "日本語_0123456789abcdef.png"),
        ("../../etc/passwd", "passwd", "passwd_0123456789abcdef"),
        ("C:\\fakepath\\Foto.JPG", "Foto.JPG", "Foto_0123456789abcdef.jpg"),
        ("CON.txt", "CON.txt", "CON_0123456789abcdef.txt"),
        ("photo\u202egnp.exe", "photognp.exe", "photognp_0123456789abcdef.exe"),
        ("cafe\u0301.txt", "café.txt", "café_0123456789abcdef.txt"),
        ("👨‍👩‍👧.gif", "👨‍👩‍👧.gif", "👨‍👩‍👧_0123456789abcdef.gif"),
        ("نامه‌ها.pdf", "نامه‌ها.pdf", "نامه‌ها_0123456789abcdef.pdf"),
        ("v1.2 notes.tar.gz", "v1.2 notes.tar.gz", "v1_2 notes_tar_0123456789abcdef.gz"),
        (".htaccess", ".htaccess", "htaccess_0123456789abcdef"),
        ("...", "file", "file_0123456789abcdef"),
        ("what?.txt", "what?.txt", "what_0123456789abcdef.txt"),
    ],
)
def test_names_stay_readable(filename: str, kept: str, stored: str) -> None:
    assert clean_filename(filename) == kept
    assert stored_name(filename, FILE_ID) == stored


def test_a_long_name_keeps_its_extension() -> None:
    assert clean_filename("x" * 300 + ".jpeg") == "x" * 250 + ".jpeg"
    assert stored_name("語" * 300 + ".jpeg", FILE_ID).endswith("語_0123456789abcdef.jpeg")

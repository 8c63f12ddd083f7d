"""Content types, read from bytes."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fastcms.incoming import HEAD_BYTES
from fastcms.media.content_types import INLINE_TYPES, UNKNOWN, detect_content_type, is_inline


def _picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "avif"])
def test_pictures_are_recognised_and_shown(kind: str) -> None:
    content_type = detect_content_type(_picture(kind))
    assert content_type == f"image/{kind}"
    assert is_inline(content_type)


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"<!DOCTYPE html><p>hi", "text/html"),
        (b" \n<!-- note --><HTML>", "text/html"),
        (b"\xef\xbb\xbf<script>alert(1)</script>", "text/html"),
        (b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml">', "text/html"),
        (b"<svg onload='alert(1)'>", "image/svg+xml"),
        (b'<?xml version="1.0"?><!-- a --><!-- b -->\n<svg:svg xmlns:svg="x">', "image/svg+xml"),
        (
            b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x" [<!ENTITY a "b">]>\n<svg >',
            "image/svg+xml",
        ),
        (b"<?xml version='1.0'?><feed/>", "application/xml"),
        (b"%PDF-1.7\nall of it is text", "application/pdf"),
        (b"\x7fELF\x02\x01\x01" + bytes(60), "application/x-executable"),
        (b"MZ" + bytes(60), "application/x-msdownload"),
        (b"<\x00h\x00t\x00m\x00l\x00>\x00", UNKNOWN),
        (b"\x00\x01\x02\x03", UNKNOWN),
    ],
)
def test_what_could_run_in_a_browser_is_never_shown(head: bytes, content_type: str) -> None:
    assert detect_content_type(head) == content_type
    assert not is_inline(content_type)


@pytest.mark.parametrize(
    "text",
    ["", "plain", "a < b and <c>", "BM is no bitmap", "MZ is no program", "日本語\r\n\t", "alert(1)", "{}"],
)
def test_text_is_text(text: str) -> None:
    assert detect_content_type(text.encode()) == "text/plain"


def test_a_character_cut_by_the_end_of_the_head_is_still_text() -> None:
    head = (b"a" + "語".encode() * HEAD_BYTES)[:HEAD_BYTES]
    assert detect_content_type(head) == "text/plain"
    assert detect_content_type("語".encode()[:2]) == UNKNOWN


def test_thousands_of_comments_are_read_in_linear_time() -> None:
    # A pattern that backtracks would not return in this universe's lifetime.
    assert detect_content_type((b"<!---->" * HEAD_BYTES)[:HEAD_BYTES]) == "text/plain"
    assert detect_content_type(b"<?x?>" * 1600 + b"<svg>") == "image/svg+xml"


@given(st.binary(max_size=300))
def test_any_bytes_have_a_type(head: bytes) -> None:
    assert "/" in detect_content_type(head)


def test_nothing_that_runs_scripts_is_on_the_inline_list() -> None:
    assert not {t for t in INLINE_TYPES if any(word in t for word in ("html", "xml", "script", "svg", "pdf"))}

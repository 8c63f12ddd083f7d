"""What a file is, read from its first bytes; what its uploader says about it counts for nothing."""

import codecs
import re

import filetype

from fastcms.incoming import HEAD_BYTES

UNKNOWN = "application/octet-stream"

# Shown by browsers without running anything. Not PDF: browsers refuse to show one under the `sandbox` policy
# that every served file has. Everything else, known or not, is offered for download.
INLINE_TYPES = frozenset(
    {
        "image/png",
        "image/apng",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "video/mp4",
        "video/x-m4v",
        "video/webm",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "audio/x-wav",
        "audio/x-flac",
        "text/plain",
    }
)
_ICONS = {
    "image/": "fa-file-image",
    "video/": "fa-file-video",
    "audio/": "fa-file-audio",
    "text/": "fa-file-lines",
    "application/pdf": "fa-file-pdf",
    "application/zip": "fa-file-zipper",
}
# Formats whose first bytes may be text; any other match inside text is a coincidence ("BM is a bitmap").
_TEXT_FORMATS = frozenset({"application/pdf", "application/rtf", "application/postscript"})
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# Atomic, or a file of many comments would take exponential time.
_PROLOGUE = r"\ufeff?(?>\s+|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z))*+"
# Source: https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type
_HTML = re.compile(
    _PROLOGUE + r"<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)"
    r"(?:[\s/>]|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_SVG = re.compile(
    _PROLOGUE + r"(?:<!doctype\s+svg[^>\[]*(?:\[.*?\])?\s*>\s*)?<(?:\w+:)?svg[\s/>]",
    re.IGNORECASE | re.DOTALL,
)
_XML = re.compile(_PROLOGUE + r"(?:<!doctype\s|<\w+(?::\w+)?\s+xmlns)", re.IGNORECASE | re.DOTALL)


def detect_content_type(head: bytes) -> str:
    """The content type of a file that begins with `head`, its first HEAD_BYTES bytes or all of it."""
    guess: str | None = filetype.guess_mime(head)
    text = _decode(head)
    if text is None or guess in _TEXT_FORMATS:
        return guess or UNKNOWN
    if _SVG.match(text):
        return "image/svg+xml"
    if _HTML.match(text):
        return "text/html"
    if text.lstrip("\ufeff \t\r\n").startswith("<?xml") or _XML.match(text):
        return "application/xml"
    return "text/plain"


def is_inline(content_type: str) -> bool:
    """Whether a browser may show it, instead of saving it."""
    return content_type in INLINE_TYPES


def icon_of(content_type: str | None) -> str:
    """The dashboard's icon for it."""
    return next(
        (icon for prefix, icon in _ICONS.items() if (content_type or "").startswith(prefix)), "fa-file"
    )


def _decode(head: bytes) -> str | None:
    """The head as text; None when it is not UTF-8 or holds bytes that text has no use for."""
    try:
        # A character may be cut in two where the head ends.
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text

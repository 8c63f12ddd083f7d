"""How an action is told: its words, and what it is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastcms.activity.schemas import COUNT

_LONGEST_VALUE = 120
_UNKNOWN = "?"


@dataclass(frozen=True)
class Action:
    """Something that people do, in words: "`done` `what`", or "Tried to `verb` `what`".

    subject: what it is about, see `schemas.Entry`. many: what there are more of, when it is done again and
    again. keeps_refusals: whether it is told when it was refused, too. is_reading: whether it is a GET.
    only_with: what has to be noted, or else nothing was done. is_login: who it was, is known only afterwards.
    unknown: what is said for a value that nobody has given, or that was not understood.
    """

    name: str
    done: str
    verb: str
    what: str
    subject: str = ""
    many: str = ""
    keeps_refusals: bool = False
    is_reading: bool = False
    is_login: bool = False
    only_with: str = ""
    unknown: str = _UNKNOWN

    def tell(self, known: Mapping[str, Any], *, is_refused: bool) -> str:
        """The sentence, such as 'Deleted “Summer” from articles', or 'Deleted 3 records from articles'."""
        count = count_in(known)
        what = self.what if count == 1 else f"{count:,} {self.many}"
        return f"{self._verb(is_refused=is_refused)} {self._filled(what, known)}".rstrip()

    def tell_run(self, known: Mapping[str, Any], *, is_refused: bool) -> str:
        """The sentence for many of them, such as 'Created {count} more records in articles'; or nothing."""
        if not self.many:
            return ""
        return f"{self._verb(is_refused=is_refused)} {COUNT} more {self._filled(self.many, known)}"

    def subject_in(self, known: Mapping[str, Any]) -> str | None:
        filled = self._filled(self.subject, known) if count_in(known) == 1 else ""
        return None if not filled or self.unknown in filled else filled

    def _verb(self, *, is_refused: bool) -> str:
        return f"Tried to {self.verb}" if is_refused else self.done

    def _filled(self, template: str, known: Mapping[str, Any]) -> str:
        return template.format_map(_Values(known, self.unknown))


def count_in(known: Mapping[str, Any]) -> int:
    """How many records one action was about."""
    return int(known.get("records", 1))


class _Values(dict[str, Any]):
    """What is known, as it can be shown in one line."""

    def __init__(self, known: Mapping[str, Any], unknown: str) -> None:
        super().__init__(known)
        self._unknown = unknown

    def __getitem__(self, name: str) -> str:
        text = str(self.get(name, ""))
        value = in_one_line(text) or self._unknown
        return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"


def in_one_line(text: str) -> str:
    """A text of anybody's, so that it can be shown and kept; a file's name need not be text."""
    return "".join(c if c.isprintable() else " " for c in text).strip()

"""Put together what somebody has done, from its action and from what is known of it."""

from collections.abc import Mapping
from typing import Any

from fastcms.activity.action import Action, count_in, in_one_line
from fastcms.activity.schemas import CallerKind, Deed, Outcome, Who
from fastcms.database import utc_now

_LONGEST_NAME = 320
_LONGEST_REASON = 500
_SOMEBODY = "somebody"


def describe(action: Action, known: Mapping[str, Any], refusal: str | None) -> Deed | None:
    """What the log tells of an action; None for what nobody has to know.

    refusal: why it was refused, if it was; `caller` in known is who asked.
    """
    is_refused = refusal is not None
    who = _find_who(action, known, is_refused=is_refused)
    nothing_done = bool(action.only_with and not known.get(action.only_with))
    if who is None or (not action.keeps_refusals if is_refused else nothing_done):
        return None
    return Deed(
        time=utc_now(),
        who=who,
        action=action.name,
        sentence=action.tell(known, is_refused=is_refused),
        outcome=Outcome.REFUSED if is_refused else Outcome.DONE,
        reason=None if refusal is None else in_one_line(refusal)[:_LONGEST_REASON],
        subject=action.subject_in(known),
        count=count_in(known),
        run_sentence=action.tell_run(known, is_refused=is_refused),
        # Whoever guesses passwords takes many names: they are one run, or else they would fill the log.
        run_key="anybody" if action.is_login and is_refused else "",
    )


def _find_who(action: Action, known: Mapping[str, Any], *, is_refused: bool) -> Who | None:
    if action.is_login:
        kind = CallerKind.UNKNOWN if is_refused else CallerKind.ACCOUNT
        return Who(_login_name(str(known.get("email", ""))), kind, known.get("address"))
    caller = known.get("caller")
    return None if caller is None else Who(caller.name, CallerKind(caller.kind))


def _login_name(email: str) -> str:
    """What was typed as the email address, if it is one: some type their password there."""
    return email[:_LONGEST_NAME] if "@" in email and email.isprintable() else _SOMEBODY

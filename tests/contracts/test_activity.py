"""Nothing is changed by anybody without a word in the activity log; see fastcms/activity/actions.py."""

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, Route

from fastcms.activity.actions import ACTIONS, EXEMPT, WAYS
from fastcms.activity.pages import AREAS
from fastcms.config import Settings
from fastcms.main import create_app
from tests.contracts.test_docs import all_commands

UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
# What leaves the site with somebody is told, too: a backup, or a file out of one.
_TAKEN_ALONG = re.compile(r"/backups/\{filename\}/(download|files/\{.+\})$")
SECRETS = {"password", "token", "code", "csrftoken", "value", "notify_urls", "heartbeat_url", "url"}


def is_told(route: Any) -> bool:
    return bool(UNSAFE & set(route.methods or ())) or _TAKEN_ALONG.search(route.path) is not None


def all_ways() -> Iterator[str]:
    """Whatever somebody could change something with, as the table names it."""
    app: FastAPI = create_app(Settings(_env_file=None))
    for route in iter_route_contexts(app.routes):
        if getattr(route, "methods", None) and is_told(route):
            yield f"api:{route.name}"
    (dashboard,) = [route for route in app.routes if isinstance(route, Mount) and route.name == "admin"]
    for page in dashboard.routes:
        if isinstance(page, Route) and is_told(page):
            yield f"admin:{page.name}"
    yield from (name for name, _command in all_commands())


FOUND = sorted(set(all_ways()))


def test_the_ways_are_found() -> None:
    some = {"api:delete_record", "api:download_backup", "admin:login", "admin:inline-edit", "admin:import"}
    assert some | {"admin:backups-download", "fastcms admin create", "fastcms doctor"} <= set(FOUND)


@pytest.mark.parametrize("way", FOUND)
def test_everything_that_changes_something_is_told_or_says_why_not(way: str) -> None:
    assert (way in WAYS) != (way in EXEMPT), f"{way} needs a line in fastcms/activity/actions.py"


def test_nothing_is_in_the_table_that_does_not_exist() -> None:
    assert (WAYS.keys() | EXEMPT.keys()) - set(FOUND) == set()
    assert set(WAYS.values()) == {action.name for action in ACTIONS}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_an_action_names_no_secret_and_is_of_an_area_that_people_can_choose(action: Any) -> None:
    templates = (action.what, action.many, action.subject)
    named = {name for text in templates for _, name, _, _ in Formatter().parse(text) if name}
    assert not named & SECRETS
    assert action.name.partition(".")[0] in AREAS

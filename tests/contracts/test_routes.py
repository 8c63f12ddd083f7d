"""What holds for every route of the API."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from fastcms.accounts.dependencies import find_caller
from fastcms.config import Settings
from fastcms.main import create_app
from fastcms.web import get_site

# Open to everyone: to log in, to read a file whose URL one knows, to see whether the server is well.
OPEN = {"/api/v1/auth/login", "/files/{file_id}/{filename}", "/health"}


def steps(dependant: Dependant) -> Iterator[Any]:
    """What a route's dependencies call, in order."""
    for dependency in dependant.dependencies:
        yield from steps(dependency)
        yield dependency.call


ROUTES = [
    route
    for route in iter_route_contexts(create_app(Settings(_env_file=None)).routes)
    if hasattr(route, "dependant") and get_site in steps(route.dependant)
]


def name_of(route: RouteContext) -> str:
    return f"{' '.join(sorted(route.methods or ()))} {route.path}"


def test_the_routes_are_found() -> None:
    assert {"GET /api/v1/backups", "POST /api/v1/auth/logout"} <= {name_of(route) for route in ROUTES}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.path not in OPEN], ids=name_of)
def test_every_route_asks_who_is_calling(route: RouteContext) -> None:
    assert find_caller in steps(route.dependant)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_no_dependency_holds_a_transaction_until_the_endpoint_gets_a_thread(route: RouteContext) -> None:
    """With every thread waiting for the write lock, the endpoint of the lock's holder would never get one."""
    assert not [call for call in steps(route.dependant) if inspect.isgeneratorfunction(call)]

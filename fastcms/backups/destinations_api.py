"""Routes of destinations: where backups are copied to, and how that goes."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fastcms.accounts.dependencies import AdminCaller, require
from fastcms.accounts.schemas import Caller, Scope
from fastcms.backups import elsewhere
from fastcms.backups.elsewhere import DestinationList, DestinationState
from fastcms.pages import in_waiting_thread
from fastcms.web import CurrentSite

router = APIRouter(prefix="/destinations")

Reader = Annotated[Caller, Depends(require(Scope.BACKUPS_READ))]


class NewDestination(BaseModel):
    """Where to copy backups to. Credentials are named as the cloud's environment variables are.

    They are stored for this destination, and never shown again; without any, the environment's are used.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    address: SecretStr = Field(max_length=2000)
    credentials: dict[Annotated[str, Field(max_length=100)], SecretStr] = Field({}, max_length=10)


class TestedDestination(BaseModel):
    status: Literal["ok"] = "ok"
    id: str
    place: str


class RemovedDestination(BaseModel):
    status: Literal["removed"] = "removed"
    id: str
    place: str


@router.get("")
def list_destinations(site: CurrentSite, _caller: Reader) -> DestinationList:
    """List where backups are copied to, and how each place was found last."""
    return elsewhere.list_all(site)


@router.post("")
async def add_destination(site: CurrentSite, caller: AdminCaller, body: NewDestination) -> DestinationState:
    """Copy backups to one place more, from now on. Nothing is sent yet: test it."""
    credentials = {name: value.get_secret_value() for name, value in body.credentials.items()}
    address = body.address.get_secret_value()
    return await in_waiting_thread(elsewhere.add_destination, site, address, credentials, caller.name)


@router.get("/{destination_id}")
def show_destination(site: CurrentSite, destination_id: str, _caller: Reader) -> DestinationState:
    """Say how a destination was found last, and which copies are there, or wait."""
    return elsewhere.show_destination(site, destination_id)


@router.post("/{destination_id}/test")
async def try_destination(site: CurrentSite, destination_id: str, _caller: AdminCaller) -> TestedDestination:
    """Write, list, read and remove a tiny object there; what waited for its next try is tried at once."""
    tested = await in_waiting_thread(elsewhere.try_destination, site, destination_id)
    return TestedDestination(id=tested.id, place=tested.place)


@router.delete("/{destination_id}")
def remove_destination(site: CurrentSite, destination_id: str, caller: AdminCaller) -> RemovedDestination:
    """Copy no more to a place that was added. The copies that are there stay there."""
    removed = elsewhere.remove_destination(site, destination_id, caller.name)
    return RemovedDestination(id=removed.id, place=removed.place)

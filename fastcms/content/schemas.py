"""What the content API takes and gives."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from fastcms.content.fields import Fields

MAX_FILTER_LENGTH = 4000
MAX_SEARCH_LENGTH = 1000

CollectionName = Annotated[str, Field(pattern="^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
PageNumber = Annotated[int, Field(ge=1, le=10**12)]
PageSize = Annotated[int, Field(ge=1, le=500)]


class NewCollection(BaseModel):
    """A collection to be made."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    name: CollectionName = Field(description="Part of the URL of its records.")
    fields_: Fields = Field(default=(), alias="schema", description="Its fields, in display order.")
    public: StrictBool = Field(default=False, description="Let anyone read its records, without a token.")


class CollectionChanges(BaseModel):
    """What to change; what is left out stays. `schema` is the whole new list of fields."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    name: CollectionName | None = None
    fields_: Fields | None = Field(default=None, alias="schema")
    public: StrictBool | None = None


class CollectionResponse(BaseModel):
    """A collection."""

    model_config = ConfigDict(validate_by_name=True)

    id: str
    name: str
    fields_: Fields = Field(alias="schema")
    public: bool
    created: datetime
    updated: datetime


class CollectionPage(BaseModel):
    """A page of collections, by name; `total` counts those of all pages."""

    items: list[CollectionResponse]
    total: int
    page: int
    per_page: int


class PageQuery(BaseModel):
    """Which page. A misspelt parameter is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    page: PageNumber = 1
    per_page: PageSize = 30


class RecordQuery(PageQuery):
    """Which records, in which order."""

    sort: str = Field(
        default="-created",
        max_length=500,
        description="Names of fields, each with a - before it for descending order.",
        examples=["title,-price"],
    )
    filter: str = Field(
        default="",
        max_length=MAX_FILTER_LENGTH,
        description="Comparisons with =, !=, >, <, >=, <= or ~ (contains), joined by && and ||.",
        examples=["price >= 10 && (title ~ 'chair' || title ~ 'table')"],
    )
    search: str = Field(
        default="", max_length=MAX_SEARCH_LENGTH, description="Text that any text field contains."
    )


class RecordInput(BaseModel):
    """The values of a record's fields."""

    model_config = ConfigDict(extra="forbid")

    data: dict[str, Any] = Field(examples=[{"title": "A chair", "price": 49.9}])


class Record(BaseModel):
    """A record. `data` has every field of its collection; null where it has no value."""

    id: str
    collection: str
    created: datetime
    updated: datetime
    data: dict[str, Any]


class RecordPage(BaseModel):
    """A page of records; `total` counts those of all pages."""

    items: list[Record]
    total: int
    page: int
    per_page: int

"""What the files API gives."""

from datetime import datetime

from pydantic import BaseModel, Field


class FileInfo(BaseModel):
    """An uploaded file."""

    id: str
    filename: str = Field(description="What its uploader called it.")
    size: int = Field(description="In bytes.")
    sha256: str
    url: str = Field(description="Path that serves it, to everyone who knows it.")
    content_type: str = Field(description="Found out from the bytes.")
    created: datetime


class FilePage(BaseModel):
    """One page of a list of files."""

    items: list[FileInfo]
    total: int
    page: int
    per_page: int

"""Tabler as starlette-admin brings it, with our choice of colours and calmer buttons."""

from typing import ClassVar

from starlette_admin import DefaultTheme, TablerSettings
from starlette_admin.theme import ClassMap


class CalmButtons(ClassMap):
    """Red is for what destroys something; cancelling does not."""

    classes: ClassVar[dict[str, str]] = {
        "action.row_item_delete": "btn btn-outline-danger",
        "list.create_button": "btn btn-primary",
        "list.table": "table table-vcenter card-table table-mobile-md",
    }


class Theme(DefaultTheme):
    def __init__(self) -> None:
        super().__init__(TablerSettings(base="gray", primary="blue"))

    def get_class_map(self) -> ClassMap:
        return CalmButtons()

"""The templates of pages, which are beside this file."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def open_template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown of our own numbers
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)

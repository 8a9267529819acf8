"""The templates of pages and reports, filled in by Jinja."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

FOLDER = Path(__file__).parent


def render(template: str, folder: Path = FOLDER, **values: Any) -> str:
    """Return a template's text, filled in.

    Args:
        template: its file in the folder. Where it is HTML, values are escaped, but for those that
            it marks as safe.
        folder: where the template and those that it includes lie.
        values: by the names that the template uses; one that is missing is an error.
    """
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def read_text(name: str) -> str:
    """Return the text of a file that goes into a page as it is."""
    return (FOLDER / name).read_text(encoding="utf-8")

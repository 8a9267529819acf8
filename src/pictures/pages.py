"""The pages' templates, which lie beside this file, filled in by Jinja."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

FOLDER = Path(__file__).parent
TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def filled(template, **parts):
    """The template's text; in HTML the parts are escaped, but those of which it says that they are safe."""
    return TEMPLATES.get_template(template).render(parts)


def text(name):
    """A file that goes into a page as it is."""
    return (FOLDER / name).read_text(encoding="utf-8")

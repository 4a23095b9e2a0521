"""Templates into pages: every value is escaped unless it is marked safe, a missing one is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.report.drawings import BANDS, band_colours
from pipeline.report.tables import percent, thousands

_TEMPLATES = Path(__file__).parents[1] / "templates"
_LIGHT_VIRIDIS = (0.0, 0.76)  # parts of viridis that stand out from a white and from a dark page
_DARK_VIRIDIS = (0.34, 1.0)


def render_page(name: str, **values: Any) -> str:
    """Return a template of `pipeline/templates` as HTML; `bands` are the ink's colours on light and dark pages."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": percent, "thousands": thousands, "printable": printable}
    bands = list(zip(BANDS, band_colours(*_LIGHT_VIRIDIS), band_colours(*_DARK_VIRIDIS), strict=True))
    return environment.get_template(name).render(bands=bands, **values)


def printable(text: str) -> str:
    """Return text with U+FFFD for what does not print: control characters, marks that turn the writing direction."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)

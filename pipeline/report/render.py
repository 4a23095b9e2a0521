"""Templates into pages: every value is escaped unless it is marked safe, a missing one is an error."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.report.drawings import BANDS, band_colours
from pipeline.report.tables import percent, thousands

_TEMPLATES = Path(__file__).parents[1] / "templates"
_NUMBER = r"[+\-\u2212]?\d(?:[\w.,+\-\u2212]*[\w%])?"
_MEASURED = re.compile(rf"{_NUMBER}(?: \u00b1 {_NUMBER})?")  # 2.4e-07; 1.46 ± 0.04
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
    environment.filters |= {"percent": percent, "thousands": thousands, "printable": printable, "whole": whole}
    bands = list(zip(BANDS, band_colours(*_LIGHT_VIRIDIS), band_colours(*_DARK_VIRIDIS), strict=True))
    return environment.get_template(name).render(bands=bands, **values)


def printable(text: str) -> str:
    """Return text with U+FFFD for what does not print: control characters, marks that turn the writing direction."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def whole(text: str) -> str:
    """Return text as HTML, escaped, whose numbers no line break parts: not at the hyphen of 2.4e-07, not at a ±.

    The style sheet's class `whole` does it; numbers without such a place are left bare.
    """
    parts, place = [], 0
    for found in _MEASURED.finditer(text):
        if re.search(r"[\-\u00b1]", found[0][1:]):
            parts += [html.escape(text[place : found.start()]), f'<span class="whole">{found[0]}</span>']
            place = found.end()
    return "".join([*parts, html.escape(text[place:])])

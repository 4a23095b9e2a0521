"""The page of a study: what it says, its tables, charts, drawings and films, and how to run it again."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from ink.svg import animation_svg
from ink.table import Drawings, Ink
from pipeline.report.drawings import by_key, ink_svg
from pipeline.report.render import render_page
from pipeline.studies.declare import StudyParams
from pipeline.studies.shown import Chart, Shown

_COLOURS = ("#2a62a8", "#c1581b", "#1f7a5c", "#87479c", "#98771f", "#ad3a5c", "#43737f", "#6b6b6b")
_FILM_FRAME_S = 0.05
_LARGEST_HALF = 4.0  # of a strip's frame, unit-circle units; what lies further out is cut off


def render(study: StudyParams, summary: dict[str, Any], shown: Shown) -> str:
    """Return the page as HTML; it asks nothing of the network."""
    return render_page(
        "study.html.jinja",
        study=study,
        summary=summary,
        verdicts=summary["verdicts"],
        tables=shown.tables,
        charts=shown.charts,
        strips=[(title, _pictures(title, models)) for title, models in shown.strips.items()],
        films=[(title, list(models), _film(models)) for title, models in shown.films.items()],
        minutes=summary["cell_seconds"] / 60,
        most_series=max((len(chart.names) for chart in shown.charts), default=0),
    )


def standalone(chart: Chart) -> str:
    """Return a chart as a file of its own, with the colours that a page would give it, on white."""
    lines = "".join(
        f".line.s{n}{{stroke:{colour};stroke-dasharray:{('none', '7 3', '2 3', '9 3 2 3')[n % 4]}}}"
        f"circle.s{n}{{fill:{colour}}}"
        for n, colour in enumerate(_COLOURS)
    )
    style = (
        "<style>text{font:12px sans-serif;fill:#5f626b}.y{text-anchor:end}.x,.label{text-anchor:middle}"
        ".grid{stroke:#e3e3de}.axis{stroke:#5f626b}.line{fill:none;stroke-width:1.8}" + lines + "</style>"
    )
    opening, closing, rest = chart.svg.partition(">")
    opening = opening.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f'{opening}{closing}{style}<rect width="100%" height="100%" fill="#fff"/>{rest}\n'


def _pictures(title: str, models: dict[str, Ink]) -> list[tuple[str, list[str]]]:
    """Return each row's name and pictures, all rows of a title in one frame."""
    drawn = {}
    for name, ink in models.items():
        keys = [str(n) for n in range(len(ink))]
        found = by_key(Drawings.build(ink, keys, keys))
        drawn[name] = [found.get(key) for key in keys]
    farthest = [
        np.abs(stroke[:, :2]).max() for row in drawn.values() for strokes in row if strokes for stroke in strokes
    ]
    half = float(np.clip(max(farthest, default=1.0), 1.0, _LARGEST_HALF))
    return [
        (name, [ink_svg(strokes, half, f"{title} {name}, {place}") for place, strokes in enumerate(row, start=1)])
        for name, row in drawn.items()
    ]


def _film(models: dict[str, Ink]) -> str:
    """Return a film as a data address."""
    count = len(next(iter(models.values())))
    svg = animation_svg(models, seconds=count * _FILM_FRAME_S, cell=220, stroke_width=3.5)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()

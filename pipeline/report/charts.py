"""Line charts and histograms as inline SVG that take their colours from the page's style sheet.

Series n has the classes `s<n>` (colour and dash); axes, grid and text have `axis`, `grid` and `tick`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_WIDTH, _HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 10, 12, 40
_MOST_POINTS = 400  # of one line; a longer history is thinned evenly, its lowest point kept


@dataclass(frozen=True, eq=False)
class Series:
    """One line of a chart.

    Args:
        name: shown in tooltips.
        place: index of its colour.
        x, y: (n,) float64; points that are not finite are left out.
    """

    name: str
    place: int
    x: np.ndarray
    y: np.ndarray


def line_chart(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """Draw lines over common axes, each with a dot at its lowest point; y is logarithmic where all y are above 0.

    Returns:
        The svg element; "" where no series has a finite point.
    """
    kept = [_thinned(one) for one in series]
    kept = [one for one in kept if len(one.x)]
    if not kept:
        return ""
    x_all, y_all = (np.concatenate([getattr(one, axis) for one in kept]) for axis in "xy")
    log = bool(y_all.min() > 0)
    left, right, low, high = min(0.0, float(x_all.min())), float(x_all.max()), float(y_all.min()), float(y_all.max())
    x_ticks = linear_ticks(left, right)
    y_ticks = log_ticks(low, high) if log else linear_ticks(low, high)
    scale = np.log10 if log else np.asarray
    x_of = _axis(left, right, _LEFT, _WIDTH - _RIGHT)
    ends = [float(scale(value)) for value in (low, high, y_ticks[0], y_ticks[-1])]
    y_of = _axis(min(ends), max(ends), _HEIGHT - _BOTTOM, _TOP)
    marks = [_y_tick(float(y_of(scale(tick))), tick) for tick in y_ticks]
    marks += [_x_tick(float(x_of(tick)), tick) for tick in x_ticks]
    marks += [_line(one, x_of(one.x), y_of(scale(one.y)), x_label, y_label) for one in kept]
    marks.append(_x_label(x_label))
    summary = "; ".join(_summary(one, x_label) for one in kept)
    alt = html.escape(f"{y_label} against {x_label}{', logarithmic' if log else ''}. {summary}", quote=True)
    return f"{_opening(alt)}{''.join(marks)}</svg>"


@dataclass(frozen=True, eq=False)
class Dots:
    """One set of dots of a chart.

    Args:
        name: shown in tooltips.
        place: index of its colour.
        x, y: (n,) float64, finite.
        bare: dots alone, without a line or bars.
        named: the name stands in the chart too, at the set's first mean.
    """

    name: str
    place: int
    x: np.ndarray
    y: np.ndarray
    bare: bool = False
    named: bool = False


def dot_chart(
    series: Sequence[Dots], x_ticks: Sequence[tuple[float, str]], x_label: str, y_label: str, joined: bool
) -> str:
    """Draw dots over common axes, x with ticks of its own; a bar marks each set's mean at each x, a line joins them.

    Args:
        series: one set or more, each with a dot.
        x_ticks: place and text.
        joined: lines through the means; else bars.

    Returns:
        The svg element; y is logarithmic where its values are above 0 and span a factor of ten.
    """
    places = [float(x) for one in series for x in one.x] + [tick for tick, _ in x_ticks]
    values = np.concatenate([one.y for one in series])
    low, high, margin = float(values.min()), float(values.max()), 0.06 * (max(places) - min(places) or 1.0)
    log = low > 0 and high / low > 10
    y_ticks = log_ticks(low, high) if log else linear_ticks(low - 0.1 * abs(low), high + 0.1 * abs(high))
    scale = np.log10 if log else np.asarray
    ends = [float(scale(value)) for value in (low, high, y_ticks[0], y_ticks[-1])]
    x_of = _axis(min(places) - margin, max(places) + margin, _LEFT, _WIDTH - _RIGHT)
    y_of = _axis(min(ends), max(ends), _HEIGHT - _BOTTOM - 6, _TOP)
    marks = [_y_tick(float(y_of(scale(tick))), tick) for tick in y_ticks]
    marks += [_x_tick(float(x_of(tick)), text) for tick, text in x_ticks]
    said = []
    for one in series:
        at = np.unique(one.x)
        means = np.array([one.y[one.x == x].mean() for x in at])
        px, py = x_of(at).tolist(), y_of(scale(means)).tolist()
        data = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(px, py, strict=True))
        bars = "".join(f"M{x - 9:.1f} {y:.1f}h18" for x, y in zip(px, py, strict=True))
        if not one.bare:
            marks.append(f'<path class="line s{one.place}" d="{f"M{data}" if joined else bars}"/>')
        if one.named:
            side = ' text-anchor="end"' if px[0] > (_LEFT + _WIDTH) / 2 else ""
            marks.append(f'<text x="{px[0]:.1f}" y="{max(py[0] - 8, _TOP):.1f}"{side}>{html.escape(one.name)}</text>')
        for x, y in zip(one.x, one.y, strict=True):
            tip = html.escape(f"{one.name}: {y:.4g}")
            place = f'cx="{float(x_of(x)):.1f}" cy="{float(y_of(scale(y))):.1f}"'
            marks.append(f'<circle class="best s{one.place}" {place} r="3.5"><title>{tip}</title></circle>')
        said.append(f"{one.name}: means {', '.join(f'{mean:.4g}' for mean in means)}")
    marks.append(_x_label(x_label))
    alt = html.escape(f"{y_label} by {x_label}{', logarithmic' if log else ''}. {'; '.join(said)}", quote=True)
    return f"{_opening(alt)}{''.join(marks)}</svg>"


@dataclass(frozen=True, eq=False)
class Bars:
    """One histogram of a chart.

    Args:
        name: shown in tooltips.
        place: index of its colour.
        edges: (n + 1,) float64, ascending; above 0 for a logarithmic axis.
        heights: (n,) float64, 0 or more.
        summary: of the whole, for screen readers.
    """

    name: str
    place: int
    edges: np.ndarray
    heights: np.ndarray
    summary: str = ""


def histogram_chart(series: Sequence[Bars], x_label: str, y_label: str, log: bool = False) -> str:
    """Draw histograms over common axes, the later ones over the earlier; `log`: of x.

    Returns:
        The svg element; "" where no bar has a height.
    """
    kept = [bars for bars in series if len(bars.heights) and bars.heights.max() > 0]
    if not kept:
        return ""
    left, right = (float(end(bars.edges[i] for bars in kept)) for end, i in ((min, 0), (max, -1)))
    top = float(max(bars.heights.max() for bars in kept))
    scale = np.log10 if log else np.asarray
    x_of = _axis(float(scale(left)), float(scale(right)), _LEFT, _WIDTH - _RIGHT)
    y_of = _axis(0.0, top, _HEIGHT - _BOTTOM, 2 * _TOP)
    x_ticks = linear_ticks(left, right)
    if log:
        within = [tick for tick in log_ticks(left, right) if left <= tick <= right]
        x_ticks = within if len(within) > 1 else x_ticks
    marks = [_y_tick(float(y_of(tick)), tick) for tick in linear_ticks(0.0, top)]
    marks += [_x_tick(float(x_of(scale(tick))), tick) for tick in x_ticks]
    marks += [_bars(bars, x_of(scale(bars.edges)), y_of(bars.heights), y_label) for bars in kept]
    marks.append(_x_label(x_label))
    marks.append(f'<text x="{_LEFT}" y="{_TOP}">{html.escape(y_label)}</text>')
    said = "; ".join(f"{bars.name}: {bars.summary}" for bars in kept)
    alt = html.escape(f"{y_label} against {x_label}{', logarithmic' if log else ''}. {said}", quote=True)
    return f"{_opening(alt)}{''.join(marks)}</svg>"


def linear_ticks(low: float, high: float) -> list[float]:
    """Return 4 to 8 round numbers within [low, high] (just `low` where the two are equal)."""
    if not high > low:
        return [low]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers of a logarithmic axis that cover [low, high], the outer two at or beyond its ends."""
    decades = math.log10(high / low)
    factors = (1, 2, 5) if decades < 2.5 else (1,)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    first = max(index for index, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = min(index for index, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[first : last + 1]


def number(value: float) -> str:
    """Return a tick's text: plain where short, else with a power of ten."""
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{value:.10g}"
    mantissa, power = f"{value:e}".split("e")
    return f"{float(mantissa):g}e{int(power)}"


def _opening(alt: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{alt}">'


def _x_label(text: str) -> str:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return f'<text class="label" x="{middle:.0f}" y="{_HEIGHT - 6}">{html.escape(text)}</text>'


def _thinned(series: Series) -> Series:
    finite = np.isfinite(series.x) & np.isfinite(series.y)
    x, y = series.x[finite], series.y[finite]
    if len(x) > _MOST_POINTS:
        keep = np.unique(np.append(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(np.int64), y.argmin()))
        x, y = x[keep], y[keep]
    return Series(series.name, series.place, x, y)


def _axis(low: float, high: float, start: float, end: float) -> Callable[[Any], np.ndarray]:
    """Return the map from values to places on the page."""
    span = high - low if high > low else 1.0
    return lambda value: start + (np.asarray(value) - low) / span * (end - start)


def _y_tick(y: float, value: float) -> str:
    line = f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
    return f'{line}<text class="tick y" x="{_LEFT - 6}" y="{y + 4:.1f}">{number(value)}</text>'


def _x_tick(x: float, value: float | str) -> str:
    foot = _HEIGHT - _BOTTOM
    text = html.escape(value) if isinstance(value, str) else number(value)
    return f'<path class="axis" d="M{x:.1f} {foot}v4"/><text class="tick x" x="{x:.1f}" y="{foot + 16}">{text}</text>'


def _line(series: Series, x: np.ndarray, y: np.ndarray, x_label: str, y_label: str) -> str:
    data = "L".join(f"{px:.1f} {py:.1f}" for px, py in zip(x.tolist(), y.tolist(), strict=True))
    best = int(series.y.argmin())
    tip = f"{series.name}: lowest {y_label} {series.y[best]:.4g} at {x_label} {series.x[best]:.6g}"
    return (
        f'<path class="line s{series.place}" d="M{data}"/>'
        f'<circle class="best s{series.place}" cx="{x[best]:.1f}" cy="{y[best]:.1f}" r="3.5">'
        f"<title>{html.escape(tip)}</title></circle>"
    )


def _bars(bars: Bars, x: np.ndarray, y: np.ndarray, y_label: str) -> str:
    """Return a bar for each height, with its tooltip, and the outline of all."""
    foot = _HEIGHT - _BOTTOM
    marks = []
    for n in np.flatnonzero(bars.heights).tolist():
        place = f"{number(float(f'{bars.edges[n]:.3g}'))} to {number(float(f'{bars.edges[n + 1]:.3g}'))}"
        tip = html.escape(f"{bars.name}, {place}: {bars.heights[n]:.3g} {y_label}")
        shape = f'x="{x[n]:.1f}" y="{y[n]:.1f}" width="{x[n + 1] - x[n]:.1f}" height="{foot - y[n]:.1f}"'
        marks.append(f'<rect class="bar s{bars.place}" {shape}><title>{tip}</title></rect>')
    steps = "".join(f"V{py:.1f}H{px:.1f}" for px, py in zip(x[1:].tolist(), y.tolist(), strict=True))
    return f'{"".join(marks)}<path class="line s{bars.place}" d="M{x[0]:.1f} {foot}{steps}V{foot}"/>'


def _summary(series: Series, x_label: str) -> str:
    best = int(series.y.argmin())
    lowest = f"lowest {series.y[best]:.4g} at {x_label} {series.x[best]:.6g}"
    return f"{series.name}: first {series.y[0]:.4g}, {lowest}, last {series.y[-1]:.4g}"

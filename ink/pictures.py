"""Contact sheets: drawings in rows and columns, ink coloured by time so that stroke order is seen.

Every drawing is fitted into its own cell (box centred, aspect kept). Equal ink gives equal pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ink.raster import rasterize, rasterize_clock, time_colours
from ink.table import Ink, common_length

_INK_RGB = (26, 26, 26)
_TITLE_PX = 12
_TITLE_ROOM = 18  # height of a line of titles, pixels


def sheet(
    drawings: Ink, columns: int, cell: int = 96, titles: Sequence[str] | None = None, colour: str = "time"
) -> Image.Image:
    """Draw a contact sheet, row by row.

    Args:
        drawings: N drawings, 1 or more.
        columns: drawings in a row.
        cell: side of a drawing's square, pixels.
        titles: one a drawing, written under it (cut where too long); None: no titles.
        colour: "time", dark (first) to light (last), or "ink", all dark.

    Raises:
        ValueError: no drawings, fewer than one column, another number of titles, or an unknown colour.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    if len(drawings) == 0 or columns < 1:
        raise ValueError(f"a sheet needs one drawing and one column or more, got {len(drawings)} and {columns}")
    if titles is not None and len(titles) != len(drawings):
        raise ValueError(f"expected one title a drawing, got {len(titles)} titles for {len(drawings)} drawings")
    rows = -(-len(drawings) // columns)
    columns = min(columns, len(drawings))
    step = cell + (_TITLE_ROOM if titles is not None else 0)
    page = Image.new("RGB", (columns * cell, rows * step), "white")
    for index, picture in enumerate(_cells(drawings, cell, colour)):
        place = (index % columns) * cell, (index // columns) * step
        page.paste(Image.fromarray(picture), place)
        if titles is not None:
            _write(page, titles[index], (place[0], place[1] + cell), cell)
    return page


def film(drawings: Ink, columns: int, cell: int = 96, frames: int = 40, rest: int = 15) -> list[Image.Image]:
    """Draw a contact sheet as it comes to be, all drawings at once, each in its own time.

    Args:
        drawings, columns, cell: as in `sheet`.
        frames: pictures from the first point to the last; rest: how often the last one is repeated.

    Raises:
        As `sheet`.
    """
    if len(drawings) == 0 or columns < 1 or frames < 1 or rest < 0:
        raise ValueError(f"a film needs drawings, columns and frames, got {len(drawings)}, {columns}, {frames}, {rest}")
    coverage, moment = rasterize_clock(drawings, cell, max(1.2, cell / 56), cell / 12)
    rows = -(-len(drawings) // columns)
    columns = min(columns, len(drawings))
    made = []
    for frame in range(1, frames + 1):
        page = np.full((rows * cell, columns * cell), 255, np.uint8)
        shown = 255 - np.where(moment <= frame / frames, coverage, 0).astype(np.uint8)
        for index, picture in enumerate(shown):
            row, column = divmod(index, columns)
            page[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = picture
        made.append(Image.fromarray(page))
    return made + made[-1:] * rest


def comparison(rows: Mapping[str, Ink], cell: int = 96, colour: str = "time") -> Image.Image:
    """Draw one row per name, so that each column shows one drawing as the original and each model draw it.

    Args:
        rows: name to drawings, in the order to show; all of one length.
        cell: side of a drawing's square, pixels.
        colour: as in `sheet`.

    Raises:
        ValueError: no rows, no drawings, rows of different lengths, or an unknown colour.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    count = common_length(rows)
    left = round(max(_font().getlength(name) for name in rows)) + 12
    page = Image.new("RGB", (left + count * cell, len(rows) * cell), "white")
    for row, (name, ink) in enumerate(rows.items()):
        _write(page, name, (4, row * cell + (cell - _TITLE_ROOM) // 2), left)
        page.paste(Image.fromarray(np.concatenate(list(_cells(ink, cell, colour)), axis=1)), (left, row * cell))
    return page


def animation(rows: Mapping[str, Ink], cell: int = 128, colour: str = "time") -> list[Image.Image]:
    """Draw one picture a frame, the rows beside each other, all frames of a row in one scale and place.

    Args:
        rows: name to frames, all of one length; the names stand under the pictures.
        cell: side of a drawing's square, pixels: [-1, 1] x [-1, 1], more where ink lies outside.
        colour: as in `sheet`.

    Raises:
        ValueError: no rows, no frames, rows of different lengths, or an unknown colour.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    common_length(rows)
    cells = [_cells(_within_unit(ink), cell, colour, fit=False) for ink in rows.values()]
    frames = []
    for pictures in zip(*cells, strict=True):
        page = Image.new("RGB", (len(rows) * cell, cell + _TITLE_ROOM), "white")
        for column, (name, picture) in enumerate(zip(rows, pictures, strict=True)):
            page.paste(Image.fromarray(picture), (column * cell, 0))
            _write(page, name, (column * cell, cell), cell)
        frames.append(page)
    return frames


def _within_unit(ink: Ink) -> Ink:
    """Return all drawings shrunk alike, so that the largest coordinate is 0.92 at most."""
    farthest = max(float(np.abs(ink.x).max()), float(np.abs(ink.y).max()), 1.0) / 0.92
    return Ink(ink.x / farthest, ink.y / farthest, ink.t, ink.stroke_offsets, ink.drawing_offsets)


def _cells(ink: Ink, cell: int, colour: str, fit: bool = True) -> np.ndarray:
    """Return (N, cell, cell, 3) uint8, ink on white."""
    if colour not in ("time", "ink"):
        raise ValueError(f"colour must be 'time' or 'ink', got {colour!r}")
    width, margin = max(1.2, cell / 56), cell / 12
    if colour == "time":
        coverage, moment = rasterize_clock(ink, cell, width, margin, fit)
        rgb = time_colours(moment)
    else:
        coverage, rgb = rasterize(ink, cell, width, margin, fit), np.array(_INK_RGB)
    share = coverage[..., None].astype(np.float32) / 255
    return np.rint(255 * (1 - share) + rgb * share).astype(np.uint8)


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(_TITLE_PX)


def _write(page: Image.Image, text: str, place: tuple[int, int], room: int) -> None:
    """Write one line, cut to the room in pixels."""
    font = _font()
    while text and font.getlength(text) > room - 4:
        text = text[:-1]
    ImageDraw.Draw(page).text((place[0] + 2, place[1] + 2), text, fill=_INK_RGB, font=font)

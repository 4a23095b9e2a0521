"""Stroke arrays straight from JSON lines: bytes in, flat coordinate buffers out, no object per point.

`scan` reads lines that are plain (one object; known fields; numbers without exponent) and marks every other
line for the slow, explaining path of its format. It accepts a subset of JSON and never guesses: what it
accepts, a JSON parser reads alike (tests hold the two together on real and on mutated lines).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

PLAIN, OTHER, BLANK = 0, 1, 2
_MAX_DIGITS = 18  # of a number: its digits then fit an int64


@dataclass(frozen=True, eq=False)
class Scan:
    """What lies in some lines of JSON.

    Args:
        status: (lines,) uint8: PLAIN, OTHER (not read) or BLANK.
        key, word: (lines, 2) int64, where in the buffer the strings `key_id` and `word` lie; (-1, -1): absent.
        recognized: (lines,) int8: the boolean of that name, -1 where absent.
        strokes: (lines,) int64, strokes of each line.
        points: (strokes,) int64, points of each stroke of the plain lines, in order.
        axes: (axes, points) float64, the coordinates of the plain lines, in order.
    """

    status: np.ndarray
    key: np.ndarray
    word: np.ndarray
    recognized: np.ndarray
    strokes: np.ndarray
    points: np.ndarray
    axes: np.ndarray


def scan(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray, axes: int) -> Scan:
    """Read lines of `{..., "drawing": [[[xs], [ys], ...], ...], ...}`.

    Args:
        buffer: (bytes,) uint8.
        starts, ends: (lines,) int64, each line without its newline, which must follow it: it stops every loop here.
        axes: arrays per stroke.

    Raises:
        ValueError: a line is not followed by a newline.
    """
    lines = len(starts)
    if not np.all(buffer[ends] == ord("\n")):
        raise ValueError("every line must be followed by its newline")
    room = len(buffer) // 2 + 1  # a number and what follows it take two bytes or more; all may be in one axis
    status, recognized = np.empty(lines, np.uint8), np.empty(lines, np.int8)
    spans, strokes = np.empty((2, lines, 2), np.int64), np.zeros(lines, np.int64)
    values, points = np.empty((axes, room)), np.empty(room, np.int64)
    used, n_strokes = _scan(buffer, starts, ends, status, spans, recognized, strokes, values, points)
    return Scan(status, spans[0], spans[1], recognized, strokes, points[:n_strokes].copy(), values[:, :used])


def texts_of(buffer: np.ndarray, spans: np.ndarray, prefix: str) -> pa.StringArray:
    """Return (N,) strings: the prefix, then what lies in the buffer at spans (N, 2) that `scan` gave."""
    start = np.frombuffer(prefix.encode(), np.uint8)
    ends = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0] + len(start))]).astype(np.int32)
    text = np.empty(ends[-1], np.uint8)
    _copy_texts(buffer, spans, start, ends, text)
    return pa.StringArray.from_buffers(len(spans), pa.py_buffer(ends), pa.py_buffer(text if len(text) else b""))


@njit(cache=True, nogil=True)
def _copy_texts(buffer, spans, prefix, ends, out):
    for n in range(len(spans)):
        at = ends[n]
        for k in range(len(prefix)):
            out[at + k] = prefix[k]
        at += len(prefix) - spans[n, 0]
        for i in range(spans[n, 0], spans[n, 1]):
            out[at + i] = buffer[i]


@njit(cache=True, nogil=True)
def _scan(buffer, starts, ends, status, spans, recognized, strokes, values, points):
    used, n_strokes = 0, 0
    for line in range(len(starts)):
        spans[0, line, :] = -1
        spans[1, line, :] = -1
        recognized[line] = -1
        i = _space(buffer, starts[line], ends[line])
        if i == ends[line]:
            status[line] = BLANK
            continue
        ok, new_used, new_strokes = _object(
            buffer, i, ends[line], line, spans, recognized, values, used, points, n_strokes
        )
        status[line] = PLAIN if ok else OTHER
        if ok:
            strokes[line] = new_strokes - n_strokes
            used, n_strokes = new_used, new_strokes
    return used, n_strokes


@njit(cache=True, nogil=True)
def _object(buffer, i, end, line, spans, recognized, values, used, points, n_strokes):
    """Read one line; return whether it is plain, and how far values and strokes are filled."""
    bad = (False, used, n_strokes)
    seen_drawing = False
    if buffer[i] != 123:  # {
        return bad
    i = _space(buffer, i + 1, end)
    while True:
        if i >= end or buffer[i] != 34:  # "
            return bad
        a = i + 1
        b = _string_end(buffer, a, end)
        if b < 0:
            return bad
        i = _space(buffer, b + 1, end)
        if i >= end or buffer[i] != 58:  # :
            return bad
        i = _space(buffer, i + 1, end)
        if i >= end:
            return bad
        if _equals(buffer, a, b, b"drawing"):
            if seen_drawing:
                return bad
            seen_drawing = True
            i, used, n_strokes = _drawing(buffer, i, end, values, used, points, n_strokes)
            if i < 0:
                return bad
        elif buffer[i] == 34:
            stop = _string_end(buffer, i + 1, end)
            if stop < 0 or _equals(buffer, a, b, b"recognized"):
                return bad
            which = 0 if _equals(buffer, a, b, b"key_id") else 1 if _equals(buffer, a, b, b"word") else -1
            if which >= 0:
                if spans[which, line, 0] >= 0:
                    return bad
                spans[which, line, 0], spans[which, line, 1] = i + 1, stop
            i = stop + 1
        else:
            literal = _literal(buffer, i, end)
            if literal < 0 or _equals(buffer, a, b, b"key_id") or _equals(buffer, a, b, b"word"):
                return bad
            if _equals(buffer, a, b, b"recognized"):
                if recognized[line] >= 0 or literal == 2:
                    return bad
                recognized[line] = literal
            i += 5 if literal == 0 else 4
        i = _space(buffer, i, end)
        if i >= end:
            return bad
        if buffer[i] == 125:  # }
            return (seen_drawing and _space(buffer, i + 1, end) == end), used, n_strokes
        if buffer[i] != 44:  # ,
            return bad
        i = _space(buffer, i + 1, end)


@njit(cache=True, nogil=True)
def _drawing(buffer, i, end, values, used, points, n_strokes):
    """Read [[[...], [...]], ...] with at least one stroke of at least one point; return (-1, ...) if it is not that."""
    axes = len(values)
    if buffer[i] != 91:  # [
        return -1, used, n_strokes
    i = _space(buffer, i + 1, end)
    while True:
        if buffer[i] != 91:
            return -1, used, n_strokes
        i = _space(buffer, i + 1, end)
        length = -1
        for axis in range(axes):
            i, count = _list(buffer, i, end, values[axis], used)
            if i < 0 or (length >= 0 and count != length):
                return -1, used, n_strokes
            length = count
            i = _space(buffer, i, end)
            if buffer[i] != (93 if axis == axes - 1 else 44):  # ] or ,
                return -1, used, n_strokes
            i = _space(buffer, i + 1, end)
        points[n_strokes] = length
        used += length
        n_strokes += 1
        if buffer[i] == 93:
            return i + 1, used, n_strokes
        if buffer[i] != 44:
            return -1, used, n_strokes
        i = _space(buffer, i + 1, end)


@njit(cache=True, nogil=True)
def _list(buffer, i, end, values, start):
    """Read [numbers], each -?int(.digits)? of at most 18 digits, into values from `start` on.

    Returns:
        The place after the list, and how many numbers there were, 1 or more; (-1, 0) if it is not that. No function is
        given an array for each number: its reference would be counted up and down, which takes as long as the number.
    """
    bad, at = (-1, 0), start
    if buffer[i] != 91:  # [
        return bad
    i += 1
    while True:
        if buffer[i] <= 32:
            i = _space(buffer, i, end)
        negative = buffer[i] == 45
        i += negative
        first, mantissa, fraction = i, 0, 0
        while 48 <= buffer[i] <= 57:
            mantissa = mantissa * 10 + (buffer[i] - 48)
            i += 1
        length = i - first
        if length == 0 or (length > 1 and buffer[first] == 48):
            return bad
        whole = buffer[i] != 46
        if not whole:
            i += 1
            first = i
            while 48 <= buffer[i] <= 57:
                mantissa = mantissa * 10 + (buffer[i] - 48)
                i += 1
            fraction = i - first
            if fraction == 0:
                return bad
        if length + fraction > _MAX_DIGITS:  # the mantissa has overflown
            return bad
        number = _quotient(mantissa, _POWERS[fraction])
        values[at] = -number if negative and not (whole and mantissa == 0) else number
        at += 1
        if buffer[i] <= 32:
            i = _space(buffer, i, end)
        if buffer[i] != 44:
            return (i + 1, at - start) if buffer[i] == 93 else bad
        i += 1


_POWERS = 10.0 ** np.arange(_MAX_DIGITS + 1)  # each exact in float64


@njit(cache=True, nogil=True)
def _quotient(mantissa, power):
    """Return mantissa / power correctly rounded: the first quotient, corrected by its exact remainder (Dekker 1971)."""
    high = float(mantissa)
    low = float(mantissa - np.int64(high))
    quotient = high / power
    if power == 1.0 or (low == 0.0 and high < 9007199254740992.0):
        return quotient  # both operands are exact: so is the rounding
    product = quotient * power
    a, b = _halves(quotient)
    c, d = _halves(power)
    error = ((a * c - product) + a * d + b * c) + b * d  # quotient * power = product + error, exactly
    return quotient + (((high - product) - error) + low) / power


@njit(cache=True, nogil=True)
def _halves(value):
    """Split a float64 into two of 26 bits each (Veltkamp)."""
    scaled = value * 134217729.0
    high = scaled - (scaled - value)
    return high, value - high


@njit(cache=True, nogil=True)
def _space(buffer, i, end):
    while i < end and (buffer[i] == 32 or buffer[i] == 9 or buffer[i] == 13):
        i += 1
    return i


@njit(cache=True, nogil=True)
def _string_end(buffer, i, end):
    """Return where a string's closing quote is; -1 where it has none, or holds escapes or anything but ASCII."""
    while i < end:
        byte = buffer[i]
        if byte == 34:
            return i
        if byte == 92 or byte < 32 or byte > 126:
            return -1
        i += 1
    return -1


@njit(cache=True, nogil=True)
def _literal(buffer, i, end):
    """Return 1 for true, 0 for false, 2 for null, -1 for anything else."""
    if _equals(buffer, i, min(i + 4, end), b"true"):
        return 1
    if _equals(buffer, i, min(i + 5, end), b"false"):
        return 0
    return 2 if _equals(buffer, i, min(i + 4, end), b"null") else -1


@njit(cache=True, nogil=True)
def _equals(buffer, start, end, text):
    if end - start != len(text):
        return False
    for k in range(len(text)):  # noqa: SIM110 (compiled)
        if buffer[start + k] != text[k]:
            return False
    return True

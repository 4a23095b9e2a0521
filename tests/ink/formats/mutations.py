"""Random damage to files: bytes, numbers, repeated stretches, and the inside of archives."""

from __future__ import annotations

import gzip
import io
import re
import zipfile

import numpy as np

from tests.ink.formats.samples import zipped

BYTES = [0, 1, 0x28, 0x2E, 0x5B, 0x7F, 0x80, 0xFF]
NUMBERS = [
    b"-1", b"0", b"65536", b"2147483648", b"18446744073709551616", b"1e39", b"-1e308", b"1e999", b"1e-320", b"NaN",
    b"-Infinity", b"1.5.5", b"0x7f", b"9" * 500,
]  # fmt: skip
_MOST_REPEATED = 1 << 18  # bytes


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with some damage; of a zip or gzip file two times in three inside, its CRC right again."""
    if rng.random() < 2 / 3:
        if content[:2] == b"PK":
            return _inside(content, rng)
        if content[:2] == b"\x1f\x8b":
            return gzip.compress(mutated(gzip.decompress(content), rng), 1)
    return mutated(content, rng)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Change, remove, repeat or cut some bytes, or put other numbers in the place of some."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        place, size = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 9))
        match rng.integers(0, 7):
            case 0:
                data[place : place + 1] = rng.integers(0, 256, 1, dtype=np.uint8).tobytes()
            case 1:
                data[place : place + size] = bytes([rng.choice(BYTES)] * size)
            case 2:
                del data[place : place + size]
            case 3:
                data[place:place] = data[place : place + 4 * size]
            case 4 if rng.random() < 0.2:
                del data[place:]
            case 5 if number := re.search(rb"-?\d+(?:\.\d+)?", data[place : place + 200]):
                start, stop = number.span()
                data[place + start : place + stop] = NUMBERS[rng.integers(len(NUMBERS))]
            case 6 if rng.random() < 0.1:
                stretch = data[place : place + 4 * size]
                times = int(10 ** rng.uniform(1, 4))
                data[place:place] = (stretch * times)[:_MOST_REPEATED]
    return bytes(data)


def _inside(content: bytes, rng: np.random.Generator) -> bytes:
    """Mutate one member of a zip archive, and close it again with a right CRC."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    return zipped(members | {str(name): mutated(members[name], rng)})

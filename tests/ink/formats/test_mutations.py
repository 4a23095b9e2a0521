"""Promise: whatever is damaged, a reader ends in drawings, quarantine rows or an InkmillError, soon and small."""

import io
import resource
import time
import zipfile

import numpy as np
import pytest

from ink.errors import InkmillError
from ink.table import Drawings, validate
from tests.ink.formats.samples import SAMPLES, read, write, zipped

MUTATIONS = 300
INTERESTING = [0, 1, 0x28, 0x2E, 0x5B, 0x7F, 0x80, 0xFF]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Change, remove, repeat or cut some bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        place, size = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 9))
        match rng.integers(0, 5):
            case 0:
                data[place : place + 1] = rng.integers(0, 256, 1, dtype=np.uint8).tobytes()
            case 1:
                data[place : place + size] = bytes([rng.choice(INTERESTING)] * size)
            case 2:
                del data[place : place + size]
            case 3:
                data[place:place] = data[place : place + 4 * size]
            case 4 if rng.random() < 0.2:
                del data[place:]
    return bytes(data)


def inside(content: bytes, rng: np.random.Generator) -> bytes:
    """Mutate one member of a zip archive, and close it again with a right CRC."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    return zipped(members | {str(name): mutated(members[name], rng)})


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_random_damage_ends_well(tmp_path, name):
    rng = np.random.default_rng(20240601)
    content = SAMPLES[name][1]()
    read(name, write(tmp_path, name))  # compiles, imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"drawings": 0, "rejected": 0, "refused": 0}
    slowest = 0.0
    for n in range(MUTATIONS):
        change = inside if content[:2] == b"PK" and n % 3 else mutated
        path = write(tmp_path, name, change(content, rng))
        start = time.monotonic()
        try:
            batch = read(name, path)
            assert isinstance(batch.drawings, Drawings) and len(validate(batch.drawings)) == len(batch.drawings)
            assert all(row.reason and row.file == path.name for row in batch.rejected)
            for row in batch.rejected:
                f"{row.key}{row.excerpt}{row.reason}".encode()
            outcomes["drawings"] += len(batch.drawings)
            outcomes["rejected"] += len(batch.rejected)
        except InkmillError as error:
            assert str(path.parent) in str(error)
            outcomes["refused"] += 1
        slowest = max(slowest, time.monotonic() - start)
    assert outcomes["drawings"] and outcomes["rejected"] + outcomes["refused"], outcomes
    assert slowest < 5, slowest
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"

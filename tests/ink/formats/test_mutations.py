"""Promise: whatever is damaged, a reader ends in drawings, quarantine rows or an InkmillError, soon and small."""

import resource
import time

import numpy as np
import pytest

from ink.errors import InkmillError
from ink.table import Drawings, validate
from tests.ink.formats.mutations import damaged
from tests.ink.formats.samples import SAMPLES, read, write

MUTATIONS = 300


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_random_damage_ends_well(tmp_path, name):
    rng = np.random.default_rng(20240601)
    content = SAMPLES[name][1]()
    read(name, write(tmp_path, name))  # compiles, imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"drawings": 0, "rejected": 0, "refused": 0}
    slowest = 0.0
    for _ in range(MUTATIONS):
        path = write(tmp_path, name, damaged(content, rng))
        start = time.process_time()
        try:
            batch = read(name, path)
            assert isinstance(batch.drawings, Drawings) and len(validate(batch.drawings)) == len(batch.drawings)
            assert all(row.reason and row.file for row in batch.rejected)
            for row in batch.rejected:
                f"{row.key}{row.excerpt}{row.reason}".encode()
            outcomes["drawings"] += len(batch.drawings)
            outcomes["rejected"] += len(batch.rejected)
        except InkmillError as error:
            assert str(path.parent) in str(error)
            outcomes["refused"] += 1
        slowest = max(slowest, time.process_time() - start)
    assert outcomes["drawings"] and outcomes["rejected"] + outcomes["refused"], outcomes
    assert slowest < 30, slowest
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"

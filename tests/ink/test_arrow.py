"""Promise: buffers become Arrow arrays and come back as they were, and pandas is not imported on the way."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from ink import arrow

TEXTS = [["a", "ü, 漢字", "", "a"], [""], []]


@pytest.mark.parametrize("kind", [np.bool_, np.int16, np.int32, np.uint64, np.float32])
@pytest.mark.parametrize("count", [0, 1, 8, 19])
def test_numbers_come_back_whole_and_sliced(kind, count):
    numbers = np.random.default_rng(count).integers(0, 2, count).astype(kind)
    array = arrow.numbers(numbers)
    array.validate(full=True)
    assert array.equals(pa.array(numbers)) and arrow.values(array).dtype == kind
    for part in (slice(None), slice(1, None), slice(3, 11), slice(count, None)):
        assert np.array_equal(arrow.values(array[part]), numbers[part])


def test_numbers_out_of_step_are_copied():
    assert arrow.numbers(np.arange(10, dtype=np.int32)[::3]).to_pylist() == [0, 3, 6, 9]


@pytest.mark.parametrize("texts", TEXTS)
def test_texts_and_names_come_back(texts):
    names = pa.dictionary(pa.int32(), pa.string())
    for made, kind in ((arrow.strings(texts), pa.string()), (arrow.names(texts), names)):
        made.validate(full=True)
        assert made.type == kind and made.to_pylist() == texts
        assert arrow.texts(made[1:]).tolist() == texts[1:] and arrow.texts(made).dtype == object
    data, starts = arrow.spans(arrow.strings(texts)[1:])
    assert [bytes(data[a:b]).decode() for a, b in pairwise(starts)] == texts[1:]


def test_a_stage_does_without_pandas(tmp_path):
    script = (
        "import sys\nimport numpy as np\nfrom ink import parquet, quarantine\nfrom ink.table import Drawings, Ink\n"
        "ink = Ink.from_strokes([[np.array([[0, 0, 0], [1, 2, 1]])]] * 3)\n"
        "drawings = Drawings.build(ink, ['a', 'b', 'c'], ['x', 'y', 'x'], timed=True).take([2, 0])\n"
        f"parquet.write_drawings({str(tmp_path / 'a.parquet')!r}, drawings, {{}})\n"
        f"found = parquet.read_drawings({str(tmp_path / 'a.parquet')!r})\n"
        "assert list(found.column('key')) == ['c', 'a'] and found.column('timed').all()\n"
        "print('pandas' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"

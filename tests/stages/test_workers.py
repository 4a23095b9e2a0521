"""Promise: whoever does the work, and however a source is cut, the same bytes come out; and every fault is told."""

import hashlib
import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest

from ink.errors import DataError, InkmillError
from ink.parquet import read_drawings
from ink.quarantine import read_quarantine
from stages import download, simplify, workers
from stages.pieces import deal, lines_before
from stages.workers import WorkerParams, run_tasks
from tests.stages.helpers import ALONE, SIMPLIFY, download_params, record, run_rest, write_category

TWO = WorkerParams(count=2, cluster="")
WORDS = ("cat", "pig", "owl")


def double(number):
    return 2 * number


def fail(number):
    raise DataError(f"task {number}")


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def contents(root):
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and not {"source", "raw"} & set(path.parts)]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def chain(root, who, megabytes_per_part):
    """Three categories, 240 drawings, one of them damaged, one there twice."""
    for number, word in enumerate(WORDS):
        rows = [record(1000 * number + key, word=word) for key in range(80)]
        if word == "pig":
            rows[40] = rows[40] | {"drawing": []}
            rows[70] = rows[3]
        write_category(root / "source" / "quickdraw", rows, word)
    source = download_params("https://example.invalid", list(WORDS), mirror=(root / "source").as_uri())
    download.run(root / "raw", "q", source)
    settings = simplify.SimplifyParams(**SIMPLIFY | {"megabytes_per_part": megabytes_per_part})
    simplify.run(root / "raw", root / "simplified", "q", settings, who)
    run_rest(root, workers=who)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    chain(root, ALONE, 0.003)
    return root


def test_pieces_of_files_lose_nothing_and_keep_their_line_numbers(alone, tmp_path):
    chain(tmp_path, ALONE, 64)
    assert len(list((alone / "simplified").glob("part-*"))) > 3 * len(list((tmp_path / "simplified").glob("part-*")))
    refused = [(row.file, row.line, row.reason) for row in read_quarantine(alone / "simplified")]
    assert refused == [("pig.ndjson", 41, "empty drawing"), ("pig.ndjson", 71, "duplicate key")]
    assert read_quarantine(tmp_path / "simplified") == read_quarantine(alone / "simplified")
    names = [path.name for path in sorted((alone / "shards").glob("*-*.parquet"))]
    assert len(names) > 10
    for name in names:  # the order of sources and pieces does not reach the shards
        assert pq.read_table(alone / "shards" / name).equals(pq.read_table(tmp_path / "shards" / name)), name


def test_two_processes_write_the_bytes_of_one(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_WORTH_PROCESSES", 0)
    chain(tmp_path, TWO, 0.003)
    assert contents(tmp_path) == contents(alone)


def test_a_dask_cluster_writes_the_bytes_of_one(alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        chain(tmp_path, WorkerParams(count=1, cluster=cluster.scheduler_address), 0.003)
        with pytest.raises(DataError, match="task 1"):
            list(run_tasks(fail, [1], "", WorkerParams(count=1, cluster=cluster.scheduler_address), 0))
    assert contents(tmp_path) == contents(alone)


def test_row_groups_hold_every_label_in_the_shards_proportion(alone):
    for path in (alone / "shards").glob("train-*.parquet"):
        labels = read_drawings(path).column("label").astype(str)
        names, whole = np.unique(labels, return_counts=True)
        with pq.ParquetFile(path) as file:
            rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        for part in np.split(labels, np.cumsum(rows)[:-1]):
            share = whole * len(part) / len(labels)
            assert np.abs(np.array([(part == name).sum() for name in names]) - share).max() <= 1.5, path


def test_results_come_in_order_and_faults_come_through(monkeypatch):
    monkeypatch.setattr(workers, "_WORTH_PROCESSES", 0)
    assert list(run_tasks(double, range(9), "", TWO, 1)) == [2 * number for number in range(9)]
    with pytest.raises(DataError, match="task 0"):
        list(run_tasks(fail, range(9), "", TWO, 1))
    with pytest.raises(InkmillError, match="worker process of this stage died"):
        list(run_tasks(die, range(9), "", TWO, 1))


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_PATIENCE", "1s")
    with pytest.raises(InkmillError, match="no Dask scheduler answers at tcp"):
        list(run_tasks(double, [1], "", WorkerParams(count=1, cluster="tcp://127.0.0.1:9"), 0))


def test_sources_are_dealt_out_to_parts_of_one_size(tmp_path):
    sizes = {"a": 400, "b": 500, "c": 2500, "d": 100, "e": 1000, "f": 0, "g": 1}
    sources = [tmp_path / name for name in sizes]
    for source in sources:
        source.write_bytes(b"x" * sizes[source.name])
    parts = deal(sources, True, 1000)
    assert [[piece.source.name for piece in part] for part in parts] == [
        ["a", "b"], ["c"], ["c"], ["c"], ["d"], ["e", "f"], ["g"]
    ]  # fmt: skip
    assert [part[0].span for part in parts[1:4]] == [(0, 833), (833, 1666), (1666, 2500)]
    assert all(piece.span is None for part in parts if part[0].source.name != "c" for piece in part)
    assert [len(part) for part in deal(sources, False, 1000)] == [1] * 7
    pieces = [piece for part in parts for piece in part]
    assert lines_before(pieces, [1, 2, 30, 40, 50, 6, 7, 0, 1]) == [0, 0, 0, 30, 70, 0, 0, 0, 0]

"""Promise: a file is whole or absent, whatever happens while it is written."""

import hashlib
import os
import subprocess
import sys

import pytest

from ink.errors import InkmillError
from ink.files import atomic_path, sha256_file, working_folder, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_success_replaces_the_file_and_makes_its_folder(tmp_path):
    target = tmp_path / "a" / "b" / "x.txt"
    write_text(target, "one")
    write_text(str(target), "zwei é")
    assert target.read_text("utf-8") == "zwei é" and names(target.parent) == ["x.txt"]


def test_the_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "x.parquet"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists() and temporary.suffix == ".parquet" and temporary.parent == tmp_path
    assert target.read_text() == "half"


@pytest.mark.parametrize("old", [None, "the old text"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_and_keeps_the_old_file(tmp_path, old, error):
    target = tmp_path / "x.txt"
    if old:
        target.write_text(old)
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert names(tmp_path) == (["x.txt"] if old else [])
    assert not old or target.read_text() == old


def test_a_killed_writer_leaves_nothing_under_the_name_and_is_swept(tmp_path):
    target = tmp_path / "x.txt"
    script = (
        "import os, sys\nfrom ink.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n    temporary.write_text('half')\n    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == -9 and not target.exists() and len(names(tmp_path)) == 1
    write_text(target, "whole")
    assert names(tmp_path) == ["x.txt"]


def test_the_temporary_file_of_a_living_writer_is_left_alone(tmp_path):
    script = (
        "import sys\nfrom ink.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n    print(temporary.name, flush=True)\n    sys.stdin.read()\n"
    )
    other = tmp_path / f".tmp-{2**22 + 12345}-y-x.txt"
    other.write_text("of another target, whose name ends alike")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "x.txt")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        living = writer.stdout.readline().strip()
        write_text(tmp_path / "x.txt", "whole")
        assert names(tmp_path) == sorted([living, other.name, "x.txt"])
        writer.stdin.close()
    assert writer.returncode == 0 and names(tmp_path) == [other.name, "x.txt"]


def test_a_killed_writers_number_protects_nothing_when_another_process_has_it(tmp_path):
    for number in (os.getpid(), os.getppid(), 1, 2**70):
        (tmp_path / f".tmp-{number}-x.txt").write_text("half")
        (tmp_path / f".tmp-{number}-work").mkdir()
    write_text(tmp_path / "x.txt", "whole")
    with working_folder(tmp_path) as folder:
        assert names(tmp_path) == [folder.name, "x.txt"]
    assert names(tmp_path) == ["x.txt"]


def test_threads_of_one_process_leave_each_others_files_alone(tmp_path):
    with atomic_path(tmp_path / "pick-axe.txt") as one:
        write_text(tmp_path / "axe.txt", "two")
        one.write_text("one")
    assert names(tmp_path) == ["axe.txt", "pick-axe.txt"]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InkmillError, match=r"x\.txt: cannot write here .*choose another output folder"):
        write_text(tmp_path / "file" / "x.txt", "text")


def test_a_folder_without_permission_is_explained(tmp_path, monkeypatch):
    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(InkmillError, match=r"cannot write here \(Permission denied\)"):
        write_text(tmp_path / "x.txt", "text")


def test_a_full_disk_is_explained_and_keeps_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "x.txt"
    target.write_text("old")

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InkmillError, match=r"writing failed \(No space left on device\); nothing was left"):
        write_text(target, "new")
    assert target.read_text() == "old" and names(tmp_path) == ["x.txt"]


def test_json_is_ordered_ends_in_a_newline_and_refuses_nan(tmp_path):
    write_json(tmp_path / "x.json", {"b": 1, "a": [1.5, None, "é"]})
    text = (tmp_path / "x.json").read_text("utf-8")
    assert text.index('"b"') < text.index('"a"') and text.endswith("}\n")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert (tmp_path / "x.json").read_text("utf-8") == text


def test_sha256_is_that_of_the_bytes(tmp_path):
    data = bytes(range(256)) * 9000
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()

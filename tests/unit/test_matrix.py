"""Matrix files: whole or not there, made once, and nothing left behind."""

import fcntl
import os
import threading
import time

import numpy as np
import pytest

from hypercube import matrix
from hypercube.errors import NotWritten, TooMuchMemory

ROWS = np.arange(40, dtype=np.float32).reshape(10, 4)


def silent(fraction):
    pass


def build(folder, blocks=None, name="unit1-aa", step=silent):
    blocks = [ROWS[:7], ROWS[7:]] if blocks is None else blocks
    matrix.build(str(folder), name, ROWS.nbytes, blocks, step=step)


def test_a_file_is_named_by_what_it_is_computed_from():
    assert matrix.file_name(b"\x01" * 32) != matrix.file_name(b"\x01" * 32, b"\x02" * 32)
    assert matrix.file_name(b"\xab") == "unit1-ab"


def test_what_was_built_is_mapped_and_cannot_be_written(tmp_path):
    build(tmp_path)
    mapped = matrix.open_mapped(tmp_path / "unit1-aa", 10, 4)

    np.testing.assert_array_equal(mapped.unit, ROWS)
    assert not mapped.unit.flags.writeable
    assert matrix.is_current(tmp_path / "unit1-aa", mapped)
    assert os.stat(tmp_path / "unit1-aa").st_mode & 0o777 == 0o600


def test_a_missing_file_and_one_of_another_size_are_none(tmp_path):
    assert matrix.open_mapped(tmp_path / "unit1-aa", 10, 4) is None
    (tmp_path / "unit1-aa").write_bytes(ROWS.tobytes()[:-1])
    assert matrix.open_mapped(tmp_path / "unit1-aa", 10, 4) is None


def test_a_file_of_another_size_is_made_again(tmp_path):
    (tmp_path / "unit1-aa").write_bytes(b"short")
    build(tmp_path)
    np.testing.assert_array_equal(matrix.open_mapped(tmp_path / "unit1-aa", 10, 4).unit, ROWS)


def test_a_whole_file_is_not_made_again(tmp_path):
    build(tmp_path)

    def never():
        raise AssertionError("the blocks were read")
        yield

    build(tmp_path, never())


@pytest.mark.parametrize("change", ["removed", "cut", "replaced"])
def test_a_mapping_knows_when_its_file_is_another(tmp_path, change):
    path = tmp_path / "unit1-aa"
    build(tmp_path)
    mapped = matrix.open_mapped(path, 10, 4)
    if change == "removed":
        path.unlink()
    elif change == "cut":
        os.truncate(path, 8)
    else:
        (tmp_path / "new").write_bytes(ROWS.tobytes())
        (tmp_path / "new").rename(path)
    assert not matrix.is_current(path, mapped)


def test_a_link_is_not_followed_but_replaced(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(ROWS.nbytes))
    (tmp_path / "unit1-aa").symlink_to(tmp_path / "secret")
    assert matrix.open_mapped(tmp_path / "unit1-aa", 10, 4) is None
    build(tmp_path)
    assert not (tmp_path / "unit1-aa").is_symlink()
    np.testing.assert_array_equal(matrix.open_mapped(tmp_path / "unit1-aa", 10, 4).unit, ROWS)
    assert (tmp_path / "secret").read_bytes() == bytes(ROWS.nbytes)


class Stopped(Exception):
    pass


def test_a_stop_leaves_nothing(tmp_path):
    seen = []

    def step(fraction):
        seen.append(fraction)
        if len(seen) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        build(tmp_path, step=step)
    assert os.listdir(tmp_path) == []
    build(tmp_path)


def test_too_few_rows_are_a_defect_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="bytes for a file"):
        build(tmp_path, [ROWS[:3]])
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_none_is_a_refusal(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritten, match="could not be written"):
        build(tmp_path / "file")


def test_a_disk_without_room_is_a_refusal_and_leaves_nothing(tmp_path, monkeypatch):
    """The limit on the size of files gives the same kind of error as a full disk, from the real call."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        with pytest.raises(NotWritten) as refusal:
            build(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, previous)
    assert refusal.value.sqlstate == "58030" and refusal.value.hint
    assert os.listdir(tmp_path) == []


def test_racing_builders_make_it_once(tmp_path):
    made = []

    def blocks():
        made.append(1)
        time.sleep(0.05)
        yield ROWS

    workers = [threading.Thread(target=build, args=(tmp_path, blocks())) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(made) == 1
    assert os.listdir(tmp_path) == ["unit1-aa"]


def test_waiting_for_another_builder_can_be_stopped(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def step(fraction):
        raise Stopped

    try:
        with pytest.raises(Stopped):
            build(tmp_path, step=step)
    finally:
        os.close(descriptor)


def test_sweep_keeps_what_is_wanted_and_removes_what_a_crash_left(tmp_path):
    build(tmp_path)
    build(tmp_path, name="unit1-bb")
    (tmp_path / "unit1-cc.new").write_bytes(b"half")
    (tmp_path / "unit0-aa").write_bytes(b"an older version")
    mapped = matrix.open_mapped(tmp_path / "unit1-bb", 10, 4)

    assert matrix.sweep(str(tmp_path), {"unit1-aa"}, step=silent) == 3
    assert os.listdir(tmp_path) == ["unit1-aa"]
    np.testing.assert_array_equal(mapped.unit, ROWS)
    assert matrix.sweep(str(tmp_path / "none"), set(), step=silent) == 0


def test_folders_of_databases_that_are_gone_go(tmp_path):
    for name in ("5", "16384", "16385", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "unit1-aa").write_bytes(b"")
    matrix.sweep_databases(str(tmp_path), {5, 16385})
    assert sorted(os.listdir(tmp_path)) == ["16385", "5", "notes"]
    matrix.sweep_databases(str(tmp_path / "none"), set())


def test_a_matrix_beyond_the_limit_is_refused_with_its_size():
    matrix.require_room(1024, 256, 1 << 20)
    with pytest.raises(TooMuchMemory, match="needs 2 MiB, 1 MiB are allowed"):
        matrix.require_room(1025, 256, 1 << 20)

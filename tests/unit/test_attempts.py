"""The file of failed calls: lines in order, nothing lost between readers, nothing followed or overrun."""

import json
import multiprocessing
import os
import shutil
import stat

import pytest
from blake3 import blake3

from hypercube import attempts


@pytest.fixture
def parent(tmp_path):
    return str(tmp_path)


def path(parent, ending="jsonl"):
    return os.path.join(parent, attempts.FOLDER, f"5.{ending}")


def lines(parent):
    with open(path(parent), "rb") as file:
        return file.read().splitlines(keepends=True)


def append(parent, count, **more):
    for place in range(count):
        attempts.append(parent, "5", {"function": f"f{place}"}, **more)


def test_each_line_has_the_digest_of_the_one_before(parent):
    append(parent, 3)
    found = lines(parent)
    befores = [json.loads(line)["before"] for line in found]
    assert befores == [bytes(32).hex(), *(blake3(line).hexdigest() for line in found[:2])]


def test_the_folder_and_its_files_are_for_the_server_alone(parent):
    append(parent, 1)
    modes = [
        os.stat(name).st_mode for name in (os.path.dirname(path(parent)), path(parent), path(parent, "state"))
    ]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o700, 0o600, 0o600]


def test_lines_are_read_in_parts_and_from_where_one_stopped(parent):
    append(parent, 5)
    first = attempts.read(parent, "5", None, 0, 3)
    rest = attempts.read(parent, "5", first.generation, first.end, 3)
    assert [line["function"] for line in first.lines + rest.lines] == ["f0", "f1", "f2", "f3", "f4"]
    assert rest.end == rest.size
    assert not any("broken" in line for line in first.lines + rest.lines)
    assert attempts.read(parent, "5", rest.generation, rest.end, 3).lines == []


def test_another_generation_or_a_shorter_file_is_read_from_its_beginning(parent):
    append(parent, 2)
    assert len(attempts.read(parent, "5", "another", 10, 9).lines) == 2
    found = attempts.read(parent, "5", None, 0, 9)
    assert len(attempts.read(parent, "5", found.generation, found.end + 1, 9).lines) == 2


def test_a_copy_that_went_on_with_other_lines_is_read_from_its_beginning(parent, tmp_path):
    """That of a standby: what the primary took in says nothing about it."""
    append(parent, 2)
    copy = str(tmp_path / "copy")
    shutil.copytree(parent, copy, ignore=shutil.ignore_patterns("copy"))
    append(parent, 3)
    append(copy, 9)
    taken = attempts.read(parent, "5", None, 0, 99)
    assert len(attempts.read(copy, "5", taken.generation, taken.end, 99).lines) == 11
    assert attempts.read(parent, "5", taken.generation, taken.end, 99).lines == []


def test_an_emptied_file_goes_on_with_the_digest_of_its_last_line(parent):
    append(parent, 2)
    last = blake3(lines(parent)[-1]).hexdigest()
    found = attempts.read(parent, "5", None, 0, 9)
    assert attempts.pending(parent, "5")
    assert attempts.empty(parent, "5", found.generation, found.size)
    assert not attempts.pending(parent, "5")
    append(parent, 1)
    assert json.loads(lines(parent)[0])["before"] == last
    assert "broken" not in attempts.read(parent, "5", None, 0, 9).lines[0]


def test_a_file_that_grew_meanwhile_or_is_another_is_not_emptied(parent):
    append(parent, 2)
    found = attempts.read(parent, "5", None, 0, 9)
    assert not attempts.empty(parent, "5", "another", found.size)
    append(parent, 1)
    assert not attempts.empty(parent, "5", found.generation, found.size)
    assert len(lines(parent)) == 3


@pytest.mark.parametrize("change", ["remove", "edit"])
def test_a_line_that_was_removed_or_edited_shows_in_the_next(parent, change):
    append(parent, 4)
    found = lines(parent)
    found[1] = b"" if change == "remove" else found[1].replace(b'"f1"', b'"f9"')
    with open(path(parent), "wb") as file:
        file.write(b"".join(found))
    read = attempts.read(parent, "5", None, 0, 9).lines
    assert [line["function"] for line in read if line.get("broken")] == ["f2"]


def test_a_line_that_is_none_is_passed_by(parent):
    append(parent, 1)
    with open(path(parent), "ab") as file:
        file.write(b"\xff not JSON\n[1]\n")
    append(parent, 1)
    assert [line and line["function"] for line in attempts.read(parent, "5", None, 0, 9).lines] == [
        "f0",
        None,
        None,
        "f0",
    ]


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_last_line_that_was_cut_off_costs_no_other(parent, kept, seen):
    """Also where the rest of it was taken in already."""
    append(parent, 2)
    first, second = lines(parent)
    with open(path(parent), "wb") as file:
        file.write(first + second[:kept])
    found = attempts.read(parent, "5", None, 0, 9) if seen else None
    append(parent, 2)
    again = attempts.read(parent, "5", found and found.generation, found.end if found else 0, 9)
    taken = (found.lines if found else []) + again.lines
    if kept == -1:
        # All but the line feed: a whole attempt.
        assert [line["function"] for line in taken] == ["f0", "f1", "f0", "f1"]
    else:
        assert [line["function"] for line in taken if line][-2:] == ["f0", "f1"]
    assert len(taken) == 4
    assert not any(line and line.get("broken") for line in taken)


def test_what_finds_no_room_is_counted(parent):
    append(parent, 9, limit=600)
    kept = len(lines(parent))
    assert 0 < kept < 9
    assert os.stat(path(parent)).st_size <= 600
    found = attempts.read(parent, "5", None, 0, 99)
    assert (len(found.lines), found.undescribed) == (kept, 9 - kept)
    attempts.append(parent, "5", {"function": "f" * attempts.LINE_LIMIT})
    assert attempts.read(parent, "5", None, 0, 99).undescribed == 10 - kept
    assert attempts.empty(parent, "5", found.generation, found.size)
    append(parent, 1)
    assert attempts.read(parent, "5", None, 0, 99).undescribed == 10 - kept


def test_a_line_cannot_be_smuggled_in_through_an_argument(parent):
    attempts.append(parent, "5", {"function": 'a\n{"id": "x"}\n', "message": "größer \udcff"})
    assert len(lines(parent)) == 1
    assert attempts.read(parent, "5", None, 0, 9).lines[0]["function"] == 'a\n{"id": "x"}\n'


@pytest.mark.parametrize("ending", ["jsonl", "state"])
@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_what_is_no_file_is_not_written_to(parent, tmp_path, ending, what):
    os.mkdir(os.path.join(parent, attempts.FOLDER))
    victim = tmp_path / "victim"
    victim.write_text("kept")
    if what == "link":
        os.symlink(victim, path(parent, ending))
    elif what == "pipe":
        os.mkfifo(path(parent, ending))
    else:
        os.mkdir(path(parent, ending))
    with pytest.raises(OSError):
        append(parent, 1)
    assert victim.read_text() == "kept"


def test_a_link_in_the_place_of_the_folder_is_not_followed(parent, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", os.path.join(parent, attempts.FOLDER))
    with pytest.raises(OSError):
        append(parent, 1)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_processes_that_write_at_once_lose_no_line_and_break_no_chain(parent):
    workers = [multiprocessing.Process(target=append, args=(parent, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = attempts.read(parent, "5", None, 0, 1000).lines
    assert len({line["id"] for line in found}) == 200
    assert not any("broken" in line for line in found)


def test_a_lock_that_is_not_given_back_is_no_wait_for_ever(parent):
    append(parent, 1)
    with (
        attempts._folder(os.path.join(parent, attempts.FOLDER)) as folder,
        attempts._locked(folder, "5", os.O_RDWR),
    ):
        with pytest.raises(BlockingIOError):
            append(parent, 1)
    append(parent, 1)
    assert len(lines(parent)) == 2

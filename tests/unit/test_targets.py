"""Files that appear whole or not at all, and only where they may."""

import hashlib
import os
import signal
import stat
from pathlib import Path

import pytest

from hypercube.errors import FileExists, InvalidArgument, NotAllowed, SourceMissing
from hypercube.targets import Folder


@pytest.fixture
def allowed(tmp_path):
    folder = tmp_path / "allowed"
    folder.mkdir()
    return os.path.realpath(folder)


def test_files_appear_at_the_commit_with_their_digests(allowed):
    with Folder(f"{allowed}/m", [allowed]) as folder:
        folder.write("a.bin", [b"one", b"two"])
        folder.write("sub/b.bin", iter([b""]))
        folder.write("sub/deep/c.bin", [b"c"])
        assert not os.path.exists(f"{allowed}/m/a.bin")
        rows = folder.commit()

    assert rows == [
        (f"{allowed}/m/a.bin", 6, hashlib.sha256(b"onetwo").hexdigest()),
        (f"{allowed}/m/sub/b.bin", 0, hashlib.sha256(b"").hexdigest()),
        (f"{allowed}/m/sub/deep/c.bin", 1, hashlib.sha256(b"c").hexdigest()),
    ]
    assert sorted(os.listdir(f"{allowed}/m")) == ["a.bin", "sub"]
    assert stat.S_IMODE(os.stat(f"{allowed}/m/a.bin").st_mode) == 0o600


def test_what_fails_on_the_way_leaves_nothing(allowed):
    def parts():
        yield b"half"
        raise KeyError("stop")

    with pytest.raises(KeyError), Folder(f"{allowed}/m", [allowed]) as folder:
        folder.write("sub/a.bin", [b"whole"])
        folder.write("b.bin", parts())

    assert os.listdir(allowed) == []


@pytest.mark.parametrize("end", ["commit", "stop"])
def test_more_files_than_can_be_open_without_a_name_have_one_for_a_while(allowed, end):
    """Both kinds of files appear whole, or go."""
    held = len(os.listdir("/proc/self/fd"))
    names = [f"{place:03}.bin" for place in range(80)]
    with Folder(f"{allowed}/m", [allowed]) as folder:
        for name in names:
            folder.write(name, [name.encode()])
        assert 0 < len(os.listdir(f"{allowed}/m")) < 80
        if end == "commit":
            folder.commit()

    if end == "commit":
        assert sorted(os.listdir(f"{allowed}/m")) == names
        assert all(Path(f"{allowed}/m/{name}").read_text() == name for name in names)
    else:
        assert os.listdir(allowed) == []
    assert len(os.listdir("/proc/self/fd")) == held


def test_nothing_is_left_of_a_process_that_is_killed_while_it_writes(allowed):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            folder = Folder(f"{allowed}/m", [allowed])
            folder.write("a.bin", [b"whole"])

            def parts():
                yield b"half"
                os.write(writing, b".")
                signal.pause()

            folder.write("b.bin", parts())
        finally:
            os._exit(1)
    os.read(reading, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert os.listdir(f"{allowed}/m") == []
    with Folder(f"{allowed}/m", [allowed]) as folder:
        folder.write("a.bin", [b"whole"])
        folder.commit()
    assert os.listdir(f"{allowed}/m") == ["a.bin"]


def test_nothing_is_overwritten_not_even_what_came_meanwhile(allowed):
    with pytest.raises(FileExists), Folder(allowed, [allowed]) as folder:
        folder.write("a.bin", [b"new"])
        folder.write("z.bin", [b"new"])
        with open(f"{allowed}/z.bin", "wb") as file:
            file.write(b"old")
        folder.commit()

    assert os.listdir(allowed) == ["z.bin"]
    with open(f"{allowed}/z.bin", "rb") as file:
        assert file.read() == b"old"


def test_a_link_in_the_place_of_a_file_is_not_followed(allowed):
    os.symlink("/tmp/nothing", f"{allowed}/a.bin")
    with pytest.raises(FileExists), Folder(allowed, [allowed]) as folder:
        folder.write("a.bin", [b"new"])


def test_a_link_in_the_place_of_a_folder_is_not_followed(allowed, tmp_path):
    os.symlink(tmp_path, f"{allowed}/sub")
    with pytest.raises(FileExists), Folder(allowed, [allowed]) as folder:
        folder.write("sub/a.bin", [b"new"])
    assert sorted(os.listdir(tmp_path)) == ["allowed"]


@pytest.mark.parametrize("path", ["{0}/../other", "{0}/link", "{0}-more", "/"])
def test_only_allowed_folders_are_opened(allowed, path):
    os.makedirs(f"{allowed}/../other")
    os.symlink(f"{allowed}/../other", f"{allowed}/link")
    with pytest.raises(NotAllowed, match="written to") as refusal:
        Folder(path.format(allowed), [allowed])
    assert "allow_target" in refusal.value.hint


@pytest.mark.parametrize("path", [None, "relative", "/with\0nul"])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(InvalidArgument):
        Folder(path, ["/"])


def test_a_folder_that_cannot_be_made_is_missing(allowed):
    with pytest.raises(SourceMissing, match="cannot be made"):
        Folder(f"{allowed}/no/such/parent", [allowed])


def test_a_folder_that_is_exchanged_for_a_link_on_the_way_takes_no_file_elsewhere(allowed, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def exchange():
        os.rename(f"{allowed}/sub", f"{allowed}/was")
        os.symlink(elsewhere, f"{allowed}/sub")
        yield b"half"

    with Folder(allowed, [allowed]) as folder:
        folder.write("sub/a.bin", exchange())
        folder.write("sub/b.bin", [b"after"])
        folder.commit()

    assert list(elsewhere.iterdir()) == []
    assert sorted(os.listdir(f"{allowed}/was")) == ["a.bin", "b.bin"]

"""Paths: nothing outside the allowed folders is read, whatever it is called."""

import os

import pytest

from hypercube import sources
from hypercube.errors import CorruptFile, InvalidArgument, NotAllowed, SourceMissing


@pytest.fixture
def allowed(tmp_path):
    folder = tmp_path / "allowed"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"content")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "model.safetensors").write_bytes(b"secret")
    return folder


def test_a_folder_and_a_file_are_found(allowed):
    folder = os.path.realpath(allowed)
    whole = sources.find(f"{folder}/model", [folder])
    one = sources.find(f"{folder}/model/model.safetensors", [folder])

    assert whole == (f"{folder}/model", ("model.safetensors",), True)
    assert one == (f"{folder}/model", ("model.safetensors",), False)
    assert whole.name == one.name == "model"


def test_a_model_is_called_after_its_folder_its_file_or_its_repository():
    assert sources.Source("/m/ocean", ("model.safetensors",), True).name == "ocean"
    assert sources.Source("/m/ocean", ("deep.safetensors",), True).name == "ocean"
    assert sources.Source("/m/ocean", ("deep.safetensors",), False).name == "deep"
    assert sources.Source("/c/models--org--sea/snapshots/01ab", ("model.safetensors",), True).name == "sea"


@pytest.mark.parametrize(
    "path", ["{0}/../secret", "{0}/link", "{0}-other", "/", "{0}/../secret/model.safetensors"]
)
def test_what_lies_outside_is_refused_before_it_is_looked_at(allowed, path):
    (allowed / "link").symlink_to(allowed.parent / "secret")

    with pytest.raises(NotAllowed, match="not inside a folder") as refusal:
        sources.find(path.format(allowed), [os.path.realpath(allowed)])

    assert "allow_source" in refusal.value.hint


def test_no_folder_allowed_allows_nothing(allowed):
    with pytest.raises(NotAllowed):
        sources.find(str(allowed), [])


@pytest.mark.parametrize("path", [None, "", "relative/path", "/with\0nul"])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(InvalidArgument):
        sources.find(path, ["/"])
    with pytest.raises(InvalidArgument):
        sources.folder_to_allow(path)


def test_what_is_missing_is_said_with_what_is_expected(allowed):
    with pytest.raises(SourceMissing, match="does not exist") as refusal:
        sources.find(f"{allowed}/nothing", [os.path.realpath(allowed)])
    assert "tokenizer.json" in refusal.value.hint
    with pytest.raises(SourceMissing, match="holds no .safetensors"):
        sources.find(f"{allowed}", [os.path.realpath(allowed)])
    with pytest.raises(SourceMissing):
        sources.folder_to_allow(f"{allowed}/nothing")


def test_a_file_that_links_outside_is_refused_once_it_is_open(allowed):
    (allowed / "model" / "config.json").symlink_to(allowed.parent / "secret" / "model.safetensors")

    with pytest.raises(NotAllowed):
        sources.OpenFile(f"{allowed}/model", "config.json", [os.path.realpath(allowed)])


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_refused_without_waiting(allowed, make):
    make(allowed / "model" / "odd")

    with pytest.raises(CorruptFile, match="not a regular file"):
        sources.OpenFile(f"{allowed}/model", "odd", [os.path.realpath(allowed)])


def test_a_file_that_ends_or_changes_while_it_is_read_is_refused(allowed):
    path = allowed / "model" / "model.safetensors"
    with sources.OpenFile(f"{allowed}/model", path.name, [os.path.realpath(allowed)]) as file:
        assert file.read(3, 4) == b"tent"
        file.require_unchanged()
        with pytest.raises(CorruptFile, match="ended while it was read"):
            file.read(3, 5)
        path.write_bytes(b"longer content")
        with pytest.raises(CorruptFile, match="changed while it was read"):
            file.require_unchanged()


def test_only_small_files_that_are_there_are_read(allowed):
    (allowed / "model" / "config.json").write_bytes(b"{}")
    found = sources.find(f"{allowed}/model", [os.path.realpath(allowed)])

    assert sources.read_small_files(found, [os.path.realpath(allowed)]) == {"config.json": b"{}"}

"""Which files are read, in which order, and under which licence."""

from __future__ import annotations

import json

import pytest

from videosyn.core.errors import UserError
from videosyn.curation.sources import find_sources, licence_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "a.mkv", "deep/c.webm", "deep/no_suffix", ".hidden.mp4", ".git/d.mp4"):
        path = tmp_path / "footage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for name in ("README.md", "b.mp4.license", "a.json", "cover.jpg", "b.txt"):
        (tmp_path / "footage" / name).write_text("MIT")
    return tmp_path / "footage"


def names(paths, folder):
    return [path.removeprefix(f"{folder}/") for path in paths]


def test_a_folder_gives_its_videos_sorted_and_absolute_without_hidden_files_and_texts(folder):
    assert names(find_sources(["footage"]), folder) == ["a.mkv", "b.mp4", "deep/c.webm", "deep/no_suffix"]


def test_words_may_name_a_file_twice(folder):
    words = ["footage/b.mp4", str(folder / "b.mp4"), "footage/*.mp4", "footage/../footage"]
    assert names(find_sources(words), folder) == ["a.mkv", "b.mp4", "deep/c.webm", "deep/no_suffix"]


def test_a_glob_may_cross_folders(folder):
    assert names(find_sources(["footage/**/*.webm", "footage/d*"]), folder) == ["deep/c.webm", "deep/no_suffix"]


def test_what_a_shell_expands_loses_its_sidecars_but_a_named_file_stays(folder):
    words = [str(path) for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert names(find_sources(words), folder) == ["README.md", "a.mkv", "b.mp4", "cover.jpg"]
    assert names(find_sources(["footage/b.txt"]), folder) == ["b.txt"]


def test_an_fsspec_url_is_a_place_like_any_other(folder):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/shelf/b.mp4": b"x", "/shelf/deep/a.mp4": b"x", "/shelf/notes.txt": b"x", "/shelf/.x/c.mp4": b"x"})
    assert find_sources(["memory://shelf"]) == ["memory:///shelf/b.mp4", "memory:///shelf/deep/a.mp4"]
    assert find_sources(["memory://shelf/*.mp4", "footage/b.mp4"]) == [f"{folder}/b.mp4", "memory:///shelf/b.mp4"]
    with pytest.raises(UserError, match="no source found: memory://empty holds no video"):
        find_sources(["memory://empty"])


def test_a_url_that_is_there_is_no_pattern(tmp_path):
    for name in ("clip a.mp4", "clip [abc].mp4", "shelf [b]/deep.mp4", "shelf b/other.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    place = f"file://{tmp_path}"
    assert find_sources([f"{place}/clip [abc].mp4"]) == [f"{place}/clip [abc].mp4"]
    assert find_sources([f"{place}/shelf [b]"]) == [f"{place}/shelf [b]/deep.mp4"]
    assert find_sources([f"{place}/clip [ab].mp4"]) == [f"{place}/clip a.mp4"]


def test_the_dataset_inside_a_source_folder_is_not_a_source(folder):
    assert names(find_sources(["footage"], skip=["footage/deep"]), folder) == ["a.mkv", "b.mp4"]


def test_what_is_skipped_is_skipped_whatever_its_name(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    kept = ["a.mkv", "b.mp4"]
    assert names(find_sources(["footage"], skip=["link/deep"]), folder) == kept
    assert names(find_sources(["link"], skip=["footage/deep"]), tmp_path / "link") == kept
    assert names(find_sources(["footage"], skip=[f"file://{folder}/deep/"]), folder) == kept
    assert names(find_sources(["footage"], skip=["footage/dee"]), folder) == [*kept, "deep/c.webm", "deep/no_suffix"]
    import fsspec

    fsspec.filesystem("memory").pipe({"/far/a.mp4": b"x", "/far/parts/clips/b.mp4": b"x"})
    assert find_sources(["memory://far"], skip=["memory://far/parts"]) == ["memory:///far/a.mp4"]


@pytest.mark.parametrize("words", [[], ["absent.mp4"], ["footage/*.avi"], ["footage/deep/../.git/x"]])
def test_a_word_that_matches_nothing_is_a_mistake(folder, words):
    with pytest.raises(UserError, match=r"^(no source found|sources are needed)"):
        find_sources(words)


def test_a_folder_without_videos_is_a_mistake(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no source found in empty"):
        find_sources(["empty"])


def test_the_licence_comes_from_a_sidecar_before_the_container(tmp_path):
    video = str(tmp_path / "a.mp4")
    assert licence_of(video) == ""
    assert licence_of(video, {"COPYRIGHT": " by\n me "}) == "by me"
    (tmp_path / "a.json").write_text(json.dumps({"licence": "CC-BY-4.0", "views": 3}))
    assert licence_of(video, {"copyright": "me"}) == "CC-BY-4.0"
    (tmp_path / "a.mp4.license").write_text("\nSPDX-FileCopyrightText: me\nSPDX-License-Identifier: CC0-1.0\n")
    assert licence_of(video) == "CC0-1.0"


@pytest.mark.parametrize("content", ["not json", "[1]", '{"license": 3}', ""])
def test_a_sidecar_that_says_nothing_is_no_licence(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    assert licence_of(str(tmp_path / "a.mp4"), {"license": "MIT"}) == "MIT"


def test_half_a_character_in_a_licence_becomes_a_question_mark(tmp_path):
    (tmp_path / "a.json").write_text('{"license": "CC0 \\ud83d"}')
    assert licence_of(str(tmp_path / "a.mp4")) == "CC0 ?"

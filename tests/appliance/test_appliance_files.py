"""Files of the appliance folder: whole or not at all, never over another one."""

from __future__ import annotations

import errno
import os

import pytest

from station.appliance import files
from station.appliance.files import exclusive, holds, place, replace, sweep
from station.errors import ConfigError


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_is_placed_with_its_mode(tmp_path):
    assert place(tmp_path / "sub/key", b"1")
    assert place(tmp_path / "public", b"2", 0o644)
    assert (tmp_path / "sub/key").read_bytes() == b"1"
    assert (tmp_path / "sub/key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "public").stat().st_mode & 0o077 == 0o044
    assert names(tmp_path) == ["public", "sub"]


def test_the_same_content_is_left_alone(tmp_path):
    place(tmp_path / "key", b"1")
    before = (tmp_path / "key").stat()
    assert not place(tmp_path / "key", b"1")
    assert holds(tmp_path / "key", b"1")
    after = (tmp_path / "key").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_content_is_refused(tmp_path):
    place(tmp_path / "key", b"1")
    for act in (place, holds):
        with pytest.raises(ConfigError, match="never overwritten"):
            act(tmp_path / "key", b"2")
    assert (tmp_path / "key").read_bytes() == b"1"
    assert names(tmp_path) == ["key"]
    assert not holds(tmp_path / "other", b"2")


def test_somebody_who_is_quicker_wins(tmp_path, monkeypatch):
    """Between the look and the write another process makes the file."""
    monkeypatch.setattr(files, "holds", lambda path, data: path.write_bytes(b"theirs") and False)
    with pytest.raises(ConfigError, match="never overwritten"):
        place(tmp_path / "key", b"ours")
    assert (tmp_path / "key").read_bytes() == b"theirs"
    assert names(tmp_path) == ["key"]


@pytest.fixture
def fat(monkeypatch):
    """As Linux says it: that file system has no such call."""

    def no_links(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)


def test_a_medium_without_hard_links(tmp_path, fat):
    assert place(tmp_path / "token", b"1")
    assert not place(tmp_path / "token", b"1")
    with pytest.raises(ConfigError, match="never overwritten"):
        place(tmp_path / "token", b"2")
    assert (tmp_path / "token").read_bytes() == b"1"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["token"]


def test_somebody_who_is_quicker_wins_without_hard_links_too(tmp_path, fat, monkeypatch):
    monkeypatch.setattr(files, "holds", lambda path, data: path.write_bytes(b"theirs") and False)
    with pytest.raises(ConfigError, match="never overwritten"):
        place(tmp_path / "key", b"ours")
    assert (tmp_path / "key").read_bytes() == b"theirs"
    assert names(tmp_path) == ["key"]


def test_another_failure_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(ConfigError, match=r"expected to write .*key: Input/output error"):
        place(tmp_path / "key", b"1")
    assert names(tmp_path) == []


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match=r"expected to write .*key: No space left on device; make room"):
        place(tmp_path / "key", b"1")
    assert names(tmp_path) == []
    monkeypatch.undo()
    assert place(tmp_path / "key", b"1")


def test_replacing_is_checked_before_it_counts(tmp_path):
    replace(tmp_path / "file", b"1", 0o600)
    replace(tmp_path / "file", b"2", 0o600, lambda staged: staged.read_bytes() == b"2")

    def refuse(staged):
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        replace(tmp_path / "file", b"3", 0o600, refuse)
    assert (tmp_path / "file").read_bytes() == b"2"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["file"]


def test_sweeping_leaves_files_of_others(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in (".a.12.staged", "sub/.b.12.staged", ".endpoint.json.12.staged", "c", ".d"):
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path, ("endpoint.json",))
    assert names(tmp_path) == [".d", ".endpoint.json.12.staged", "c", "sub"]
    assert names(tmp_path / "sub") == []


def test_a_lock_is_held_by_one(tmp_path):
    with (
        exclusive(tmp_path / "lock", "taken"),
        pytest.raises(ConfigError, match="taken"),
        exclusive(tmp_path / "lock", "taken"),
    ):
        pass
    with exclusive(tmp_path / "lock", "taken"):
        pass


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "key").mkdir()
    with pytest.raises(ConfigError, match="expected to read"):
        place(tmp_path / "key", b"1")

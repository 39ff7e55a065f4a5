"""A full disk, a read-only file system, rights that are missing: one sentence with the reason, never a stack trace."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ceremony_bench import Bench

from station import cli, file_errors
from station.appliance import database_sqlite, doctor, store_commands
from station.appliance.ceremony import commands
from station.appliance.ceremony.machine import FILE
from station.appliance.device_store import DeviceStore
from station.appliance.doctor import Level, examine
from station.errors import ConfigError


@pytest.fixture
def full(monkeypatch):
    """A disk without room: what was written does not get there. ``os.fsync`` names no file, as ``write`` does not."""

    def refuse(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", refuse)


@pytest.fixture
def read_only(monkeypatch):
    """Opening for writing is refused, as on a read-only file system; root may not, either."""
    open_, file_open, access = os.open, io.open, os.access

    def refused(path) -> OSError:
        return OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def open_descriptor(path, flags, *more, **named):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise refused(path)
        return open_(path, flags, *more, **named)

    def open_file(path, mode="r", *more, **named):
        if set(mode) & set("wax+") and isinstance(path, (str, Path)):
            raise refused(path)
        return file_open(path, mode, *more, **named)

    def set_up() -> None:
        monkeypatch.setattr(os, "open", open_descriptor)
        monkeypatch.setattr(io, "open", open_file)
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))

    return set_up


def said_by(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    """Exit code and stderr of a command of this process."""
    monkeypatch.setattr(sys, "argv", ["station", *map(str, arguments)])
    monkeypatch.setattr(commands, "_begin_process", lambda *_: None)
    code = cli.command_line()
    return code, capsys.readouterr().err


def test_init_on_a_full_disk(tmp_path, monkeypatch, capsys, full):
    full()
    code, said = said_by(monkeypatch, capsys, "appliance", "init", tmp_path / "new")
    assert code == 2
    assert said == (
        f"station: expected to make an appliance in {tmp_path / 'new'}, but: No space left on device; "
        "make room on the disk\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_step_of_the_ceremony_on_a_full_disk(tmp_path, monkeypatch, capsys, full):
    bench = Bench(tmp_path)
    bench.spm_init()
    names = set(bench.spm.rglob("*"))
    full()
    people = ("--operator", "a", "--witness", "b")
    command = ("appliance", "ceremony", "tls-csr", bench.spm, "--name", "pa-service", *people)
    code, said = said_by(monkeypatch, capsys, *command)
    assert code == 2
    assert said.startswith(f"station: expected to use {bench.spm}/") and said.count("\n") == 1
    assert "No space left on device; make room on the disk" in said
    assert set(bench.spm.rglob("*")) == names, "nothing half done is left"


def test_a_first_step_without_room_leaves_no_machine(tmp_path, monkeypatch, capsys, full):
    full()
    people = ("--operator", "a", "--witness", "b")
    code, said = said_by(
        monkeypatch, capsys, "appliance", "ceremony", "spm-init", tmp_path / "spm", "--realm", "dev", *people
    )
    assert (code, said.count("\n")) == (2, 1)
    assert "No space left on device" in said
    assert list(tmp_path.iterdir()) == []


def test_a_ceremony_on_a_read_only_file_system(tmp_path, monkeypatch, capsys, read_only):
    bench = Bench(tmp_path)
    bench.spm_init()
    read_only()
    shown: list[str] = []
    assert commands.transcript_command(bench.spm, say=shown.append) == 0
    assert "spm-init: done" in shown[0], "who only reads needs no lock"
    people = ("--operator", "a", "--witness", "b")
    code, said = said_by(
        monkeypatch, capsys, "appliance", "ceremony", "spm-sku-csr", bench.spm, "--sku", "sival", *people
    )
    assert code == 2
    assert said == (
        f"station: expected to use {bench.spm / 'ceremony.lock'}, but: Read-only file system; make the file system "
        "writable, or name another place\n"
    )


def test_the_transcript_of_no_ceremony(tmp_path):
    with pytest.raises(ConfigError, match=f"expected {FILE} in"):
        commands.transcript_command(tmp_path)


def test_serve_on_a_read_only_file_system(folder, monkeypatch, capsys, read_only):
    from station.appliance.serving_process import alone_in_folder
    from station.appliance.settings import read_settings

    settings = read_settings(folder)
    read_only()
    with pytest.raises(ConfigError, match=r"serve\.lock, but: Read-only file system"), alone_in_folder(settings):
        pass


def test_doctor_on_a_read_only_file_system(folder, read_only):
    with closing(DeviceStore(folder / "registry.db")):
        (folder / "serve.lock").touch()
        (folder / "audit.jsonl").touch()
        read_only()
        found = {check.check: check for check in examine(folder) if check.level is Level.WRONG}
    assert set(found) >= {"device store", "audit log"}
    for check in ("device store", "audit log"):
        assert "Read-only file system; make the file system writable" in found[check].sentence
    assert {"TLS", "keystore", "port"} <= {check.check for check in examine(folder) if check.level is Level.OK}


@pytest.mark.parametrize(
    ("name", "check"), [("exposed", "files"), ("read_tls", "TLS"), ("is_served", "serving process")]
)
def test_what_doctor_cannot_look_at_is_one_line_and_the_others_go_on(folder, monkeypatch, name, check):
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/a/file")

    usual = [one.check for one in examine(folder)]
    monkeypatch.setattr(doctor, name, refuse)
    found = examine(folder)
    wrong = [one for one in found if one.level is Level.WRONG and one.check == check]
    assert [one.sentence for one in wrong] == [
        "expected to use /a/file, but: Input/output error; correct the path, or look at the disk"
    ]
    assert set(usual) <= {one.check for one in found}


@pytest.mark.parametrize(
    "break_", [Path.mkdir, lambda path: path.symlink_to("/dev/full/x"), lambda path: path.symlink_to("nowhere/x")]
)
def test_doctor_and_an_audit_log_that_cannot_be_written(folder, break_):
    """A directory, or a place where nothing can be made."""
    (folder / "audit.jsonl").unlink(missing_ok=True)
    assert [one.level for one in examine(folder) if one.check == "audit log"] == [Level.OK]
    break_(folder / "audit.jsonl")
    (found,) = [one for one in examine(folder) if one.check == "audit log"]
    assert found.level is Level.WRONG
    assert "expected to" in found.sentence


def sqlite_error(code: int, text: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_FULL, "make room on the disk"),
        (sqlite3.SQLITE_IOERR | 18 << 8, "make room on the disk"),
        (sqlite3.SQLITE_CANTOPEN, "let this user write to it and to its folder"),
        (sqlite3.SQLITE_READONLY | 1 << 8, "let this user write to it and to its folder"),
        (sqlite3.SQLITE_CORRUPT, "restore it from a copy"),
        (sqlite3.SQLITE_NOTADB, "restore it from a copy"),
    ],
)
def test_only_a_damaged_database_is_to_be_restored(tmp_path, monkeypatch, code, advice):
    """An older registry must not be put over a good one because a disk was full."""
    error = sqlite_error(code, "as SQLite says")

    class Connection(sqlite3.Connection):
        def execute(self, *_):
            raise error

    connect = sqlite3.connect
    monkeypatch.setattr(database_sqlite.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Connection))
    with pytest.raises(ConfigError, match=f"as SQLite says; {advice}$"):
        DeviceStore(tmp_path / "registry.db")


@pytest.mark.parametrize("command", ["account", "pending", "anchors"])
def test_damaged_databases(folder, command):
    for name in ("registry.db", "counters.db"):
        (folder / name).write_bytes(b"no database" * 500)
    with pytest.raises(ConfigError, match="file is not a database; restore it from a copy"):
        getattr(store_commands, f"{command}_command")(folder=folder)


def test_an_error_of_the_program_is_no_file_error(monkeypatch, capsys):
    monkeypatch.setattr(cli, "cli", lambda **_: {}["name"])
    assert cli.command_line() == 70
    assert "KeyError" in capsys.readouterr().err
    assert not file_errors.is_file_error(OSError(errno.EBADF, "bad"))
    assert file_errors.is_file_error(PermissionError(errno.EACCES, "no"))

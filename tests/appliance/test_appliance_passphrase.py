"""Where passphrases and PINs come from: what is read, what is refused, what the sentences say."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from station.appliance.files import write_private
from station.appliance.passphrase import LIMIT, SecretSource, parse_source, read_secret, reader
from station.errors import ConfigError
from station.secret import Secret

ROOT = Path(__file__).resolve().parents[2]
GOOD = Secret(b"correct horse", "PIN")


def pipe(data: bytes) -> SecretSource:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(data)
    return SecretSource("fd", str(reading))


def test_sources_by_their_text(tmp_path):
    assert parse_source("keystore.pin", tmp_path) == SecretSource("file", str(tmp_path / "keystore.pin"))
    assert parse_source("/run/pin", tmp_path) == SecretSource("file", "/run/pin")
    assert parse_source("fd:7", tmp_path) == SecretSource("fd", "7")
    assert parse_source("credential:hsm-pin", tmp_path) == SecretSource("credential", "hsm-pin")
    assert parse_source("prompt", tmp_path) == SecretSource("prompt")
    for wrong in ("fd:", "fd:-1", "fd:1x", "credential:", "credential:../pin", "credential:/etc/shadow"):
        with pytest.raises(ConfigError):
            parse_source(wrong, tmp_path)


def test_file(tmp_path):
    write_private(tmp_path / "pin", b"correct horse\n")
    source = parse_source("pin", tmp_path)
    assert read_secret(source, "PIN") == GOOD
    (tmp_path / "pin").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(source, "PIN")


def test_descriptor_is_read_once_and_kept_for_the_next_login():
    read = reader(pipe(b"correct horse\n"), "PIN")
    assert read() == read() == GOOD


def test_a_descriptor_that_is_not_open():
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(ConfigError, match=f"PIN from file descriptor {reading}: Bad file descriptor"):
        read_secret(SecretSource("fd", str(reading)), "PIN")


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "saw nothing"), (b" \n", "saw nothing"), (b"x" * (LIMIT + 1), "much")]
)
def test_nothing_and_too_much(data, said):
    with pytest.raises(ConfigError, match=said):
        read_secret(pipe(data), "PIN")


def test_credential_may_be_changed_while_we_run(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "hsm-pin").write_bytes(b"old")
    read = reader(parse_source("credential:hsm-pin", tmp_path), "PIN")
    assert read() == Secret(b"old", "PIN")
    (tmp_path / "hsm-pin").write_bytes(b"correct horse")
    assert read() == GOOD


def test_credential_outside_a_service(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="LoadCredential=hsm-pin"):
        read_secret(SecretSource("credential", "hsm-pin"), "PIN")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match="service credential hsm-pin: No such file"):
        read_secret(SecretSource("credential", "hsm-pin"), "PIN")


ASK = (
    "from station.appliance.passphrase import SecretSource, read_secret; from station.errors import ConfigError\n"
    "try: print(len(read_secret(SecretSource('prompt'), 'HSM PIN')))\n"
    "except ConfigError as error: print(error)\n"
)


def test_prompt_shows_nothing_of_the_answer():
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", ASK], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        assert b"HSM PIN:" in os.read(ours, 1000)
        os.write(ours, b"correct horse\n")
        assert process.communicate(timeout=30)[0].strip() == b"13"
        try:
            shown = os.read(ours, 1000)
        except OSError:  # Linux says EIO when the other end is closed
            shown = b""
        assert b"horse" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_prompt_without_a_terminal():
    done = subprocess.run(
        [sys.executable, "-c", ASK], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.startswith("expected a terminal to ask for the HSM PIN")

"""The systemd unit and the container file: what they say about the program is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from station.appliance.keystore_settings import REFUSED_PIN
from station.appliance.passphrase import parse_source
from station.appliance.server import DRAIN_SECONDS
from station.appliance.service_server import GOODBYE_SECONDS
from station.cli import appliance as group
from station.errors import PinError
from station.processes import ALLOWED

ROOT = Path(__file__).resolve().parents[2]
UNIT = (ROOT / "resources/systemd/station-appliance.service").read_text()
CONTAINER = (ROOT / "resources/containers/Containerfile.appliance").read_text()


def unit() -> dict[str, list[str]]:
    """Every key of the unit with its values in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize(
    "command",
    [
        unit()["ExecStart"][0].split()[1:],
        [word.strip('" ,') for word in re.findall(r"ENTRYPOINT \[(.*)\]", CONTAINER)[0].split(",")][1:],
    ],
    ids=["unit", "container"],
)
def test_the_program_knows_the_command(command):
    assert command[:2] == ["appliance", "serve"]
    assert command[-1] == "--json"
    parsed = group.commands["serve"].make_context("serve", command[2:])
    assert parsed.params["folder"].is_absolute()
    assert parsed.params["as_json"] is True


@pytest.mark.parametrize("text", [UNIT, CONTAINER], ids=["unit", "container"])
def test_commands_in_the_comments_exist(text):
    named = re.findall(r"appliance (doctor|init|serve)", text)
    assert "doctor" in named
    for name in named:
        assert CliRunner().invoke(group, [name, "--help"]).exit_code == 0


def test_the_credential_is_the_one_of_the_settings():
    (credential,) = unit()["LoadCredentialEncrypted"]
    (line,) = re.findall(r'passphrase = "(.*)"', UNIT)
    assert (parse_source(line, Path()).kind, parse_source(line, Path()).value) == ("credential", credential)
    assert "CREDENTIALS_DIRECTORY" in ALLOWED


def test_the_end_is_waited_for_and_the_process_is_closed():
    told = unit()
    assert told["KillSignal"] == ["SIGTERM"]
    assert int(told["TimeoutStopSec"][0]) > DRAIN_SECONDS + GOODBYE_SECONDS
    assert told["StateDirectory"] == ["station-appliance"]
    assert told["ExecStart"][0].split()[3] == "/var/lib/station-appliance"
    assert told["LimitCORE"] == ["0"]
    assert told["UMask"] == ["0077"]
    assert told["User"] != ["root"]
    assert told["RestartPreventExitStatus"] == [str(PinError.exit_code)]
    assert "sched_setaffinity" in told["SystemCallFilter"]  # refused with the other @resources, then allowed again
    assert told["SystemCallErrorNumber"] == ["EPERM"]  # mbind of a library is refused: an error, not the end


def test_the_container_file_tells_of_a_refused_pin():
    comment = " ".join(line.removeprefix("#").strip() for line in CONTAINER.splitlines() if line.startswith("#"))
    assert f"exit code {PinError.exit_code}" in comment
    assert REFUSED_PIN in comment


def test_the_container_has_what_it_copies_and_a_user_of_its_own():
    user = re.findall(r"^USER (\d+)$", CONTAINER, re.M)
    assert re.findall(r"useradd --uid (\d+)", CONTAINER) == user != ["0"]
    for name in re.findall(r"-r (\S+)", CONTAINER):
        assert (ROOT / name).is_file()
        assert "setuptools==" in (ROOT / name).read_text()  # --no-build-isolation needs it
    assert "STOPSIGNAL SIGTERM" in CONTAINER

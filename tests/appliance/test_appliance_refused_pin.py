"""A PIN that the HSM refused is not sent again: not by a new start, not by another process of the folder."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import pkcs11
import pytest
from appliance_bench import Serving
from store_bench import configure
from token_bench import MODULE

from station.appliance import refused_pin
from station.appliance.commands import into_softhsm
from station.appliance.keystore_settings import REFUSED_PIN
from station.appliance.passphrase import SecretSource
from station.appliance.pki import init
from station.appliance.refused_pin import PinRefused, RefusedPin
from station.data_folder import try_lock
from station.errors import ConfigError, PinError
from station.secret import Secret

SERIAL = b"0123456789abcdef"
GOOD, BAD = Secret(b"12345678", "PIN"), Secret(b"87654321", "PIN")
AGAIN = "not tried again"


class Token:
    """How often a PIN was sent to it; wrong ones are refused."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def log_in(self, mark: RefusedPin, pin: Secret, serial: bytes = SERIAL) -> None:
        with mark.around_login(serial, pin), pin.reveal() as raw:
            self.sent.append(raw.decode())
            if pin != GOOD:
                raise pkcs11.PinIncorrect


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / REFUSED_PIN


@pytest.fixture
def token() -> Token:
    return Token()


def test_a_refused_pin_is_known_to_the_next_process(path, token):
    with pytest.raises(PinRefused, match="refuses the PIN"):
        token.log_in(RefusedPin(path), BAD)
    for _ in range(2):
        with pytest.raises(PinRefused, match=AGAIN) as refused:
            token.log_in(RefusedPin(path), BAD)
        assert "remove pin.refused when" in str(refused.value)
        assert str(path) not in str(refused.value)  # clients see the sentence
    assert token.sent == ["87654321"]
    with pytest.raises(PinRefused, match="refuses the PIN"):
        token.log_in(RefusedPin(path), BAD, b"another token   ")
    token.log_in(RefusedPin(path), GOOD)
    assert path.read_bytes() == b""


def test_the_file_tells_nobody_the_pin(path, token):
    marks = []
    for _ in range(2):
        with pytest.raises(PinRefused, match="refuses the PIN"):
            token.log_in(RefusedPin(path), BAD)
        assert path.stat().st_mode & 0o777 == 0o600
        marks.append(path.read_text())
        path.unlink()  # by hand: the PIN is the token's by now
    assert "87654321" not in "".join(marks)
    assert marks[0].split()[0] != marks[1].split()[0]  # a salt of its own


@pytest.mark.parametrize("text", [b"", b"00ff", b"zz 00", b"\xff\xfe\x00", b"00 00 00\n"])
def test_a_torn_mark_is_none(path, token, text):
    path.write_bytes(text)
    token.log_in(RefusedPin(path), GOOD)
    assert path.read_bytes() == b""


def test_other_failures_of_a_login_say_nothing_of_the_pin(path):
    mark = RefusedPin(path)
    for failure in (pkcs11.DeviceRemoved, pkcs11.PinLocked):
        with pytest.raises(pkcs11.PKCS11Error), mark.around_login(SERIAL, GOOD):
            raise failure
    assert path.read_bytes() == b""
    Token().log_in(mark, GOOD)


def test_where_no_file_can_be_the_process_still_knows(tmp_path, token, caplog):
    mark = RefusedPin(tmp_path / "absent" / REFUSED_PIN)
    with caplog.at_level(logging.WARNING), pytest.raises(PinRefused, match="refuses the PIN"):
        token.log_in(mark, BAD)
    with pytest.raises(PinRefused, match=AGAIN):
        token.log_in(mark, BAD)
    assert token.sent == ["87654321"]
    assert "a refused PIN cannot be noted in" in caplog.text
    token.log_in(mark, GOOD)


def test_one_login_at_a_time(path, token, monkeypatch):
    monkeypatch.setattr(refused_pin, "WAIT_SECONDS", 0.0)
    with path.open("a+") as other:
        assert try_lock(other)
        with pytest.raises(pkcs11.PKCS11Error, match="another process of this folder does not end its login"):
            token.log_in(RefusedPin(path), GOOD)
    assert token.sent == []
    token.log_in(RefusedPin(path), GOOD)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_what_root_makes_in_a_folder_belongs_to_its_owner(path, token):
    os.chown(path.parent, 12345, 12346)
    token.log_in(RefusedPin(path), GOOD)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


# ---- with a token ---------------------------------------------------------------------------------------------------

with_softhsm = pytest.mark.skipif(not Path(MODULE).exists(), reason="SoftHSM2 is not installed")


@with_softhsm
def test_the_keystore_is_refused_with_an_error_of_its_own(own, tmp_path):
    wrong = tmp_path / "wrong.pin"
    wrong.write_text("87654321")
    wrong.chmod(0o600)
    settings = replace(own.settings, pin=SecretSource("file", str(wrong)))
    for said in ("refuses the PIN", AGAIN):
        with pytest.raises(PinError, match=said), own.opened(settings):
            pass
    with own.opened():
        assert own.settings.refused_pin.read_bytes() == b""


@pytest.fixture
def folder(tmp_path) -> Path:
    """An appliance whose keys are in a SoftHSM of its own."""
    init(tmp_path / "appliance", ["station-1"], finish=into_softhsm())
    return tmp_path / "appliance"


@with_softhsm
def test_a_service_that_starts_again_and_again_sends_it_once(folder):
    pin = folder / "keystore.pin"
    right = pin.read_bytes()
    pin.write_bytes(b"87654321")
    for _ in range(3):
        appliance = Serving(folder)
        assert not appliance.ready
        assert appliance.wait() == PinError.exit_code
    log = appliance.log.read_text()
    assert (log.count("the token refuses the PIN"), log.count(AGAIN)) == (1, 2)
    assert "Traceback" not in log
    pin.write_bytes(right)
    appliance = Serving(folder)
    assert appliance.ready
    assert appliance.stop() == 0


@with_softhsm
def test_workers_send_it_once_and_are_not_started_again(folder):
    configure(folder, workers=2)
    appliance = Serving(folder)
    (folder / "keystore.pin").write_bytes(b"87654321")
    children = Path(f"/proc/{appliance.process.pid}/task/{appliance.process.pid}/children").read_text().split()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    assert appliance.wait() == PinError.exit_code
    log = appliance.log.read_text()
    assert (log.count("the token refuses the PIN"), log.count(AGAIN)) == (1, 1)
    assert log.count("it is not started again: correct the PIN and restart") == 2


@with_softhsm
def test_the_first_worker_finds_out_for_all(folder):
    configure(folder, workers=4)
    (folder / "keystore.pin").write_bytes(b"87654321")
    appliance = Serving(folder)
    assert appliance.wait() == PinError.exit_code
    log = appliance.log.read_text()
    assert (log.count("the token refuses the PIN"), log.count(AGAIN)) == (1, 0)


def test_a_refused_pin_is_a_refused_configuration():
    assert issubclass(PinError, ConfigError)
    assert PinError.exit_code != ConfigError.exit_code

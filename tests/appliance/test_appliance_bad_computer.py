"""What a bad computer does: a full disk, an HSM that is removed or refuses the PIN (rows of bad_bench)."""

from __future__ import annotations

import resource
import sqlite3
import time
from pathlib import Path

import grpc
import pytest
from appliance_bench import (
    WAIT,
    Served,
    TestPart,
    copy_folder,
    dice_ca_of,
    endorsed,
    was_of,
)
from bad_bench import Scene, refused, scene_of
from token_bench import MODULE

from station.appliance.pkcs11_provision import provision_folder


@pytest.fixture
def own(tmp_path, made):
    """A scene for one test, which may break it."""
    served = Served(copy_folder(made, tmp_path / "appliance"))
    scene = scene_of(served)
    yield scene
    scene.close()
    assert served.stop() == 0
    assert "Traceback" not in served.log.read_text()


def registrations(folder: Path) -> int:
    connection = sqlite3.connect(f"{(folder / 'registry.db').as_uri()}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM registrations").fetchone()[0])
    finally:
        connection.close()


def test_the_disk_is_full_and_has_room_again(own):
    """A limit on file sizes stands for the full disk: writes beyond it fail, as they do there."""
    uds = endorsed(own.station, own.part)
    largest = max(path.stat().st_size for path in own.folder.glob("registry.db*"))
    limited = (largest + 30_000, resource.RLIM_INFINITY)
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, limited)
    acknowledged = 0
    for number in range(1, 200):
        data = own.part.registration(uds)
        data.device_data.device_id.hardware_origin.device_identification_number = number
        try:
            own.station.call("RegisterDevice", data)
            acknowledged += 1
        except grpc.RpcError as error:
            assert error.code().name == "INTERNAL"
            break
    assert 0 < acknowledged < 199
    text = refused(own, lambda s: s.send("RegisterDevice", data), "INTERNAL", 1)
    assert "could not be stored" in text
    assert registrations(own.folder) == acknowledged
    assert was_of(own.station) == own.was  # what needs no disk goes on
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, unlimited)
    own.station.call("RegisterDevice", data)
    assert registrations(own.folder) == acknowledged + 1


def test_no_endorsement_that_cannot_be_counted(own):
    """With a work order the count must be on the disk before the certificates leave."""
    (own.folder / "stations.toml").write_text(
        '[[work_order]]\nname = "WO"\nquota = 1000\n'
        '[[station]]\nname = "ft"\ncertificate = "station-1"\nskus = ["*"]\nroles = ["CP", "FT"]\nwork_order = "WO"\n'
    )
    endorsed(own.station, own.part)
    largest = max(path.stat().st_size for path in own.folder.glob("counters.db*"))
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    text = refused(
        own, lambda s: s.send("EndorseCerts", s.endorsement(TestPart(dice_ca_of(s.folder)).uds_tbs)), "INTERNAL", 1
    )
    assert "cannot count" in text
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, unlimited)
    assert endorsed(own.station, TestPart(dice_ca_of(own.folder), 2))


@pytest.fixture
def with_token(tmp_path, made):
    """A scene whose keys are in a SoftHSM."""
    folder = copy_folder(made, tmp_path / "appliance")
    provision_folder(folder, MODULE)
    served = Served(folder, environment={"SOFTHSM2_CONF": str(folder / "softhsm/softhsm2.conf")})
    scene = scene_of(served)
    yield scene
    scene.close()
    assert served.stop() == 0
    assert "Traceback" not in served.log.read_text()


def test_the_hsm_is_removed(with_token):
    tokens = with_token.folder / "softhsm/tokens"
    tokens.rename(tokens.with_name("hidden"))
    request = with_token.endorsement(with_token.part.uds_tbs)
    for _ in range(2):
        text = refused(with_token, lambda s: s.send("EndorseCerts", request), "INTERNAL", 1)
        assert "the HSM does not do its work" in text
    tokens.with_name("hidden").rename(tokens)
    when_it_answers(with_token, request)


def test_the_pin_is_refused(with_token):
    """As a locked one: SoftHSM locks none. The PIN is sent once; a good one at its source is taken up."""
    tokens, pin = with_token.folder / "softhsm/tokens", next(with_token.folder.rglob("*.pin"))
    good = pin.read_bytes()
    pin.write_bytes(b"no such PIN\n")
    tokens.rename(tokens.with_name("hidden"))
    request = with_token.endorsement(with_token.part.uds_tbs)
    refused(with_token, lambda s: s.send("EndorseCerts", request), "INTERNAL", 1)
    tokens.with_name("hidden").rename(tokens)
    end = time.monotonic() + WAIT
    text = ""
    while "the token refuses the PIN" not in text and time.monotonic() < end:
        text = refused(with_token, lambda s: s.send("EndorseCerts", request), "INTERNAL", 1)
        time.sleep(0.2)
    assert "PIN" in text
    assert "no such PIN" not in text + with_token.served.log.read_text()
    pin.write_bytes(good)
    when_it_answers(with_token, request)


def when_it_answers(scene: Scene, request) -> None:
    """A lost token is looked for once a second."""
    end = time.monotonic() + WAIT
    while True:
        try:
            assert scene.station.call("EndorseCerts", request).certs
            return
        except grpc.RpcError:
            assert time.monotonic() < end, "the token is back and is not used"
            time.sleep(0.2)

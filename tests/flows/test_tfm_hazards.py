"""Ways in which a part would leave as something else than its record says, each tried."""

from __future__ import annotations

import hashlib
import json
import re
import time

import pytest
from test_tfm_flow import passed, stop_before, untouched_twice

from drivers.pyocd_probe.probe import PyocdProbe
from station.data_folder import DataFolder
from station.deadline import Deadline
from station.errors import AdapterLost, BenchError, ConfigError
from station.flows.tfm_provisioning import PLAN
from station.formats import tfm_console
from station.journal import Journal
from station.model import ResetKind, Segment, Span
from station.parts import PartServices

YES = 0


def another_station(bench):
    """The same part, and a station that has never seen it."""
    bench.close_socket()
    bench.close_journal()
    bench.journal = Journal(DataFolder(bench.folder / "another"), "TEST-2", ballast_bytes=4096)


def without_network_image(bench, lock, **tfm):
    folder = bench.build(tfm_app={"lock_net": False, **tfm})
    pack = folder / "pack.toml"
    text = re.sub(r"\[image\.tfm_net\]\nfile = .*\nsha256 = .*\n", "", pack.read_text())
    pack.write_text(text.replace('net_lock = "production"', f'net_lock = "{lock}"'))


# ---- the network core's debug port -----------------------------------------------------------------------------


def test_a_network_core_that_is_off_is_not_taken_for_a_closed_one(nordic):
    bench = nordic("nrf5340")
    bench.build(tfm_app={"lock_net": False, "starts_net": False})
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "debug_open") and "nothing shows that it is on" in result.reason
    assert bench.chip["cores"]["net"]["approtect"] == 0x50FA50FA


class Glitch:
    """A console whose line gives one strange byte whenever the part is reset."""

    def __init__(self, port):
        self.port, self.stray = port, b""

    def clear(self):
        self.port.clear()
        self.stray = b"\x00"

    def read(self, deadline):
        stray, self.stray = self.stray, b""
        return stray + self.port.read(deadline)


def test_a_stray_byte_on_its_line_is_no_word_of_the_network_core(nordic):
    bench = nordic("nrf5340")
    bench.build(tfm_app={"lock_net": False, "starts_net": False})

    def glitch(part, run):
        part._consoles._ports["net"] = Glitch(part._consoles._ports["net"])

    result = bench.run(before=glitch)
    assert (result.kind, result.bin) == ("fail", "debug_open") and "nothing shows that it is on" in result.reason


@pytest.mark.parametrize("image", [True, False])
def test_this_station_closes_the_network_core(nordic, image):
    """With net_lock = "host" the word itself is the proof, whatever the firmware does with that core."""
    bench = nordic("nrf5340", net_lock="host")
    if image:
        bench.build(tfm_app={"lock_net": False, "starts_net": False})
    else:
        without_network_image(bench, "host", starts_net=False)
    result = passed(bench.run())
    assert "net_lock" in result.witness.burns and bench.chip["cores"]["net"]["approtect"] == 0
    assert bench.kept_json("debug_port_closed")["net"] == "closed: UICR.APPROTECT 0x00000000"
    untouched_twice(bench.chip)


@pytest.mark.parametrize(("where", "cycle"), [("net_lock", False), ("install", True), ("boot", True)])
def test_a_host_locked_network_core_is_resumed(nordic, where, cycle):
    bench = nordic("nrf5340", net_lock="host")
    bench.build(tfm_app={"lock_net": False, "starts_net": False})
    assert bench.run(before=stop_before(where)).kind == "hold"
    if cycle:
        bench.power_cycle()
    passed(bench.run())
    assert bench.chip["cores"]["net"]["approtect"] == 0


def test_a_network_core_that_closed_before_its_word_was_written_is_not_called_locked(nordic):
    """Its firmware of today does not open the port, that of tomorrow may."""
    bench = nordic("nrf5340", net_lock="host")
    assert bench.run(before=stop_before("net_lock")).kind == "hold"
    probe = bench.ports()["probe"]
    probe.attach()
    probe.erase("net", [Span(0x0100_0000, 4)])
    bench.power_cycle()
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "network_core") and "closed before this station" in result.reason
    assert bench.chip["cores"]["net"]["approtect"] == 0x50FA50FA


def test_an_open_part_keeps_its_network_core_open_until_its_word_is_written(nordic):
    """It was erased elsewhere and has nothing in the network core that would open that port after the next reset."""
    bench = nordic("nrf5340", net_lock="host")
    without_network_image(bench, "host", starts_net=False)
    assert bench.run(suffix="-recover").bin == "recovered"
    probe = bench.ports()["probe"]
    probe.attach()
    part_of(bench).network.access()
    probe.erase("net", [Span(0x0100_0000, 4)])
    another_station(bench)
    passed(bench.run())
    assert bench.chip["cores"]["net"]["approtect"] == 0


def part_of(bench):
    recipe = bench.recipe()
    services = PartServices(lambda *_: None, lambda _: None, None, {**recipe.pack.settings, **recipe.settings})
    return recipe.part(bench.ports(), services)


def test_a_network_core_that_lost_its_image_gets_it_again(nordic):
    bench = nordic("nrf5340")
    assert bench.run(before=stop_before("network")).kind == "hold"
    probe = bench.ports()["probe"]
    probe.attach()
    probe.erase("net", [Span(0x0100_0000, 4)])
    passed(bench.run())
    assert bench.chip["cores"]["net"]["image"] == "tfm_net"


def test_a_pack_whose_firmware_is_to_close_a_core_without_firmware_is_refused(nordic):
    bench = nordic("nrf5340")
    without_network_image(bench, "production")
    with pytest.raises(ConfigError, match="expected the image 'tfm_net'"):
        bench.recipe()


def late(monkeypatch, error, seconds=0.6):
    """The reset before the image's run is reported as failed after the image has run."""
    real = PyocdProbe.reset

    def reset(self, kind):
        real(self, kind)
        if kind is ResetKind.SYSTEM:
            time.sleep(seconds)
            raise error

    monkeypatch.setattr(PyocdProbe, "reset", reset)


def test_a_child_image_that_failed_unheard_is_found_out(nordic, monkeypatch):
    bench = nordic("nrf5340", net_lock="child_image")
    bench.build(tfm_app={"lock_net": False, "starts_net": False})
    bench.fault("net_protect_failure")
    late(monkeypatch, BenchError("the part does not answer on SWD"))
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "console") and "console_app" in bench.kept()
    bench.close_socket()
    bench.power_cycle()
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "network_core") and "nothing shows" in result.reason


def test_the_child_image_is_taken_away_where_nothing_replaces_it(nordic):
    bench = nordic("nrf5340", net_lock="child_image")
    without_network_image(bench, "child_image")
    passed(bench.run())
    assert bench.chip["cores"]["net"]["image"] == "" and bench.chip["cores"]["app"]["image"] == "tfm_app"


def test_a_child_image_that_closed_the_port_for_nothing_is_no_clean_part(nordic):
    """The application core's image died before it burnt anything; the network core's port is closed for good."""
    bench = nordic("nrf5340", net_lock="child_image")
    bench.fault("panic:lcs")
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "network_core") and "nothing was burnt" not in result.reason
    assert bench.chip["cores"]["net"]["approtect"] == 0 and bench.chip["lc_state"] == "ASSEMBLY"
    assert bench.run().bin == "network_core" and bench.chip["lc_state"] == "ASSEMBLY"
    assert bench.run(suffix="-recover").bin == "recovered"
    passed(bench.run())


def test_an_armed_network_core_of_another_station_is_erased_before_any_key_is_made(nordic):
    bench = nordic("nrf5340", net_lock="child_image")
    bench.fault("panic:lcs")
    assert bench.run().bin == "network_core"
    another_station(bench)
    result = passed(bench.run())
    assert len(result.witness.questions) == 1 and "network core is closed" in result.witness.questions[0]


@pytest.mark.parametrize("fault", ["console_silence:net", "ports_swapped", "console_silence"])
def test_a_console_that_failed_costs_no_part_whose_network_core_closes(nordic, fault):
    """Keys are made, the network core closes at its next reset: its firmware is put in before anything is judged."""
    bench = nordic("nrf5340", net_lock="child_image", provisioning_seconds=0.7)
    bench.fault(fault)
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "console"), result
    assert bench.chip["lc_state"] == "PROVISIONING" and bench.chip["cores"]["net"]["image"] == "tfm_net"
    bench.fault("clear")
    bench.close_socket()
    bench.power_cycle()
    passed(bench.run())


# ---- what an ordinary recipe may erase -------------------------------------------------------------------------


def test_keys_of_another_station_are_not_erased_for_a_closed_network_core(nordic):
    """The application core can be read: that it is no new part is seen before anybody is asked, or was for the lot."""
    bench = nordic("nrf5340", net_lock="child_image")
    assert bench.run("P000009", before=stop_before("console")).kind == "hold"
    bench.close_socket()
    bench.power_cycle()
    another_station(bench)
    first = f"part-{bench.count:03}"
    bench.insert(f"a-new-one-{bench.count}")
    passed(bench.run("P000001"))
    bench.insert(first)
    erased = len(bench.chip["erase_alls"])
    result = bench.run("P000002")
    assert (result.kind, result.bin) == ("fail", "already_provisioned") and result.witness.questions == []
    assert len(bench.chip["erase_alls"]) == erased and bench.chip["lc_state"] == "PROVISIONING"


def test_a_decommissioned_part_is_not_erased_for_a_closed_network_core(nordic):
    bench = nordic("nrf5340")
    assert bench.run(suffix="-recover").bin == "recovered"
    bench.fault("wrong_state:DECOMMISSIONED")
    bench.fault("locked:net")
    another_station(bench)
    bench.power_cycle()
    erased = len(bench.chip["erase_alls"])
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "wrong_state") and len(bench.chip["erase_alls"]) == erased


def test_an_erase_protected_network_core_is_seen_at_once(nordic):
    bench = nordic("nrf5340")
    bench.fault("erase_protected:net")
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "erase_protected") and bench.chip["erase_alls"] == []


# ---- an image that would provision unwatched -------------------------------------------------------------------


def early(monkeypatch):
    """The reset before the image's run fails before it is carried out."""
    real = PyocdProbe.reset

    def reset(self, kind):
        if kind is ResetKind.SYSTEM:
            raise BenchError("the part does not come back")
        return real(self, kind)

    monkeypatch.setattr(PyocdProbe, "reset", reset)


@pytest.mark.parametrize("chip", ["nrf9160", "nrf5340"])
def test_an_image_that_did_not_run_is_taken_away_whatever_ended_the_run(nordic, monkeypatch, chip):
    bench = nordic(chip, **({"net_lock": "child_image"} if chip == "nrf5340" else {}))
    with monkeypatch.context() as patch:
        early(patch)
        result = bench.run()
    assert result.kind == "bench" and result.part_state == "nothing was burnt"
    assert {core["image"] for core in bench.chip["cores"].values()} == {""}
    bench.close_socket()
    bench.power_cycle()
    assert bench.chip["lc_state"] == "ASSEMBLY"
    passed(bench.run())


def test_an_image_that_could_not_be_taken_away_is_no_clean_part(nordic, monkeypatch):
    bench = nordic("nrf9160", provisioning_seconds=0.7)
    bench.fault("hang:start")
    real = PyocdProbe.erase

    def no_erase(part, run):
        def erase(probe, core, spans):
            if part._armed:
                raise BenchError("a transient of the probe")
            real(probe, core, spans)

        patch.setattr(PyocdProbe, "erase", erase)

    with monkeypatch.context() as patch:
        result = bench.run(before=no_erase)
    assert result.kind == "quarantine" and "still in it" in result.reason
    assert bench.chip["cores"]["app"]["image"] == "provisioning_app"
    bench.close_socket()
    bench.power_cycle()
    assert bench.chip["lc_state"] == "PROVISIONING", "it has provisioned itself"
    bench.release()
    passed(bench.run())


def test_a_child_image_that_could_not_be_taken_away_is_no_clean_part(nordic, monkeypatch):
    """It would close the network core's port at the next power-up, in a part that is said to be untouched."""
    bench = nordic("nrf5340", net_lock="child_image")
    real = PyocdProbe.erase

    def no_erase(part, run):
        def erase(probe, core, spans):
            if part._armed and core == "net":
                raise BenchError("a transient of the probe")
            real(probe, core, spans)

        patch.setattr(PyocdProbe, "erase", erase)

    with monkeypatch.context() as patch:
        early(patch)
        result = bench.run(before=no_erase)
    assert result.kind == "quarantine" and "still in it" in result.reason, result
    assert bench.chip["cores"]["net"]["image"] == "provisioning_net"


def test_a_core_that_may_still_write_keys_is_not_halted(nordic):
    """The time that the recipe gives the image is too short: the station waits for the chip's worst case first."""
    bench = nordic("nrf5340", provisioning_seconds=0.02)
    object.__setattr__(PLAN.provision, "settle", 2.0)
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "console") and bench.chip["lc_state"] == "PROVISIONING", result
    passed(bench.run())


# ---- what the firmware said ------------------------------------------------------------------------------------


class Spoken:
    """A console of a busy station: what came within a moment is read at once; one more line stands in it."""

    def __init__(self, port, before, line, seconds):
        self._port, self._before, self._line, self._seconds = port, before, line, seconds
        self._rest = b""

    def clear(self):
        self._port.clear()
        self._rest = b""

    def read(self, deadline):
        end = time.monotonic() + self._seconds
        data = self._rest + self._port.read(deadline)
        while time.monotonic() < end:
            data += self._port.read(Deadline(0.02))
        *whole, self._rest = data.split(b"\n")
        return b"".join((self._line + b"\r\n" if self._before in line else b"") + line + b"\n" for line in whole)


@pytest.mark.parametrize("chip", ["nrf9160", "nrf91x1"])
@pytest.mark.parametrize("seconds", [0.0, 0.7])
def test_dummy_keys_are_refused_whatever_else_the_firmware_says(nordic, chip, seconds):
    bench = nordic(chip, boot_seconds=4.0, provisioning_seconds=4.0)

    def inject(part, run):
        ports = part._consoles._ports
        line = tfm_console.DUMMY_KEYS.encode()
        ports["app"] = Spoken(ports["app"], b"Requesting initial attestation", line, seconds)

    result = bench.run(before=inject)
    assert (result.kind, result.bin) == ("fail", "dummy_key"), result
    assert tfm_console.DUMMY_KEYS in bench.kept()["console_boot"].decode()


class Dying:
    """A serial port that goes while the image makes the keys."""

    def __init__(self, port):
        self._port, self._got = port, b""

    def clear(self):
        self._port.clear()

    def read(self, deadline):
        data = self._port.read(deadline)
        if b"Generating" in self._got:
            raise AdapterLost("the console's port is gone")
        self._got += data
        return data


def test_what_was_heard_until_the_console_went_is_kept(nordic):
    bench = nordic("nrf9160")

    def inject(part, run):
        part._consoles._ports["app"] = Dying(part._consoles._ports["app"])

    object.__setattr__(PLAN.provision, "settle", 3.0)  # the image must end by itself, however slow the machine is
    result = bench.run(before=inject)
    assert result.kind == "quarantine" and "Generating" in bench.kept()["console_app"].decode()
    assert bench.kept_json("evidence_after")["life_cycle"] == "PROVISIONING"
    bench.close_socket()
    bench.release()
    passed(bench.run())


def test_a_refused_boot_and_a_half_leave_their_evidence(nordic):
    bench = nordic("nrf5340")
    bench.fault("pcd_failure")
    assert bench.run().bin == "network_core"
    assert "Failed to lock debug" in bench.kept()["console_boot"].decode()
    bench.insert(f"another-{bench.count}")
    bench.fault("huk:write")
    assert bench.run("P000042").bin == "half_provisioned"
    assert bench.kept_json("evidence_after", "P000042")["life_cycle"] == "PROVISIONING"


# ---- images ----------------------------------------------------------------------------------------------------


def test_a_part_is_finished_with_the_images_that_it_was_begun_with(nordic):
    bench = nordic("nrf5340")
    assert bench.run(before=stop_before("network")).kind == "hold"
    bench.build(tfm_app={"verification_service": "rev2"})
    result = bench.run()
    assert result.kind == "hold" and "was begun with another tfm_app" in result.reason
    bench.resources = ()
    passed(bench.run())
    digest = hashlib.sha256(bench.recipe().pack.image("tfm_app")).hexdigest()
    assert bench.kept_json("evidence_before")["images"]["tfm_app"] == digest


def test_a_part_begun_before_its_record_named_the_probe_is_finished(nordic):
    """Records of an earlier build have neither the probe nor anything but the images that a later run reads."""
    bench = nordic("nrf9160")
    assert bench.run(before=stop_before("network")).kind == "hold"
    older = {name: value for name, value in bench.kept_json("evidence_before").items() if name != "probe"}
    passed(bench.run(before=lambda part, run: run.keep("evidence_before", json.dumps(older))))
    assert bench.kept_json("evidence_before") == older


@pytest.mark.parametrize(("chip", "core", "address"), [("nrf9160", "app", 0x80000), ("nrf5340", "net", 0x0102_0000)])
def test_nothing_is_left_in_flash_that_the_record_does_not_name(nordic, chip, core, address):
    """An old image behind the new one, such as one that a bootloader would take for an update."""
    bench = nordic(chip)
    if chip == "nrf5340":
        assert bench.run(suffix="-recover").bin == "recovered"
    seen = {}

    def leave(part, run):
        part.look()
        part.network.access() if core == "net" else None
        part._probe.program(core, [Segment(address, bytes(range(256)) * 8)])
        real = part.clear_flash

        def clear():
            pages = real()
            seen.update(pages=pages, words=part._probe.read_words(core, address, 512))
            return pages

        part.clear_flash = clear

    passed(bench.run(before=leave))
    assert seen["pages"] == 1 and set(seen["words"]) == {0xFFFF_FFFF}


def test_a_part_is_not_finished_with_an_image_that_it_was_begun_without(nordic):
    bench = nordic("nrf5340", net_lock="host")
    folder = bench.build(tfm_app={"lock_net": False, "starts_net": False})
    pack = folder / "pack.toml"
    full = pack.read_text().replace('net_lock = "production"', 'net_lock = "host"')
    pack.write_text(re.sub(r"\[image\.tfm_net\]\nfile = .*\nsha256 = .*\n", "", full))
    assert bench.run(before=stop_before("console")).kind == "hold"
    pack.write_text(full)
    result = bench.run()
    assert result.kind == "hold" and "was begun with no tfm_net, which is used now" in result.reason
    assert bench.chip["cores"]["net"]["image"] != "tfm_net"

"""The virtual probe through the unmodified pyOCD, and its protocol word by word: nordic-tfm sheet 5.1 to 5.4."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from nordic_rig import CHIPS, image
from pyocd.core import exceptions
from pyocd.core.target import Target

from drivers.virtual import nrf_finder
from drivers.virtual.nrf.silicon import SILICON, UNPROTECTED
from drivers.virtual.whereabouts import start_line
from station.errors import BenchError

FORCEOFF = 0x5000_5614


def open_part(bench, net=False):
    """A part whose firmware keeps it open, in the socket."""
    chip = bench.insert()
    bench.hands.power(1, False)
    with chip.lock:
        for core in chip.cores.values():
            for place in filter(None, (core.silicon.approtect, core.silicon.secure_approtect)):
                word = UNPROTECTED if chip.silicon.hardened else 0xFFFF_FFFF
                core.uicr.force(place - core.silicon.uicr, word)
        chip.file.flash(chip.app.silicon).put(0, image(bench.chip, "keep_open_app"))
        if net:
            chip.file.flash(chip.net.silicon).put(0, image(bench.chip, "keep_open_net"))
    bench.hands.power(1, True)
    return chip


@pytest.fixture
def target(make_bench):
    """pyOCD's view of an open nRF5340."""
    bench = make_bench()
    open_part(bench)
    session = bench.session()
    session.open()
    return session.target


@pytest.mark.parametrize("chip", CHIPS)
def test_discovery(make_bench, chip):
    bench = make_bench(chip)
    open_part(bench)
    session = bench.session()
    session.open()
    (core,) = session.target.cores.values()
    assert core.name == "Cortex-M33"
    assert session.target.dp.dpidr.idr == 0x6BA0_2477
    assert session.target.dp.read_dp(0x24) == SILICON[chip].targetid
    assert session.target.read32(0x00FF_020C) == SILICON[chip].part
    assert core.supported_security_states == (Target.SecurityState.NONSECURE, Target.SecurityState.SECURE)


def test_both_cores_are_discovered_when_the_network_core_runs(make_bench):
    bench = make_bench()
    open_part(bench, net=True)
    session = bench.session()
    session.open()
    session.target.write32(FORCEOFF, 0)
    session.close()
    session = bench.session()
    session.open()
    assert len(session.target.cores) == 2
    assert session.target.aps[1].read_memory_block32(0x01FF_8000, 1) == [UNPROTECTED]


def test_halt_step_resume_and_registers(target):
    target.halt()
    assert target.get_state() is Target.State.HALTED
    before = target.read_core_register("pc")
    target.step()
    assert target.read_core_register("pc") == before + 2
    target.write_core_register("r3", 0xDEAD_0001)
    target.write_core_register("pc", before)
    assert target.read_core_register("r3") == 0xDEAD_0001
    assert target.get_security_state() is Target.SecurityState.SECURE
    target.resume()
    assert target.get_state() is Target.State.RUNNING


def test_reset_and_halt(target):
    target.reset_and_halt()
    assert target.get_state() is Target.State.HALTED
    assert target.read_core_register("pc") == target.read32(4) & ~1
    assert target.read_core_register("sp") == target.read32(0)


@pytest.mark.parametrize("kind", [Target.ResetType.SYSTEM, Target.ResetType.HARDWARE])
def test_resets(make_bench, kind):
    bench = make_bench()
    open_part(bench)
    session = bench.session()
    session.open()
    session.target.reset(kind)
    causes = {Target.ResetType.SYSTEM: "system", Target.ResetType.HARDWARE: "pin"}
    assert bench.hands.state(1)["chip"]["cores"]["app"]["reset_cause"] == causes[kind]
    assert session.target.read32(0x00FF_020C) == 0x5340


def test_memory_in_all_sizes(target):
    target.write_memory_block32(0x2000_0000, list(range(5000)))
    assert target.read_memory_block32(0x2000_0000, 5000) == list(range(5000))
    target.write_memory_block8(0x2000_0003, list(range(256)))
    assert target.read_memory_block8(0x2000_0003, 256) == list(range(256))
    target.write8(0x2000_0000, 0x11)
    target.write16(0x2000_0002, 0x3322)
    assert target.read32(0x2000_0000) & 0xFF == 0x11
    assert (target.read8(0x2000_0002), target.read16(0x2000_0002)) == (0x22, 0x3322)


def test_programming_by_hand_through_the_flash_controller(target):
    words = [(n * 2654435761) & 0xFFFF_FFFF for n in range(4096)]
    target.halt()
    target.write32(0x5003_9504, 2)
    for page in range(0x8000, 0xC000, 0x1000):
        target.write32(page, 0xFFFF_FFFF)
        while not target.read32(0x5003_9400):
            pass
    target.write32(0x5003_9504, 1)
    target.write_memory_block32(0x8000, words)
    while not target.read32(0x5003_9400):
        pass
    target.write32(0x5003_9504, 0)
    assert target.read_memory_block32(0x8000, 4096) == words


def test_a_block_is_one_request(make_bench):
    bench = make_bench()
    open_part(bench)
    session = bench.session()
    session.open()
    before = bench.hands.state(1)["requests"]
    session.target.aps[0].write_memory_block32(0x2000_0000, [0] * 256)
    session.target.aps[0].read_memory_block32(0x2000_0000, 256)
    after = bench.hands.state(1)["requests"]
    spent = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert {name: count for name, count in spent.items() if "lock" not in name or "block" in name} == {
        "write_block32": 1, "read_block32": 1,
    }  # fmt: skip


# ---- what a closed part gives ---------------------------------------------------------------------------------------


def test_a_locked_part_shows_its_control_access_port_only(make_bench):
    bench = make_bench()
    bench.insert()
    bench.hands.fault(1, "locked")
    dp = bench.debug_port()
    assert dp.read_ap(0x0200_00FC) == 0x1288_0000
    assert dp.read_ap(0) & 1 << 6 == 0
    dp.write_ap(0x04, 0x2000_0000)
    with pytest.raises(exceptions.TransferFaultError):
        dp.read_ap(0x0C)
    assert dp.read_ap(0xFC) == 0x8477_0001  # pyOCD has cleared the sticky error
    session = bench.session()
    with pytest.raises(exceptions.DebugError, match="No cores were discovered"):
        session.open()


def test_memory_access_to_a_locked_part_is_a_transfer_fault(make_bench):
    bench = make_bench("nrf9160")
    open_part(bench)
    session = bench.session()
    session.open()
    bench.hands.fault(1, "locked")
    for access in (lambda: session.target.read32(0), lambda: session.target.write32(0x2000_0000, 1)):
        with pytest.raises(exceptions.TransferFaultError, match="status code 12"):
            access()


def test_recover_by_hand_opens_it(make_bench):
    bench = make_bench()
    bench.insert()
    bench.hands.fault(1, "already_secured")
    dp = bench.debug_port()
    for ap in (0x0300_0000, 0x0200_0000):
        dp.write_ap(ap | 4, 1)
        while dp.read_ap(ap | 8):
            pass
    assert dp.read_ap(0) & (1 << 6 | 1 << 23) == 1 << 6 | 1 << 23
    session = bench.session()
    session.open()
    assert session.target.read_memory_block32(0x00FF_8100, 2) == [0xFFFF_FFFF] * 2


@pytest.fixture
def no_svd(monkeypatch):
    """pyOCD's built-in target leaves its archive of register descriptions open."""
    monkeypatch.setattr("pyocd.debug.svd.loader.SVDFile.from_builtin", lambda name: None)


@pytest.mark.parametrize("chip", ["nrf9160", "nrf91x1"])
def test_pyocd_s_own_nrf91_unlocks_it(make_bench, chip, no_svd):
    """The sequence that others wrote against silicon works here: mass erase, reset, words, empty image."""
    bench = make_bench(chip)
    part = bench.insert()
    bench.hands.fault(1, "locked")
    session = bench.session(target="nrf91", auto_unlock=True)
    session.open()
    assert part.app.protection.secure_open
    assert bench.hands.state(1)["chip"]["erase_alls"]
    expected = UNPROTECTED if chip == "nrf91x1" else 0xFFFF_FFFF
    assert session.target.read32(0x00FF_8000) == expected


def test_pyocd_s_own_nrf91_leaves_it_alone_without_auto_unlock(make_bench, no_svd):
    bench = make_bench("nrf91x1")
    bench.insert()
    bench.hands.fault(1, "already_secured")
    session = bench.session(target="nrf91")
    with pytest.raises(exceptions.DebugError, match="No cores were discovered"):
        session.open()
    assert bench.hands.state(1)["chip"]["erase_alls"] == []


def test_non_secure_debugging(make_bench):
    bench = make_bench("nrf9160")
    open_part(bench)
    bench.hands.fault(1, "secure_locked")
    session = bench.session()
    session.open()
    assert session.target.read32(0xE000_ED00) == 0x410F_D214
    with pytest.raises(exceptions.TransferFaultError):
        session.target.read32(0x2000_0000)


# ---- nobody there ---------------------------------------------------------------------------------------------------


def silence(bench, sentence):
    """The probe answers, the part does not."""
    session = bench.session()
    session.open(init_board=False)
    assert session.probe.product_name == "Virtual debug probe"
    with pytest.raises(exceptions.TransferError, match=sentence) as found:
        session.probe.read_dp(0)
    assert type(found.value) is exceptions.TransferError
    with pytest.raises(exceptions.Error, match="Target not detected"):
        session.target.dp.connect()
    session.close()


def test_without_part_lid_power_or_contact_nobody_answers(make_bench):
    bench = make_bench()
    silence(bench, "socket 1 is empty")
    bench.hands.insert(1, "part")
    silence(bench, "the lid of socket 1 is open")
    bench.hands.lid(1, True)
    bench.hands.power(1, False)
    silence(bench, "the part does not acknowledge")
    bench.hands.power(1, True)
    bench.hands.fault(1, "no_contact")
    silence(bench, "the part does not acknowledge")
    bench.hands.fault(1, "clear")
    bench.hands.power(1, True)
    assert bench.debug_port().dpidr.idr == 0x6BA0_2477


def test_power_that_comes_back_needs_a_new_connection(make_bench):
    bench = make_bench()
    bench.insert()
    dp = bench.debug_port()
    bench.hands.command("touchdown", 1)
    with pytest.raises(exceptions.TransferError):
        dp.read_ap(0xFC)
    dp.connect()
    assert dp.read_ap(0xFC) == 0x8477_0001


# ---- the cable ------------------------------------------------------------------------------------------------------


def test_unplugged_and_plugged_in_again(make_bench):
    bench = make_bench()
    open_part(bench)
    session = bench.session()
    session.open()
    address = nrf_finder.probe_address("VP0001")
    bench.hands.unplug(1)
    with pytest.raises(exceptions.ProbeDisconnected):
        session.target.read32(0x2000_0000)
    with pytest.raises(BenchError, match="expected a debug probe with serial number VP0001, found none; plug it in"):
        nrf_finder.probe_address("VP0001")
    bench.hands.replug(1)
    with pytest.raises(exceptions.ProbeDisconnected):  # it must be opened anew
        session.target.read32(0x2000_0000)
    assert nrf_finder.probe_address("VP0001") == address
    assert bench.debug_port().read_ap(0xFC) == 0x8477_0001


def test_unplug_after_some_requests(make_bench):
    bench = make_bench()
    open_part(bench)
    session = bench.session()
    session.open()
    bench.hands.fault(1, "unplug:3")
    assert bench.hands.state(1)["armed"] == ["unplug:3"]
    done = []
    with pytest.raises(exceptions.ProbeDisconnected):
        for n in range(10):
            session.target.aps[0].write_memory_block32(0x2000_0000 + 4 * n, [n + 1])
            done.append(n)
    assert done == [0, 1, 2]
    chip = bench.bench.state.sockets[0].chip
    assert chip.app.ram[12:16] == bytes(4)  # the fourth one did nothing


def test_an_unplugged_probe_lets_go_of_the_reset_pin(make_bench):
    bench = make_bench()
    bench.insert()
    dp = bench.debug_port()
    dp.assert_reset(True)
    assert bench.hands.state(1)["reset_is_low"]
    assert bench.hands.state(1)["chip"]["cores"]["app"]["state"] == "reset"
    bench.hands.unplug(1)
    assert not bench.hands.state(1)["reset_is_low"]


def test_probes_are_found_by_serial_number(make_bench):
    make_bench("nrf9160", sockets=2)
    assert nrf_finder.probe_address("VP0001") != nrf_finder.probe_address("VP0002")
    with pytest.raises(BenchError, match=r"found VP0001, VP0002 \(did you mean 'VP0002'\?\); plug it in"):
        nrf_finder.probe_address("VP0020")


def test_the_finder_says_what_is_missing(make_bench, monkeypatch, tmp_path):
    bench = make_bench()
    assert nrf_finder.diagnose("VP0001") == ""
    bench.bench.stop()
    with pytest.raises(BenchError, match=r"expected the virtual bench of .* to answer, but it is not running") as said:
        nrf_finder.probe_address("VP0001")
    start = f"start it: station simulate --chip nrf5340 --data {bench.bench.file.parent}"
    assert str(said.value).endswith(start) and nrf_finder.diagnose("VP0001") == str(said.value)
    monkeypatch.delenv("STATION_VIRTUAL_BENCH")
    with pytest.raises(BenchError, match="expected the virtual bench's file in STATION_VIRTUAL_BENCH, found nothing"):
        nrf_finder.probe_address("VP0001")
    with pytest.raises(BenchError, match="found nothing"):
        nrf_finder.diagnose("VP0001")


def test_how_a_bench_is_started_again(tmp_path):
    assert start_line(tmp_path / "bench.json") == f"station simulate --data {tmp_path}"
    (tmp_path / "chip").write_text("nrf9160\n")
    (tmp_path / "sockets.json").write_text("[{}, {}]")
    assert start_line(tmp_path / "bench.json") == f"station simulate --chip nrf9160 --data {tmp_path} --sockets 2"


# ---- the protocol, word by word -------------------------------------------------------------------------------------


class Raw:
    """A client that says what it wants."""

    def __init__(self, serial="VP0001"):
        port = int(nrf_finder.probe_address(serial).rpartition(":")[2])
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.lines = self.connection.makefile("rb")
        self.number = 0

    def line(self, text):
        self.connection.sendall(text.encode() + b"\n")
        return json.loads(self.lines.readline())

    def ask(self, request, *arguments):
        self.number += 1
        body = {"id": self.number, "request": request}
        answer = self.line(json.dumps({**body, "arguments": arguments} if arguments else body))
        assert answer["id"] == self.number
        return answer

    def close(self):
        self.lines.close()
        self.connection.close()


@pytest.fixture
def raw(make_bench):
    """A raw client of a bench with an open part; more can be made."""
    bench = make_bench()
    open_part(bench)
    made = []

    def make():
        made.append(Raw())
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_replies(raw):
    client = raw()
    assert client.ask("hello", 1) == {"id": 1, "status": 0}
    assert client.ask("hello", 2)["status"] == 1
    assert client.ask("readprop", "wire_protocol") == {"id": 3, "status": 0}  # null is left out
    assert client.ask("readprop", "capabilities")["result"] == ["SWJ_SEQUENCE", "BANKED_DP_REGISTERS"]
    assert client.ask("readprop", "supported_wire_protocols")["result"] == ["DEFAULT", "SWD"]
    assert client.ask("readprop", "colour")["status"] == 1
    assert client.ask("read_dp", 0)["status"] == 3  # not open
    assert client.ask("open")["status"] == 0
    assert client.ask("connect", "JTAG")["status"] == 3
    assert client.ask("connect", "DEFAULT")["status"] == 0
    assert client.ask("readprop", "wire_protocol")["result"] == "SWD"
    assert client.ask("swj_sequence", 51, 0xFFFF_FFFF_FFFF_FF)["status"] == 0
    assert client.ask("read_dp", 0)["result"] == 0x6BA0_2477
    assert client.ask("write_dp", 4, 0x5000_0000)["status"] == 0
    assert client.ask("read_ap_multiple", 0xFC, 2)["result"] == [0x8477_0001] * 2
    assert client.ask("write_ap_multiple", 4, [0x2000_0000, 0x2000_0010])["status"] == 0
    assert client.ask("read_ap", 4)["result"] == 0x2000_0010
    assert client.ask("get_memory_interface_for_ap", 1, 2) == {"id": 18, "status": 0}  # CTRL-AP has no memory
    assert client.ask("get_memory_interface_for_ap", 2, 0) == {"id": 19, "status": 0}  # nor is there an APv2
    assert client.ask("get_memory_interface_for_ap", 1, 0)["result"] == 0
    assert client.ask("read_mem", 0, 0x00FF_020C, 16)["result"] == 0x5340
    assert client.ask("read_mem", 1, 0x00FF_020C, 32)["status"] == 1
    assert client.ask("is_reset_asserted")["result"] is False
    assert client.ask("flush")["status"] == 0
    assert client.ask("disconnect")["status"] == 0
    for unsupported in (("swd_sequence", []), ("jtag_sequence", 1, 1, False, 1), ("swo_start", 1), ("swo_stop",)):
        assert client.ask(*unsupported)["status"] == 3
    assert client.ask("close")["status"] == 0


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "7", '{"request": "hello"}', '{"id": 3}', '{"id": 3, "request": "fly"}',
     '{"id": 3, "request": "read_dp"}', '{"id": 3, "request": "hello", "arguments": [1, 2]}',
     '{"id": 3, "request": "hello", "arguments": 1}', '{"id": 3, "request": ["hello"]}'],
)  # fmt: skip
def test_malformed_requests_are_answered_and_do_not_end_the_connection(raw, line):
    client = raw()
    answer = client.line(line)
    assert answer["status"] == 1
    assert answer["error"]
    assert client.ask("hello", 1)["status"] == 0


def test_wrong_arguments_of_a_transfer_are_answered(raw):
    client = raw()
    client.ask("open")
    client.ask("swj_sequence", 51, (1 << 51) - 1)
    client.ask("write_dp", 4, 0x5000_0000)
    client.ask("get_memory_interface_for_ap", 1, 0)
    for request in (("read_dp", "x"), ("write_dp", 8, None), ("read_block32", 0, 0, -1), ("write_block8", 0, 0, [999])):
        assert client.ask(*request)["status"] == 1


def test_a_lock_keeps_others_out(raw):
    first, second = raw(), raw()
    for client in (first, second):
        client.ask("open")
    first.ask("lock")
    first.ask("lock")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(second.ask("lock")))
    waiting.start()
    waiting.join(0.2)
    assert answers == []
    assert second.connection  # still waiting
    first.ask("unlock")
    waiting.join(0.1)
    assert answers == []
    first.ask("unlock")
    waiting.join(10)
    assert answers[0]["status"] == 0
    assert first.ask("unlock")["status"] == 1
    second.close()  # it goes without unlocking
    assert first.ask("lock")["status"] == 0


def test_a_client_that_waits_for_the_probe_ends_with_the_bench(make_bench):
    bench = make_bench()
    first, second = Raw(), Raw()
    first.ask("lock")
    second.connection.sendall(b'{"id": 1, "request": "lock"}\n')
    second.connection.settimeout(0.2)
    with pytest.raises(TimeoutError):
        second.connection.recv(1)
    bench.bench.state.adapters[0].stop()
    for client in (first, second):
        client.close()


def test_clients_share_one_debug_port(raw):
    first, second = raw(), raw()
    for client in (first, second):
        client.ask("open")
    first.ask("swj_sequence", 51, (1 << 51) - 1)
    first.ask("write_dp", 4, 0x5000_0000)
    assert second.ask("read_ap", 0xFC)["result"] == 0x8477_0001

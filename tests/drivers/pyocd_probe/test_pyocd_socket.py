"""The whole driver through the real pyOCD on the virtual bench: ports, presence, cables, settings."""

from __future__ import annotations

import logging
import sys
import threading

import pytest
from pyocd_bench import WAIVER, opened_up

from station import plugins
from station.deadline import Deadline
from station.errors import AdapterLost, BenchError, ConfigError, PartError
from station.formats.nordic_family import CtrlAp
from station.model import Contact, DebugAccess, ResetKind, Segment
from station.ports import Console, OpenSocket, Presence, Probe

HERE = Contact(present=True, lid_closed=True, power_good=True, has_lid=False)
GONE = Contact(present=False, lid_closed=True, power_good=False, has_lid=False)


def seen(presence, wanted):
    deadline = Deadline(5)
    while presence.contact() != wanted:
        deadline.check(f"{wanted}")
    return True


def test_a_socket_has_its_ports_and_takes_no_notice_of_an_empty_place(bench):
    socket = bench.open(consoles=True)
    assert isinstance(socket, OpenSocket) and socket.identity == "debug probe VP0001"
    assert set(socket.ports) == {"probe", "presence", "console", "console_net"}
    assert isinstance(socket.ports["probe"], Probe) and isinstance(socket.ports["presence"], Presence)
    assert isinstance(socket.ports["console"], Console) and isinstance(socket.ports["console_net"], Console)
    assert socket.ports["probe"].identity == "VP0001"
    assert socket.ports["presence"].contact() == GONE


def test_a_chip_of_one_core_has_one_console(make_bench):
    bench = make_bench("nrf9160")
    assert set(bench.open(consoles=True).ports) == {"probe", "presence", "console"}


def test_both_consoles_are_open_with_dtr_at_their_rate_before_anything_is_asked(bench):
    bench.open(consoles=True)
    ports = bench.hands.state(1)["consoles"]
    assert [(port["open"], port["dtr"], port["baud"]) for port in ports.values()] == [(True, True, 115_200)] * 2
    bench.opened.pop().close()
    assert not any(port["open"] for port in bench.hands.state(1)["consoles"].values())


@pytest.mark.parametrize("fault", ["", "locked", "secure_locked", "erase_protected"])
@pytest.mark.parametrize("chip", ["nrf5340", "nrf9160", "nrf91x1"])
def test_attaching_changes_nothing_in_any_part(make_bench, chip, fault):
    bench = make_bench(chip)
    bench.insert()
    if fault:
        bench.hands.fault(1, fault)
    before = bench.chip
    socket = bench.open()
    for _ in range(3):
        port = socket.ports["probe"].attach()
        assert socket.ports["presence"].contact() == HERE
    assert bench.chip == before and before["erase_alls"] == []
    assert port.dpidr == 0x6BA0_2477 and port.targetid & 0x0FFF_FFFF == bench.family.targetid
    for core in bench.family.cores:
        assert port.access_ports[core.ctrl_ap] == 0x1288_0000 and core.ahb_ap in port.access_ports


def test_presence_follows_part_lid_and_supply(bench):
    presence = bench.open().ports["presence"]
    assert presence.contact() == GONE
    bench.insert()
    assert presence.contact() == HERE
    for action in (lambda on: bench.hands.lid(1, on), lambda on: bench.hands.power(1, on)):
        action(False)
        assert presence.contact() == HERE, "a moment's silence is none"
        assert seen(presence, GONE)
        action(True)
        assert presence.contact() == HERE, "who answers is there at once"
    bench.hands.remove(1)
    assert seen(presence, GONE)


def test_presence_does_not_wait_for_a_busy_probe(bench):
    bench.insert()
    socket = bench.open()
    presence, link = socket.ports["presence"], socket.ports["probe"]._link
    assert presence.contact() == HERE
    held, done = threading.Event(), threading.Event()

    def work():
        with link._guard:
            held.set()
            done.wait(10)

    worker = threading.Thread(target=work)
    worker.start()
    held.wait(10)
    before = bench.requests
    bench.hands.remove(1)
    assert presence.contact() == HERE, "the last answer while the probe is at work"
    assert bench.requests == before
    done.set()
    worker.join()
    assert seen(presence, GONE)


def test_presence_polled_all_the_time_disturbs_no_programming(bench, probe):
    presence = bench.opened[0].ports["presence"]
    answers, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            answers.add(presence.contact())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for seed in range(3):
            data = bytes((seed + 5 * n) & 0xFF for n in range(0x3000))
            probe.program("app", [Segment(0, data)])
            words = probe.read_words("app", 0, len(data) // 4)
            assert b"".join(word.to_bytes(4, "little") for word in words) == data
    finally:
        done.set()
        watcher.join()
    assert answers == {HERE}


def test_a_part_that_was_changed_unnoticed_is_not_taken_for_the_one_attached_to(bench, probe):
    bench.hands.power(1, False)
    bench.hands.power(1, True)
    assert bench.opened[0].ports["presence"].contact() == HERE
    with pytest.raises(BenchError, match="was reset, lost its power or was changed since the station attached"):
        probe.read_words("app", 0, 1)
    probe.attach()
    assert probe.access("app") is DebugAccess.CLOSED, "recovered and then cut: erased flash, so that nobody opened it"


def test_an_empty_socket_cannot_be_attached_to(bench):
    probe = bench.open().ports["probe"]
    with pytest.raises(BenchError, match=r"does not answer on SWD .*check that there is one, its supply"):
        probe.attach()
    bench.insert()
    assert probe.attach().dpidr, "and the failed attempt leaves the probe free"


FOREIGN = ("status code", "error received", "does not reach its bus", "acknowledges", "Transfer", "unplugged")
"""Words of pyOCD, of its server and of the virtual bench, which name nothing that an operator could look at."""


def sentence(caught):
    said = str(caught.value)
    assert not [word for word in FOREIGN if word in said], said
    return said


def test_an_access_that_is_refused_is_named_in_words_and_pyocds_are_for_engineers(bench, probe, caplog):
    caplog.set_level(logging.DEBUG, "drivers.pyocd_probe.link")
    bench.hands.fault(1, "erase_stuck")
    try_again = "; run the recipe again, and if it is refused again, check supply and SWD cable"
    for access, named in (
        (
            lambda: probe.read_words("app", 0x2000_0000, 3),
            "reading 3 words at 0x20000000 through the bus of the app core",
        ),
        (lambda: probe.write_words("app", 0x2000_0004, [1]), "writing 1 word at 0x20000004 through the bus of the app"),
        (lambda: probe.halt("app"), "writing 1 word at 0xe000edf0 through the bus of the app core"),
    ):
        caplog.clear()
        with pytest.raises(PartError) as caught:
            access()
        said = sentence(caught)
        assert said.startswith(f"the part at debug probe VP0001 refused {named}") and said.endswith(try_again)
        noted = [record for record in caplog.records if "does not reach its bus" in record.getMessage()]
        assert noted and {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_what_does_not_answer_or_is_gone_is_said_without_pyocds_words(bench, probe):
    bench.hands.power(1, False)
    for access, doing in (
        (
            lambda: probe.read_ap(bench.family.app.ctrl_ap, CtrlAp.IDR),
            "reading register 0x0fc of the CTRL-AP of the app",
        ),
        (lambda: probe.write_ap(bench.family.app.ctrl_ap, CtrlAp.RESET, 0), "writing register 0x000 of the CTRL-AP of"),
        (lambda: probe.read_words("app", 0, 1), "reading 1 word at 0x00000000 through the bus of the app core"),
    ):
        with pytest.raises(BenchError, match="does not answer on SWD") as caught:
            access()
        assert doing in sentence(caught)
    bench.hands.unplug(1)
    with pytest.raises(AdapterLost) as caught:
        probe.attach()
    assert sentence(caught) == "the debug probe VP0001 is gone (it is not plugged in); check its cable"


def test_an_unplugged_probe_is_a_lost_adapter_on_every_port(bench):
    bench.insert()
    ports = bench.open(consoles=True).ports
    probe = ports["probe"]
    probe.attach()
    bench.hands.unplug(1)
    with pytest.raises(AdapterLost, match=r"debug probe VP0001 is gone .*check its cable"):
        probe.attach()
    with pytest.raises(AdapterLost, match="VP0001"):
        ports["presence"].contact()
    for name in ("console", "console_net"):
        with pytest.raises(AdapterLost, match="is gone"):
            ports[name].read(Deadline(5))
    bench.opened.pop().close()
    with pytest.raises(BenchError, match="VP0001"):
        bench.open()
    bench.hands.replug(1)
    again = bench.open().ports["probe"]
    assert again.attach().dpidr


def test_a_bench_that_dies_is_a_lost_adapter(bench, probe):
    bench.stop()
    with pytest.raises(AdapterLost, match=r"closed the connection|reset by peer|Broken pipe"):
        probe.attach()
    with pytest.raises(AdapterLost, match="lost before"):
        probe.attach()


@pytest.mark.parametrize("requests", [20, 40, 50, 60])
def test_a_cable_pulled_while_an_image_is_written_leaves_none_that_starts(bench, probe, requests):
    data = bytes(range(256)) * 256
    probe.program("app", [Segment(0, data)])
    bench.hands.fault(1, "unplug", str(requests))
    with pytest.raises(AdapterLost, match="VP0001 is gone"):
        probe.program("app", [Segment(0, data)])
    bench.opened.pop().close()
    bench.hands.replug(1)
    probe = bench.open().ports["probe"]
    probe.attach()
    assert probe.read_words("app", 0, 4) == [0xFFFF_FFFF] * 4, "the vector table comes last"
    probe.program("app", [Segment(0, data)])


def test_nothing_of_the_working_folder_is_read_or_run(bench, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    (tmp_path / "pyocd_user.py").write_text(f"open({str(ran)!r}, 'w')\n")
    (tmp_path / "pyocd.yaml").write_text("auto_unlock: true\nfrequency: 99\nlogging: {root: {level: DEBUG}}\n")
    monkeypatch.chdir(tmp_path)
    bench.insert()
    bench.hands.fault(1, "locked")
    bench.open().ports["probe"].attach()
    assert not ran.exists()
    assert bench.hands.state(1)["clock"] == 1_000_000
    assert bench.chip["erase_alls"] == []


def test_pyocd_says_nothing_by_itself(bench, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    probe = bench.open().ports["probe"]
    with pytest.raises(BenchError):
        probe.attach()
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name.startswith("pyocd")]


def test_attaching_again_and_again_leaves_nothing_behind(bench, probe):
    session = probe._link._session

    def known():
        probe.attach()
        probe.read_words("app", 0, 1)
        return sum(len(anybody) for anybody, _ in session._subscribers.values())

    first = known()
    assert [known() for _ in range(5)] == [first] * 5


def test_closing_lets_the_part_run_on(bench, probe):
    before = bench.chip["cores"]
    bench.opened[0].close()
    bench.opened[0].close()
    assert bench.chip["cores"] == before
    assert not bench.hands.state(1)["reset_is_low"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"serial": ""}, "the station file names no debug probe"),
        ({"board": ""}, "the station file names no 'board', such as nrf5340dk"),
        ({"board": "nrf5340"}, "did you mean 'nrf5340dk'"),
        ({"seriall": "x"}, "has no setting 'seriall' (did you mean 'serial'?)"),
    ],
)
def test_settings_that_cannot_be_used(bench, settings, sentence):
    with pytest.raises(ConfigError) as caught:
        bench.open(**settings)
    assert sentence in str(caught.value)


def test_a_probe_with_consoles_of_its_own(bench):
    """A remote probe has no serial ports; the station file says where they are."""
    socket = bench.open(consoles=True, console_url="loop://", console_net_url="loop://#net")
    assert (socket.ports["console"].url, socket.ports["console_net"].url) == ("loop://", "loop://#net")


def test_two_consoles_on_one_port_are_refused(bench):
    with pytest.raises(BenchError, match="both consoles of debug probe VP0001 are the port loop://"):
        bench.open(consoles=True, console_url="loop://", console_net_url="loop://")


def test_no_consoles_at_all(bench):
    assert set(bench.open().ports) == {"probe", "presence"}


def test_the_reset_pin_is_let_go_of(bench, probe):
    probe.reset(ResetKind.PIN)
    assert not bench.hands.state(1)["reset_is_low"]
    assert probe.attach().dpidr


def test_a_waiver_of_nobody_is_none(bench, probe):
    from dataclasses import replace

    for waiver in (replace(WAIVER, row=0), replace(WAIVER, reason="")):
        with pytest.raises(ConfigError, match="only after the journal says why"):
            probe.erase_all("app", waiver)
    assert len(bench.chip["erase_alls"]) == 3  # those of the fixture: net wipes both
    opened_up(probe, bench.family)


def test_without_pyocd_the_driver_is_one_sentence(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyocd" or "pyocd_probe" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyocd", None)
    with pytest.raises(ConfigError) as caught:
        plugins.load("station.drivers", "pyocd")
    assert str(caught.value) == (
        "the driver 'pyocd' needs the Python package that provides 'pyocd', which is not installed; it comes with the "
        "extra 'nordic': pip install 'provisioning-station[nordic]'"
    )


def test_a_first_look_is_awaited_by_whoever_looks_meanwhile(bench):
    """Before anything was seen there is nothing that could be told: a run would take it for a part that went away."""
    bench.insert()
    presence = bench.open().ports["presence"]
    link, begun, go_on, found = presence._link, threading.Event(), threading.Event(), []
    hear = link._hear

    def slowly():
        begun.set()
        assert go_on.wait(10)
        return hear()

    link._hear = slowly
    one = threading.Thread(target=lambda: found.append(presence.contact()))
    one.start()
    assert begun.wait(10)
    two = threading.Thread(target=lambda: found.append(presence.contact()))
    two.start()
    two.join(0.2)
    assert not found, "nobody knows yet"
    go_on.set()
    one.join(10)
    two.join(10)
    assert found == [HERE, HERE]

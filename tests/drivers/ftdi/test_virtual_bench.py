"""The bench as a process: address file, key, parts that survive it, its end with its parent."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pyftdi.ftdi import Ftdi

from drivers.virtual import bench as bench_module
from drivers.virtual.bench_state import folder_name
from drivers.virtual.bitbang_ports import open_ports
from drivers.virtual.handler import open_handler
from drivers.virtual.link import BenchLink, LinkError
from station.errors import BenchError, ConfigError
from station.ports import Handler

ROOT = Path(__file__).parents[3]


class Process:
    """``station simulate`` of its own."""

    def __init__(self, data, *arguments):
        command = [sys.executable, "-m", "drivers.virtual.bench", "--data", str(data), "--json", *arguments]
        self.popen = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.popen.stdout.readline()
        assert line, self.popen.stderr.read()
        self.address = json.loads(line)
        self.handler = open_handler({"bench": self.address["bench"]})

    def end(self, number=signal.SIGTERM):
        self.handler.close()
        self.popen.send_signal(number)
        code = self.popen.wait(20)
        self.popen.stdout.close()
        self.popen.stderr.close()
        return code


def test_process_serves_usb_and_keeps_parts_over_a_kill(tmp_path, bench, monkeypatch):
    first = Process(tmp_path / "data", "--sockets", "2", "--port-file", str(tmp_path / "port"))
    file = Path(first.address["bench"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads((tmp_path / "port").read_text()) == first.address
    assert isinstance(first.handler, Handler)
    first.handler.insert(2, "lot/1 wafer#2")
    first.handler.lid(2, True)
    monkeypatch.setenv("STATION_VIRTUAL_BENCH", str(file))
    monkeypatch.setattr("pyftdi.usbtools.UsbTools.BACKENDS", ("drivers.virtual.usb_backend",))
    assert sorted(device.sn for device, _ in Ftdi.list_devices()) == ["VB0001", "VB0002"]
    before = first.handler.state(2)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = Process(tmp_path / "data", "--sockets", "2")
    after = second.handler.state(2)
    assert (after["label"], after["lid_closed"]) == ("lot/1 wafer#2", True)
    assert after["chip"]["lc_state"] == before["chip"]["lc_state"]
    assert second.handler.parts() == ["lot/1 wafer#2"]
    assert second.end() == 0
    assert not file.exists()


def test_process_ends_with_its_parent(tmp_path):
    parent = subprocess.Popen(["sleep", "60"])
    process = Process(tmp_path, "--parent-pid", str(parent.pid))
    parent.kill()
    parent.wait()
    assert process.popen.wait(10) == 0
    process.end()


def test_a_wrong_key_is_refused(bench):
    port = json.loads(bench.bench.file.read_text())["port"]
    with pytest.raises(LinkError, match="refused the key"):
        BenchLink(port, "0" * 64).control({"do": "parts"})


def test_sentences_of_the_control_channel(bench):
    handler = bench.handler
    with pytest.raises(ConfigError, match=r"does not know the command 'dance'; it knows .*touchdown"):
        handler.command("dance", 1)
    with pytest.raises(ConfigError, match="sockets 1 to 2, not 3"):
        handler.state(3)
    with pytest.raises(ConfigError, match="socket 1 is empty"):
        handler.remove(1)
    handler.insert(1, "die")
    with pytest.raises(ConfigError, match="socket 1 holds part 'die'"):
        handler.insert(1, "other")
    with pytest.raises(ConfigError, match="part 'die' is in socket 1"):
        handler.insert(2, "die")
    with pytest.raises(ConfigError, match="no fault 'nonsense'"):
        handler.fault(1, "nonsense")


def test_touchdowns_are_counted_and_cut_the_power(bench):
    chip = bench.insert()
    powers = []
    chip.power = lambda on: powers.append(on)
    assert bench.handler.command("touchdown", 1) == 2
    assert powers == [False, True]
    assert bench.handler.state(1)["touchdowns"] == 2


def test_no_bench_is_said_so(monkeypatch, tmp_path):
    monkeypatch.delenv("STATION_VIRTUAL_BENCH", raising=False)
    with pytest.raises(ConfigError, match="STATION_VIRTUAL_BENCH"):
        open_handler({})
    with pytest.raises(BenchError, match="start it with: station simulate"):
        open_handler({"bench": str(tmp_path / "none.json")})


def test_list_of_faults(capsys):
    assert bench_module.main(["--list-faults", "--json"]) == 0
    faults = json.loads(capsys.readouterr().out)
    assert {"power_cut:inside", "unplug", "no_contact"} <= set(faults)


def test_golden_traces_are_checked(capsys):
    folder = ROOT / "tests" / "vectors" / "jtag"
    assert bench_module.main(["--check-traces", str(folder)]) == 0
    assert capsys.readouterr().out.count("identical") == len(list(folder.glob("*.json")))


def test_labels_become_folder_names():
    assert folder_name("lot/1 wafer#2") == "lot_1_wafer_2"
    assert folder_name("../x") == "_x"


def test_a_second_bench_on_the_same_chips_is_refused(tmp_path, capsys):
    first = Process(tmp_path)
    try:
        assert bench_module.main(["--data", str(tmp_path)]) == 2
        assert "another virtual bench is running" in capsys.readouterr().err
    finally:
        first.end()


def test_remote_bitbang_reads_the_idcode(bench):
    chip = bench.insert()
    servers = open_ports(bench.bench.state)
    try:
        with socket.create_connection(("127.0.0.1", servers["1:riscv"].port), timeout=10) as client:
            client.sendall(b"sr")  # SRST on and off: straps of this TAP are sampled
            tms = "11111" + "0" + "100"
            client.sendall("".join(f"{2 * int(bit)}{4 + 2 * int(bit)}" for bit in tms).encode())
            client.sendall(b"0R4" * 32 + b"0")
            bits = b""
            while len(bits) < 32:
                bits += client.recv(64)
            client.sendall(b"Q")
        assert int(bits[::-1], 2) == 0x10001CDF
        assert chip.inputs["tap_strap1"]
    finally:
        for server in servers.values():
            server.close()

"""What stays in a part: images that nobody took away, words that are in the way of those to come."""

from __future__ import annotations

import os

from test_tfm_flow import passed, stop_before
from test_tfm_hazards import without_network_image

from drivers.pyocd_probe.probe import PyocdProbe
from station.data_folder import DataFolder
from station.decision import INTERRUPTED_LIMIT
from station.errors import BenchError
from station.journal import Journal


def test_a_child_image_that_nobody_can_take_away_is_not_called_erased(nordic, monkeypatch):
    bench = nordic("nrf5340", net_lock="child_image")
    without_network_image(bench, "child_image")
    real = PyocdProbe.erase

    def erase(self, core, spans):
        if core == "net":
            raise BenchError("a transient of the probe")
        real(self, core, spans)

    with monkeypatch.context() as patch:
        patch.setattr(PyocdProbe, "erase", erase)
        assert bench.run().kind == "hold"
    bench.close_socket()
    bench.power_cycle()
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "network_core"), result
    assert "still in the flash of the network core" in result.reason and "network_image" not in bench.kept()


def test_nothing_of_a_larger_child_image_stays_behind_the_network_firmware(nordic):
    bench = nordic("nrf5340", net_lock="child_image")
    bench.build(tfm_app={"lock_net": False}, provisioning_net={"size": 0x6000}, tfm_net={"size": 0x2000})
    assert bench.run(before=stop_before("install")).kind == "hold"
    probe = bench.ports()["probe"]
    probe.attach()
    assert set(probe.read_words("net", 0x0100_2000, 0x1000)) == {0xFFFF_FFFF}
    passed(bench.run())


def killed_before_the_reset(bench):
    """The image is in flash and its vector table with it: whoever switches the part on, starts it."""
    bench.close_socket()
    bench.close_journal()
    child = os.fork()
    if not child:
        try:
            bench.journal = Journal(DataFolder(bench.folder / "data"), "TEST-1", ballast_bytes=4096)
            PyocdProbe.reset = lambda *_: os._exit(9)
            bench.run()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    bench.journal = Journal(DataFolder(bench.folder / "data"), "TEST-1", ballast_bytes=4096)
    assert bench.chip["cores"]["app"]["image"] == "provisioning_app"


def test_a_part_whose_run_was_killed_and_then_stopped_is_clean(nordic):
    bench = nordic("nrf9160")
    killed_before_the_reset(bench)

    def stop(part, run):
        real = part.is_provisioned

        def asked():
            answer = real()
            run.request_stop()
            return answer

        part.is_provisioned = asked

    result = bench.run(before=stop)
    assert result.kind == "bench" and "nothing was burnt" in result.part_state, result
    assert bench.chip["cores"]["app"]["image"] != "provisioning_app"
    bench.close_socket()
    bench.power_cycle()
    assert bench.chip["lc_state"] == "ASSEMBLY"
    passed(bench.run())


def test_a_part_whose_runs_were_killed_too_often_is_clean(nordic):
    bench = nordic("nrf9160")
    for _ in range(INTERRUPTED_LIMIT + 1):
        killed_before_the_reset(bench)
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "burn_failed") and result.part_state == "nothing was burnt"
    bench.close_socket()
    bench.power_cycle()
    assert bench.chip["lc_state"] == "ASSEMBLY" and bench.chip["cores"]["app"]["image"] != "provisioning_app"


def test_words_that_are_in_the_way_are_found_before_keys_are_made(nordic):
    """The address of another bootloader's slot: it was written when the part had its keys, and lost it."""
    bench = nordic("nrf9160")
    probe = bench.ports()["probe"]
    probe.attach()
    probe.halt("app")
    probe.write_once("app", 0x00FF_8130, [0x1111_0000])
    result = bench.run()
    assert (result.kind, result.bin) == ("fail", "otp") and "0x00ff8130 holds 0x11110000" in result.reason
    assert bench.chip["lc_state"] == "ASSEMBLY" and result.part_state == "nothing was burnt"
    assert bench.run(suffix="-recover").bin == "recovered"
    passed(bench.run())

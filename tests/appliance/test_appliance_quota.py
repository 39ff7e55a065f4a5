"""The account of endorsed devices: what counts, what limits, what survives; and over the wire."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from contextlib import ExitStack, closing

import pytest
from access_bench import Clock, audit_lines, inner
from appliance_bench import (
    Served,
    Station,
    TestPart,
    copy_folder,
    dice_ca_of,
    ecdsa,
    endorse_request,
    endorsed,
    was_of,
)

from station.appliance.emulated_device import DICE_CA, EXT_CA, WAS_DIVERSIFIER, EmulatedDevice, leaf_tbs
from station.appliance.emulated_device import endorse_request as request_of
from station.appliance.pki import init
from station.appliance.quota import Quota, Spent, device_candidates, devices_of
from station.appliance.refusal import Refusal
from station.appliance.sku_templates import TEMPLATES
from station.appliance.stations import WorkOrder
from station.errors import ConfigError
from station.wire import pa_pb2


def each(*digests: str) -> list[tuple[str, ...]]:
    """Devices of one TBS each."""
    return [(digest,) for digest in digests]


ORDER = WorkOrder(name="WO-1", quota=3)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def account(request, tmp_path, clock):
    """Opens the account, as every process of a fleet does."""
    with ExitStack() as stack:

        def open_account() -> Quota:
            if request.param == "sqlite":
                return stack.enter_context(closing(Quota(tmp_path / "counters.db", clock)))
            return Quota(stack.enter_context(closing(request.getfixturevalue("postgres").open())), clock)

        yield open_account


@pytest.fixture
def quota(account):
    return account()


def refused(call, *arguments) -> str:
    with pytest.raises(Refusal) as failed:
        call(*arguments)
    return f"{failed.value.code}: {failed.value}"


def test_devices_count_once_up_to_the_quota(quota):
    for device in ("a", "b", "a", "c", "b"):
        quota.check(ORDER, each(device))
        quota.endorse(ORDER, "ft-1", "sival", each(device))
    assert quota.account() == [Spent("WO-1", "", 3, 3)]
    for call in (lambda: quota.check(ORDER, each("d")), lambda: quota.endorse(ORDER, "ft-1", "sival", each("d"))):
        assert refused(call) == "PERMISSION_DENIED: work order 'WO-1' has used 3 of its 3 endorsements in all"
    quota.endorse(ORDER, "ft-1", "sival", each("a", "c"))
    assert quota.account() == [Spent("WO-1", "", 3, 3)]
    quota.endorse(WorkOrder(name="WO-1", quota=4), "ft-1", "sival", each("d"))  # raised in the file


def test_all_or_none(quota):
    assert "used 0 of its 3" in refused(quota.endorse, ORDER, "ft-1", "sival", each("a", "b", "c", "d"))
    assert quota.account() == []
    quota.endorse(ORDER, "ft-1", "sival", each("a", "b", "a"))
    assert quota.account() == [Spent("WO-1", "", 2, 2)]


def test_a_quota_per_day(quota, clock):
    daily = WorkOrder(name="WO-2", quota=1, per="day")
    quota.endorse(daily, "ft-1", "sival", each("a"))
    assert "used 1 of its 1 endorsements a day" in refused(quota.check, daily, each("b"))
    clock.now += 86400
    quota.endorse(daily, "ft-1", "sival", each("b"))
    assert [(line.day, line.endorsed) for line in quota.account()] == [("2027-01-15", 1), ("2027-01-16", 1)]


def test_unregistered_devices(quota):
    order = WorkOrder(name="WO-3", quota=10, unregistered=2)
    quota.endorse(order, "ft-1", "sival", each("a"))
    quota.endorse(order, "ft-1", "sival", each("b"))
    assert "2 endorsed devices that are not registered" in refused(quota.endorse, order, "ft-1", "sival", each("c"))
    quota.register(["x", "a", "y"])
    quota.register(["a"])  # a second registration of the same content
    assert quota.unregistered() == 1
    quota.endorse(order, "ft-1", "sival", each("c"))
    quota.endorse(None, "ft-1", "sival", each("d"))
    assert quota.unregistered() == 3
    assert quota.account() == [Spent("", "", 1, 1), Spent("WO-3", "", 3, 2)]


def test_the_account_survives_and_is_shared(account, quota, clock):
    quota.endorse(ORDER, "ft-1", "sival", each("a", "b"))
    quota.close_session(b"s", int(clock.now) + 5)
    quota.close_session(b"old", int(clock.now))
    second = account()
    assert second.account() == quota.account()
    assert second.closed_sessions() == [(b"s", int(clock.now) + 5)]
    second.endorse(ORDER, "ft-2", "sival", each("c"))
    assert "used 3" in refused(quota.check, ORDER, each("d"))


def test_a_device_is_all_its_tbs(quota):
    """One new TBS is a new device, whatever known ones come with it; no other number of TBS is one."""
    order = WorkOrder(name="WO-6", quota=3)
    quota.endorse(order, "ft-1", "cr01", [("a uds", "a ek", "a cek")])
    for again in [("a uds", "a ek", "a cek")], [("a uds",)], [("a ek",), ("a cek",)]:
        quota.check(order, again)
        quota.endorse(order, "ft-1", "cr01", again)
    assert quota.account() == [Spent("WO-6", "", 1, 1)]
    quota.endorse(order, "ft-1", "cr01", [("b uds", "a ek")])
    quota.endorse(order, "ft-1", "cr01", [("a uds", "c ek")])
    assert quota.account() == [Spent("WO-6", "", 3, 3)]
    assert "has used 3 of its 3" in refused(quota.check, order, [("a uds", "a ek", "d cek")])
    quota.register(["a uds", "a ek", "a cek", "a cdi"])
    quota.register(["b uds", "b cdi"])
    assert quota.account() == [Spent("WO-6", "", 3, 1)]


def test_threads_and_processes_cannot_overdraw(account):
    quotas = [account(), account()]
    order = WorkOrder(name="WO-4", quota=10)
    passed = []

    def work(thread):
        for number in range(10):
            try:
                quotas[thread % 2].endorse(order, "ft-1", "sival", each(f"{thread}.{number}"))
                passed.append(1)
            except Refusal:
                pass

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(passed), quotas[0].account()) == (10, [Spent("WO-4", "", 10, 10)])


def test_one_device_at_several_processes_counts_once(account):
    quotas = [account(), account()]
    orders = [WorkOrder(name="WO-5", quota=100, unregistered=100), None]

    def work(thread):
        for number in range(20):
            quotas[thread % 2].endorse(orders[thread // 2 % 2], "ft-1", "sival", each(f"a{number}", f"b{number}"))
            quotas[thread % 2].register([f"a{number}"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = quotas[0].account()
    assert (sum(line.endorsed for line in lines), sum(line.unregistered for line in lines)) == (40, 20)


def test_a_file_that_cannot_be_written_refuses(tmp_path, clock):
    quota = Quota(tmp_path / "counters.db", clock)
    other = sqlite3.connect(tmp_path / "counters.db", isolation_level=None)
    other.execute("DROP TABLE devices")
    other.close()
    assert refused(quota.endorse, ORDER, "ft-1", "sival", each("a")).startswith("INTERNAL: the appliance cannot count")
    assert quota.account() == []
    quota.close()


def test_a_newer_file_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "new.db") as new:
        new.execute("PRAGMA user_version = 99")
    new.close()
    with pytest.raises(ConfigError, match="newer version"):
        Quota(tmp_path / "new.db")


def test_what_is_one_device():
    one, two, three = (hashlib.sha256(tbs).hexdigest() for tbs in (b"1", b"2", b"3"))
    assert devices_of([("EXT", b"2"), ("UDS", b"1"), ("TPM EK", b"3")]) == [(one, two, three)]
    assert devices_of([("UDS", b"1"), ("UDS", b"2"), ("EXT", b"3")]) == [(one, three), (two,)]
    assert devices_of([("EXT", b"1"), ("EXT", b"2")]) == [(one,), (two,)]
    assert devices_of([("UDS", b"1"), ("UDS", b"1")]) == devices_of([("UDS", b"1")]) == [(one,)]
    assert devices_of([]) == []
    assert device_candidates([b"", b"\x30", b"\x30\x00", b"no DER"]) == []


def test_the_account_is_told(folder, capsys):
    from station.appliance.store_commands import account_command

    assert account_command(folder=folder) == 0
    assert capsys.readouterr().out == "(no work order): 0 devices endorsed, 0 of them not registered\n"
    assert not (folder / "counters.db").exists()
    quota = Quota(folder / "counters.db")
    quota.endorse(ORDER, "ft-1", "sival", each("a", "b"))
    quota.register(["a"])
    quota.close()
    assert account_command(folder=folder, as_json=True) == 0
    line = {"work_order": "WO-1", "day": "", "endorsed": 2, "unregistered": 1}
    assert json.loads(capsys.readouterr().out) == {"event": "account", "work_orders": [line]}


# ---- over the wire ----------------------------------------------------------------------------------------------

STATION = '[[station]]\nname = "ft-1"\ncertificate = "station-1"\nskus = ["sival"]\nroles = ["CP", "FT"]\n'


@pytest.fixture
def folder(tmp_path, made):
    folder = copy_folder(made, tmp_path / "appliance")
    order = '[[work_order]]\nname = "WO-1"\nquota = 2\n'
    (folder / "stations.toml").write_text(order + STATION + 'work_order = "WO-1"\n')
    return folder


def request_for(client, part):
    return endorse_request(was_of(client), [(ecdsa("UDS"), part.uds_tbs)])


def test_a_work_order_ends_and_registration_is_seen(folder):
    parts = [TestPart(dice_ca_of(folder), number) for number in range(3)]
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        uds = [endorsed(client, part) for part in parts[:2]]
        endorsed(client, parts[0])  # again: the same device
        code, text = client.refused("EndorseCerts", request_for(client, parts[2]))
        assert (code, "WO-1" in text) == ("PERMISSION_DENIED", True)
        assert appliance.quota.account() == [Spent("WO-1", "", 2, 2)]
        client.call("RegisterDevice", parts[0].registration(uds[0]))
        assert appliance.quota.account() == [Spent("WO-1", "", 2, 1)]
        client.call("RegisterDevice", parts[0].registration(uds[0]))
        assert appliance.quota.unregistered() == 1
        client.close()
    refusals = [line for line in audit_lines(folder) if line["result"] == "PERMISSION_DENIED"]
    assert [(line["method"], line["station"]) for line in refusals] == [("EndorseCerts", "ft-1")]


def test_a_new_uds_does_not_hide_behind_a_known_certificate(tmp_path):
    """The SKU has a second CA, whose labels the client may choose; as many devices as UDS, wherever they stand."""
    folder = tmp_path / "appliance"
    init(folder, ["station-1"], skus=["cr01"])
    (folder / "stations.toml").write_text(
        '[[work_order]]\nname = "WO-1"\nquota = 1\nunregistered = 1\n'
        + STATION.replace('"sival"', '"cr01"')
        + 'work_order = "WO-1"\n'
    )
    cas = {
        DICE_CA: (folder / "skus/ca/cr01-ica-dice-key-p256-v0.der").read_bytes(),
        EXT_CA: (folder / "skus/ca/cr01-ica-ext-key-p256-v0.der").read_bytes(),
    }
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in("cr01")
        params = pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=WAS_DIVERSIFIER)
        was = client.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="cr01", params=[params])).tokens[0].token
        known = (ecdsa("x"), leaf_tbs("x", cas[EXT_CA]))
        for _ in range(2):
            assert len(client.call("EndorseCerts", request_of("cr01", was, [known])).certs) == 1
        for number in (1, 2):
            uds = (ecdsa("UDS"), EmulatedDevice(TEMPLATES["cr01"], cas, number).uds_tbs)
            for bundles in [uds], [known, uds], [uds, known]:
                assert client.refused("EndorseCerts", request_of("cr01", was, bundles))[0] == "PERMISSION_DENIED"
        assert appliance.quota.account() == [Spent("WO-1", "", 1, 1)]
        client.close()
    seen = [line["tbs"] for line in audit_lines(folder) if line["method"] == "EndorseCerts"]
    assert [len(digests) for digests in seen] == [1, 1, 1, 2, 2, 1, 2, 2]
    assert seen[3] == seen[4][::-1] != seen[6]


def test_a_refused_endorsement_costs_nothing(folder):
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        request = request_for(client, TestPart(dice_ca_of(folder)))
        request.signature = bytes(32)
        assert client.refused("EndorseCerts", request)[0] == "INVALID_ARGUMENT"
        assert appliance.quota.account() == []
        client.close()


def test_the_count_survives_sigkill(folder):
    appliance = Served(folder)
    client = Station(folder, appliance.target)
    client.log_in()
    for number in range(2):
        endorsed(client, TestPart(dice_ca_of(folder), number))
    appliance.kill()
    client.close()
    again = Served(folder)
    client = Station(folder, again.target)
    client.log_in()
    assert (
        client.refused("EndorseCerts", request_for(client, TestPart(dice_ca_of(folder), 9)))[0] == "PERMISSION_DENIED"
    )
    client.close()
    assert again.stop() == 0


def test_a_session_closed_by_one_process_is_closed_for_the_other(tmp_path, clock):
    one, two = Quota(tmp_path / "counters.db", clock), Quota(tmp_path / "counters.db", clock)
    assert not two.is_closed(b"session")
    one.close_session(b"session", int(clock.now) + 60)
    assert two.is_closed(b"session")
    assert not two.is_closed(b"another")
    one.close()
    with pytest.raises(Refusal) as failed:
        one.is_closed(b"session")
    assert failed.value.code == "INTERNAL"
    two.close()

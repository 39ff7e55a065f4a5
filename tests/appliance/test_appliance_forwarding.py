"""Store and forward: what the registry gets, in which order, and that each record arrives once."""

from __future__ import annotations

import base64
import json
import logging
import threading
from contextlib import ExitStack, closing

import pytest
from appliance_bench import Served, Station, TestPart, dice_ca_of, endorsed
from forward_bench import due_again, fill, settings_for, until, waiting
from registry_bench import device
from store_bench import configure

from station.appliance.device_store import DeviceStore
from station.appliance.forwarding import forwarder_of
from station.appliance.registry_json import batch_body
from station.errors import ConfigError


def test_exactly_what_was_stored_in_the_upstream_shape(store, registry, forwarder):
    fill(store, 7)
    assert forwarder.forward() is True
    (stored,) = store.find("0x0007")
    assert registry.bodies == [
        {
            "requests": [
                {
                    "record": {
                        "device_id": "0x0007", "sku": "sival", "data": base64.b64encode(b"data \xff\x07aa").decode(),
                        "auth_pubkey": "a2V5", "auth_signature": "c2lnbmF0dXJl",
                    }
                }
            ]
        }
    ]  # fmt: skip
    assert stored.record == device(7).record
    assert registry.paths == ["/batch?x=1"]
    (headers,) = registry.headers
    assert (headers["content-type"], headers["host"]) == ("application/json", registry.url.split("/")[2])
    assert waiting(store) == []
    assert forwarder.forward() is False
    assert len(registry.bodies) == 1, "an empty batch is not posted"


def test_oldest_first_in_batches(store, registry, forwarder):
    fill(store, *range(25))
    while forwarder.forward():
        pass
    assert [len(batch) for batch in registry.batches()] == [10, 10, 5]
    assert registry.accepted == [f"0x{number:04}" for number in range(25)]


def test_both_contents_of_a_device_the_older_one_first(store, registry, forwarder):
    store.register(device(1))
    store.register(device(1, "bb"))
    fill(store, 2)
    while forwarder.forward():
        pass
    assert registry.batches() == [["0x0001", "0x0002"], ["0x0001"]]
    data = [base64.b64decode(body["requests"][0]["record"]["data"]) for body in registry.bodies]
    assert [raw[-2:] for raw in data] == [b"aa", b"bb"]


def test_zero_values_are_left_out_and_others_are_not():
    from station.wire.registry_record_pb2 import RegistryRecord

    assert json.loads(batch_body([RegistryRecord(device_id="0x1").SerializeToString()])) == {
        "requests": [{"record": {"device_id": "0x1"}}]
    }
    record = RegistryRecord(device_id="0x1", version=2, data=b"\0").SerializeToString()
    assert json.loads(batch_body([record]))["requests"][0]["record"] == {
        "device_id": "0x1", "version": 2, "data": "AA==",
    }  # fmt: skip


def test_headers_are_read_at_every_call_and_never_shown(store, registry, tmp_path, caplog):
    headers = tmp_path / "registry.headers"
    headers.write_text("# of the registry\n\nAuthorization: Bearer first-token\nX-Site:  a b \n")
    headers.chmod(0o600)
    forwarder = forwarder_of(store, settings_for(registry, headers=headers))
    with caplog.at_level(logging.DEBUG):
        fill(store, 1)
        forwarder.forward()
        headers.write_text("Authorization: Bearer second-token\nContent-Type: application/json; charset=utf-8\n")
        fill(store, 2)
        forwarder.forward()
        registry.answer = registry.says(b"", 401)
        fill(store, 3)
        forwarder.forward()
    first, second, _ = registry.headers
    assert (first["authorization"], first["x-site"]) == ("Bearer first-token", "a b")
    assert (second["authorization"], second["content-type"]) == (
        "Bearer second-token",
        "application/json; charset=utf-8",
    )
    assert "x-site" not in second
    assert "token" not in caplog.text


@pytest.mark.parametrize("line", ["no colon", "Bad Name: x", "X: \x07", "X: ä", "Host: other", "Content-Length: 1"])
def test_a_wrong_line_of_the_headers(store, registry, tmp_path, line):
    headers = tmp_path / "registry.headers"
    headers.write_text(f"Fine: x\n{line}\n", encoding="utf-8")
    headers.chmod(0o600)
    fill(store, 1)
    forwarder = forwarder_of(store, settings_for(registry, headers=headers))
    with pytest.raises(ConfigError, match=r"registry\.headers:2: expected 'Name: value'") as failed:
        forwarder.forward()
    assert line.partition(":")[2].strip() not in ("",) or "no colon" in line
    assert registry.bodies == [] and waiting(store) == ["0x0001"]
    assert "other" not in str(failed.value)
    headers.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        forwarder.forward()


def test_of_two_processes_one_forwards_at_a_time(place, registry):
    with ExitStack() as stack:
        stores = [DeviceStore(stack.enter_context(closing(place.open()))) for _ in range(2)]
        forwarders = [forwarder_of(store, settings_for(registry, batch=7)) for store in stores]
        stop = threading.Event()

        def work(forwarder):
            while not stop.is_set():
                forwarder.forward()

        threads = [threading.Thread(target=work, args=(forwarder,)) for forwarder in forwarders for _ in range(2)]
        for thread in threads:
            thread.start()
        fill(stores[0], *range(0, 200, 2))
        fill(stores[1], *range(1, 200, 2))
        until(lambda: not waiting(stores[0]))
        stop.set()
        for thread in threads:
            thread.join()
    assert registry.most_running == 1
    assert sorted(registry.accepted) == [f"0x{number:04}" for number in range(200)], "each of them once"


def test_a_killed_appliance_goes_on_when_it_is_started_again(folder, registry):
    """Registered while the registry is down, killed, started again: every record arrives, none is marked before."""
    configure(folder, forward_url=registry.url, forward_seconds=2)
    registry.answer = registry.says(b"", 503)
    appliance = Served(folder)
    client = Station(folder, appliance.target)
    client.log_in()
    parts = [TestPart(dice_ca_of(folder), number) for number in range(1, 4)]
    uds = endorsed(client, parts[0])
    for part in parts:
        client.call("RegisterDevice", parts[0].registration(uds, device_id=part.device_data(uds).device_id))
    client.close()
    until(lambda: len(registry.bodies) >= 2)
    appliance.kill()
    with closing(DeviceStore(folder / "registry.db")) as store:
        assert len(waiting(store)) == 3
        stored = {record.device_id: record.record for record in store.waiting(10)}
        due_again(store)
    registry.answer = registry.good
    again = Served(folder)
    until(lambda: len(set(registry.accepted)) == 3)
    with closing(DeviceStore(folder / "registry.db")) as store:
        until(lambda: not waiting(store))
    assert again.stop() == 0
    assert set(registry.accepted) == set(stored)
    sent = {
        request["record"]["device_id"]: request["record"] for body in registry.bodies for request in body["requests"]
    }
    for device_id, raw in stored.items():
        assert json.loads(batch_body([raw]))["requests"][0]["record"] == sent[device_id]

"""What bad sessions and client certificates get: replayed, of another SKU, expired, foreign (rows of bad_bench)."""

from __future__ import annotations

import time

import grpc
from access_bench import BOOT, Holder, issue
from appliance_bench import (
    WAIT,
    Station,
)
from bad_bench import refused

from station.appliance.certificates import new_ca, realm_name
from station.model import Realm
from station.wire import pa_pb2


def test_a_replayed_session(scene):
    other = Station(scene.folder, scene.served.target, "replayed")
    other.log_in()
    closed = other.token
    other.call("CloseSession", pa_pb2.CloseSessionRequest())
    refused(scene, lambda s: other.refused("GetOwnerFwBootMessage", BOOT, token=closed), "INTERNAL", 1)
    other.log_in()
    refused(scene, lambda s: other.refused("GetOwnerFwBootMessage", BOOT, token=closed), "NOT_FOUND", 1)
    refused(scene, lambda s: other.refused("GetOwnerFwBootMessage", BOOT, token=s.station.token), "NOT_FOUND", 1)
    other.close()


def test_another_skus_session(scene):
    foreign = pa_pb2.GetOwnerFwBootMessageRequest(sku="sival_b")
    refused(scene, lambda s: s.send("GetOwnerFwBootMessage", foreign), "NOT_FOUND", 1)  # nobody has loaded it
    other = Station(scene.folder, scene.served.target, "sku b")
    other.log_in("sival_b")
    refused(scene, lambda s: s.send("GetOwnerFwBootMessage", foreign), "PERMISSION_DENIED", 1)
    request = scene.endorsement(scene.part.uds_tbs)
    request.sku = "sival_b"
    refused(scene, lambda s: s.send("EndorseCerts", request), "PERMISSION_DENIED", 1)
    refused(scene, lambda s: other.refused("EndorseCerts", s.endorsement(b"x")), "PERMISSION_DENIED", 1)
    other.close()


def test_an_expired_or_foreign_client_certificate(scene):
    foreign_ca = new_ca(realm_name("TLS CA", Realm.DEV), Realm.DEV)
    login = pa_pb2.InitSessionRequest(sku="sival", sku_auth="x")
    for bad in (issue(scene.folder, "station-1", foreign_ca), issue(scene.folder, "station-1", days=-0.5)):
        client = Holder(scene.folder, scene.served.target, bad)
        refused(scene, lambda s, client=client: client.refused("InitSession", login), "UNAVAILABLE", 0)
        client.close()


def test_a_client_certificate_that_expires_on_an_open_connection(scene):
    client = Holder(scene.folder, scene.served.target, issue(scene.folder, "brief", days=4 / 86400))
    client.log_in()
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            client.call("GetOwnerFwBootMessage", BOOT)
        except grpc.RpcError:
            break
        time.sleep(0.2)
    refused(scene, lambda s: client.refused("GetOwnerFwBootMessage", BOOT), "UNAUTHENTICATED", 1)
    client.close()

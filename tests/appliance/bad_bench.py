"""What bad input gets: one row per thing that a client, its network or the computer may do to a served appliance.

After every row: the status code of the tables, as many audit lines as calls reached the service, no stack trace to the
client or in the log, databases as before, and the appliance still answers.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from access_bench import BOOT, audit_lines
from appliance_bench import (
    WAIT,
    Served,
    Station,
    TestPart,
    dice_ca_of,
    ecdsa,
    endorse_request,
    was_of,
)

from station.wire import pa_pb2

HEALTH = "/grpc.health.v1.Health/"
SERVICE = "/pa.ProvisioningApplianceService/"
TABLES = ("devices", "spent", "registrations")
"""What a refused call must not change; closed sessions may be remembered."""
DENIED = "PERMISSION_DENIED"


@dataclass
class Scene:
    """A served appliance with a logged-in station, a part of it, and what the part holds."""

    served: Served
    station: Station
    part: TestPart
    was: bytes

    @property
    def folder(self) -> Path:
        return self.served.folder

    def send(self, name: str, request) -> tuple[str, str]:
        return self.station.refused(name, request)

    def send_bytes(self, name: str, raw: bytes) -> tuple[str, str]:
        """The call with these bytes as its message."""
        metadata = (("user_id", self.station.user), ("authorization", self.station.token))
        with pytest.raises(grpc.RpcError) as failed:
            self.station.channel.unary_unary(SERVICE + name)(raw, metadata=metadata, timeout=WAIT)
        return failed.value.code().name, failed.value.details() or ""

    def endorsement(self, *tbs: bytes) -> pa_pb2.EndorseCertsRequest:
        return endorse_request(self.was, [(ecdsa("UDS"), one) for one in tbs])

    def calls(self) -> int:
        return sum(line["event"] == "call" for line in audit_lines(self.folder))

    def state(self) -> str:
        """A digest of all rows that count."""
        digest, seen = hashlib.sha256(), set()
        for path in sorted(self.folder.glob("*.db")):
            connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            seen.update(names)
            for name in sorted(set(names) & set(TABLES)):
                digest.update(repr(list(connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2"))).encode())
            connection.close()
        assert seen >= set(TABLES)
        return digest.hexdigest()

    def close(self) -> None:
        self.station.close()


def scene_of(served: Served) -> Scene:
    station = Station(served.folder, served.target, "table")
    station.log_in()
    return Scene(served, station, TestPart(dice_ca_of(served.folder), 0x77), was_of(station))


def refused(scene: Scene, row: Callable[[Scene], tuple[str, str]], code: str, lines: int) -> str:
    """Do what the row does; check all that must hold afterwards. Returns what the client was told."""
    calls, state = scene.calls(), scene.state()
    got, text = row(scene)
    assert got == code, text
    assert scene.calls() - calls == lines
    for trace in ("Traceback", 'File "', ".py"):
        assert trace not in text
    assert scene.state() == state
    assert scene.station.call("GetOwnerFwBootMessage", BOOT).boot_message
    assert scene.served.process.poll() is None
    return text

"""The first flight of TLS 1.3 by hand: a ClientHello of one group, and the group that a ServerHello has chosen.

Layout: RFC 8446 section 4.1; the hybrid group and its key share: draft-ietf-tls-ecdhe-mlkem (ML-KEM key, then X25519).
"""

from __future__ import annotations

import io
import os
import socket
import threading
from pathlib import Path
from typing import BinaryIO

from appliance_bench import open_channel
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from grpc_health.v1 import health_pb2, health_pb2_grpc

X25519, X25519MLKEM768 = 0x001D, 0x11EC
KEY_SHARE, GROUPS, VERSIONS, SIGNATURES = 51, 10, 43, 13
HANDSHAKE, SERVER_HELLO = 22, 2


def u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def vector(data: bytes, width: int = 2) -> bytes:
    return len(data).to_bytes(width, "big") + data


def hello_with(name: str) -> tuple[bytes, int]:
    """A record with a ClientHello whose only group is ``name``, and the group's number."""
    classical = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    group, share = X25519, classical
    if name == "X25519MLKEM768":
        group, share = X25519MLKEM768, mlkem.MLKEM768PrivateKey.generate().public_key().public_bytes_raw() + classical
    extensions = (
        (GROUPS, vector(u16(group))),
        (SIGNATURES, vector(u16(0x0403) + u16(0x0804))),  # ecdsa_secp256r1_sha256, rsa_pss_rsae_sha256
        (VERSIONS, vector(u16(0x0304), 1)),
        (KEY_SHARE, vector(u16(group) + vector(share))),
        (16, vector(vector(b"h2", 1))),  # ALPN: gRPC wants it
    )
    body = u16(0x0303) + os.urandom(32) + vector(os.urandom(32), 1) + vector(u16(0x1301) + u16(0x1302)) + b"\x01\x00"
    body += vector(b"".join(u16(kind) + vector(data) for kind, data in extensions))
    return bytes((HANDSHAKE,)) + u16(0x0301) + vector(b"\x01" + vector(body, 3)), group


def group_of(stream: BinaryIO) -> int:
    """The group in the key share of the ServerHello that the stream begins with."""
    kind, _, length = stream.read(1), stream.read(2), int.from_bytes(stream.read(2), "big")
    record = stream.read(length)
    assert kind == bytes((HANDSHAKE,)), f"no handshake record but {kind!r} {record!r}"
    assert record[0] == SERVER_HELLO
    body = io.BytesIO(record[4:])
    body.read(2 + 32)
    body.read(body.read(1)[0])
    body.read(2 + 1)
    extensions = io.BytesIO(body.read(int.from_bytes(body.read(2), "big")))
    while kind := extensions.read(2):
        data = extensions.read(int.from_bytes(extensions.read(2), "big"))
        if int.from_bytes(kind, "big") == KEY_SHARE:
            return int.from_bytes(data[:2], "big")
    raise AssertionError("the ServerHello has no key share")


def observed_hello(port: int, folder: Path) -> tuple[bytes, BinaryIO]:
    """What a gRPC client and the server say to one another first, seen by a relay between them."""
    said: tuple[list[bytes], list[bytes]] = ([], [])
    with socket.create_server(("127.0.0.1", 0)) as relay:
        watcher = threading.Thread(target=_relay_one, args=(relay, port, said))
        watcher.start()
        with open_channel(folder, f"localhost:{relay.getsockname()[1]}") as channel:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        watcher.join(20)
    assert not watcher.is_alive()
    return b"".join(said[0]), io.BytesIO(b"".join(said[1]))


def _relay_one(relay: socket.socket, port: int, said: tuple[list[bytes], list[bytes]]) -> None:
    near, _ = relay.accept()
    with near, socket.create_connection(("127.0.0.1", port), 20) as far:
        back = threading.Thread(target=_copy, args=(far, near, said[1]))
        back.start()
        _copy(near, far, said[0])
        back.join()


def _copy(source: socket.socket, target: socket.socket, seen: list[bytes]) -> None:
    try:
        while data := source.recv(65536):
            seen.append(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # the other side is gone
        pass

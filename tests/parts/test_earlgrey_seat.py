"""The virtual die in its socket, as these tests open and close it."""

import gc
import socket

from station.formats.lc_token import DEV_RAW_UNLOCK_LITERAL, raw_from_literal
from station.secret import Secret

UNLOCK_RAW = Secret(raw_from_literal(DEV_RAW_UNLOCK_LITERAL), "token")


def open_sockets():
    return {thing for thing in gc.get_objects() if isinstance(thing, socket.socket) and thing.fileno() >= 0}


def test_a_closed_seat_has_no_connection_left(seat, tmp_path, pack):
    before = open_sockets()
    second = type(seat)(tmp_path / "second", pack)
    second.open().unlock_raw(UNLOCK_RAW)
    assert open_sockets() > before, "the test looks at the wrong place"
    second.close()
    assert open_sockets() <= before

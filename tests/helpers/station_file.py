"""The station file of the tests: one socket of a virtual bench, an appliance somewhere."""

from __future__ import annotations

STATION = """\
schema = 1
name = "{name}"
realm = "{realm}"
mode = "virtual"
data = "data"
virtual_bench = "{bench}"
{more}
[[socket]]
driver = "ft4232h"
[socket.settings]
serial = "{serial}"
usb_backend = "drivers.virtual.usb_backend"

[appliance]
driver = "grpc"
[appliance.settings]
endpoint = "{endpoint}"
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"

[handler]
driver = "virtual"
"""


def station_text(**settings: object) -> str:
    """The file's text; name, bench, endpoint, ca, certificate and key must be given."""
    return STATION.format(**{"realm": "dev", "serial": "VB0001", "more": "", **settings})

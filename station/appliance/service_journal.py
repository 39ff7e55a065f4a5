"""The stations' journals as calls tell of them: at a login and with a registration.

Nothing here refuses a call or takes an answer back: the part is real, and what the appliance can do about a journal
that went back is to say so (audit line, figure, metadata). A station of ours then refuses to work; others read no
metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import grpc

from station.appliance import audit
from station.appliance.anchors import LONGEST_NAME, Anchors, Journal
from station.appliance.database import DatabaseFailed
from station.appliance.service_peer import metadata_value
from station.formats.journal_anchor import JournalAnchor, parse, unpack
from station.wire import pa_pb2

log = logging.getLogger(__name__)

JOURNAL_KEY, HEAD_KEY = "x-station-journal", "x-station-journal-head"
"""From the station, at InitSession: name of its journal, and its anchor of now."""
ANCHOR_KEY = "x-station-anchor"
"""To the station: the last anchor that its journal must extend, as ``LENGTH:HASH:TIME``."""

Trailing = tuple[tuple[str, str], ...]


def at_login(anchors: Anchors, station: str, context: grpc.ServicerContext) -> Trailing:
    """What InitSession tells a station that names its journal."""
    name = metadata_value(context, JOURNAL_KEY)
    if name is None or not _is_name(name):
        return ()
    journal = Journal(station, name)
    told = _read(lambda: parse(metadata_value(context, HEAD_KEY) or ""))
    return _tell(anchors, journal, told, always=True)


def at_registration(anchors: Anchors, station: str, request: pa_pb2.RegistrationRequest, device_id: str) -> Trailing:
    """What RegisterDevice tells a station whose journal went back."""
    metadata = request.device_data.metadata
    told = _read(lambda: unpack(bytes.fromhex(metadata.ate_raw)))
    if told is None or not _is_name(metadata.ate_id):
        return ()
    return _tell(anchors, Journal(station, metadata.ate_id), told, device_id)


def _tell(
    anchors: Anchors, journal: Journal, told: JournalAnchor | None, device_id: str = "", always: bool = False
) -> Trailing:
    """Keep what was told; the last anchor when it is broken by that, or ``always``."""
    try:
        broken = "" if told is None else anchors.note(journal, told, device_id)
        last = anchors.last(journal) if broken or always else None
    except DatabaseFailed as failed:
        log.error("the anchor of journal %s could not be kept: %s", journal, failed)
        return ()
    if broken:
        audit.journal_broken(str(journal), str(last), str(told), broken)
        log.warning("the journal %s does not extend its last anchor: %s", journal, broken)
    return ((ANCHOR_KEY, str(last)),) if last is not None else ()


def _read(read: Callable[[], JournalAnchor]) -> JournalAnchor | None:
    try:
        return read()
    except ValueError:  # FormatError, or no hexadecimal digits
        return None


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()

"""Registry records as the HTTP registry wants them, and its answers.

Source: opentitan-appliance sheet 6.3: JSON of the protobuf structure with snake_case names, base64, zero values left
out. An answer without ``error`` acknowledges. Stricter here: the answer must name the record's device, or there must be
one answer per record, in order.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from station.errors import StationError
from station.wire import registry_record_pb2

LONGEST = 200


class AnswerUnreadable(StationError):
    """Nothing of the batch is acknowledged: what came is no answer to it, or says that all of it failed."""


def batch_body(records: Sequence[bytes]) -> bytes:
    """The request for serialised registry records, each with exactly what was stored."""
    return json.dumps({"requests": [{"record": _record(raw)} for raw in records]}, separators=(",", ":")).encode()


def read_answers(body: bytes, device_ids: Sequence[str]) -> dict[str, str]:
    """What became of every record, by device id: an empty text acknowledges it, else why not.

    A device that is answered more than once is acknowledged when all its answers are without an error.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerUnreadable("the registry's answer is no JSON") from None
    if not isinstance(answer, dict):
        raise AnswerUnreadable("the registry's answer is no JSON object")
    if answer.get("error") is not None:
        raise AnswerUnreadable(f"the registry refused the whole batch: {_error(answer['error'])}")
    responses = answer.get("responses")
    if not isinstance(responses, list) or not all(isinstance(item, dict) for item in responses):
        raise AnswerUnreadable("the registry's answer has no list of responses")
    return _by_device(responses, device_ids)


def _by_device(responses: Sequence[Mapping[str, Any]], device_ids: Sequence[str]) -> dict[str, str]:
    in_order = len(responses) == len(device_ids)
    told: dict[str, list[str]] = {}
    for place, response in enumerate(responses):
        device = response.get("deviceId") or response.get("device_id") or (device_ids[place] if in_order else "")
        error = response.get("error")
        told.setdefault(str(device), []).append("" if error is None else _error(error))
    nothing = ["the registry did not answer for this record"]
    return {device: next(filter(None, told.get(device, nothing)), "") for device in device_ids}


def one_line(text: str) -> str:
    """Somebody else's words: printable, one line, cut."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST]


def _record(raw: bytes) -> dict[str, object]:
    record = registry_record_pb2.RegistryRecord.FromString(raw)
    fields = {
        "device_id": record.device_id,
        "sku": record.sku,
        "version": record.version,
        "data": base64.b64encode(record.data).decode(),
        "auth_pubkey": base64.b64encode(record.auth_pubkey).decode(),
        "auth_signature": base64.b64encode(record.auth_signature).decode(),
    }
    return {name: value for name, value in fields.items() if value}


def _error(error: object) -> str:
    if isinstance(error, dict):
        words = [str(error[key]) for key in ("code", "status", "message") if error.get(key)]
    else:
        words = [str(error)]
    return one_line(" ".join(words)) or "error without a text"

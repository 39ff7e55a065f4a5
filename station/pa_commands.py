"""What ``station pa`` does: one appliance is opened, asked, and closed; nothing secret is shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from station.cli_common import show_table
from station.errors import EXIT_FAIL, EXIT_PASS, ApplianceError, ConfigError
from station.model import TokenRequest
from station.pa_connection import cautions_of, opened
from station.pa_options import PaOptions
from station.ports import Appliance

ROUNDS = 5
PROOF_BYTES = 32
LOCAL_KINDS = ("file", "expired", "not_yet_valid", "realm")
CA_LABELS = ("UDS", "EXT", "UDS_MLDSA", "EXT_MLDSA")


def try_session(sku: str, *, options: PaOptions, as_json: bool) -> int:
    """``pa session``: what the doctor finds; when nothing, a login and the round trip of a call."""
    with opened(options, sku) as port:
        diagnose = getattr(port, "diagnose", None)
        findings = list(diagnose(sku)) if diagnose else []
        found = [(getattr(item, "kind", ""), str(item)) for item in findings]
        trips = [] if found else _round_trips(port, sku)
        tls, warnings = bool(getattr(port, "tls", True)), cautions_of(port)
    body = {"event": "pa_session", "sku": sku, "ok": not found, "tls": tls, "milliseconds": min(trips, default=None),
            "findings": [{"kind": kind, "sentence": sentence} for kind, sentence in found],
            "warnings": warnings}  # fmt: skip
    words = [f"✖ {sentence}" for _, sentence in found] or [f"✔ session for {sku}: a call takes {min(trips):.1f} ms"]
    _show(body, [*words, *([] if tls else ["without TLS: everybody on the way can read what is sent"])], as_json)
    if found and all(_is_local(item) for item in findings):
        return ConfigError.exit_code
    return ApplianceError.exit_code if found else EXIT_PASS


def _is_local(finding: object) -> bool:
    """True for what is wrong with a file of this side; the appliance was not asked."""
    return getattr(finding, "file", None) is not None and getattr(finding, "kind", "") in LOCAL_KINDS


def _round_trips(port: Any, sku: str) -> list[float]:
    import time

    port.open_session(sku)
    trips = []
    for _ in range(ROUNDS):
        started = time.monotonic()
        port.ca_subject_keys(sku, ["UDS"])
        trips.append(round(1000 * (time.monotonic() - started), 1))
    return trips


def show_ca_keys(*, sku: str, labels: Sequence[str], options: PaOptions, as_json: bool) -> int:
    """``pa ca-keys``; 1 when a CA that was asked for by name is none (the wire says so with zeros)."""
    asked = list(labels or CA_LABELS)
    with opened(options, sku) as port:
        port.open_session(sku)
        ids = port.ca_subject_keys(sku, asked)
    rows = [(label, key_id.hex(), any(key_id)) for label, key_id in zip(asked, ids, strict=True)]
    show_table(("label", "key_id", "has_ca"), rows, as_json)
    absent = [label for label, _, has_ca in rows if not has_ca] if labels else []
    if absent:
        click.echo(f"station: the SKU {sku} has no such CA: {', '.join(absent)}", err=True)
    return EXIT_FAIL if absent else EXIT_PASS


def fetch_ca_certs(*, sku: str, labels: Sequence[str], out: Path | None, options: PaOptions, as_json: bool) -> int:
    """``pa ca-certs``."""
    with opened(options, sku) as port:
        port.open_session(sku)
        certificates = port.ca_certificates(sku, labels)
    paths = [out / f"{label}.der" if out else None for label in labels]
    rows = [
        (label, _validity(der), hashlib.sha256(der).hexdigest(), str(path or ""))
        for label, der, path in zip(labels, certificates, paths, strict=True)
    ]
    _write_all([(path, der) for path, der in zip(paths, certificates, strict=True) if path])
    show_table(("label", "valid_until", "sha256", "file"), rows, as_json)
    return EXIT_PASS


def show_boot_message(*, sku: str, options: PaOptions, as_json: bool) -> int:
    """``pa boot-message``."""
    with opened(options, sku) as port:
        port.open_session(sku)
        text = port.owner_boot_message(sku)
    _show({"event": "pa_boot_message", "sku": sku, "boot_message": text}, [text], as_json)
    return EXIT_PASS


def endorse_files(
    *, files: Sequence[Path], sku: str, labels: Sequence[str], diversifier: str, signature: str,
    signature_file: Path | None, derive_was: bool, out: Path, options: PaOptions, as_json: bool,
) -> int:  # fmt: skip
    """``pa endorse``."""
    if len(labels) not in (1, len(files)):
        raise ConfigError(f"expected one --label, or one for each of {len(files)} files, saw {len(labels)}: correct it")
    given = [bool(signature), signature_file is not None, derive_was]
    if sum(given) != 1:
        raise ConfigError("expected one of --signature, --signature-file and --derive-was: give the part's proof")
    bodies = [_read(path, "a TBS certificate") for path in files]
    wanted = list(zip(list(labels) * len(files) if len(labels) == 1 else labels, bodies, strict=False))
    proof = b"" if derive_was else _proof(signature, signature_file)
    targets = [out / f"{path.name}.cert.der" for path in files]
    _require_new(targets)
    with opened(options, sku) as port:
        port.open_session(sku)
        proof = proof or _derived_proof(port, sku, diversifier.encode(), bodies)
        certificates = port.endorse(sku, wanted, diversifier.encode(), proof)
    _write_all(list(zip(targets, certificates, strict=True)))
    rows = [
        (label, hashlib.sha256(der).hexdigest(), str(path))
        for (label, _), der, path in zip(wanted, certificates, targets, strict=True)
    ]
    show_table(("label", "sha256", "file"), rows, as_json)
    return EXIT_PASS


def _derived_proof(port: Appliance, sku: str, diversifier: bytes, bodies: Sequence[bytes]) -> bytes:
    from station.appliance.emulated_device import proof_of_origin

    (was,) = port.derive(sku, [TokenRequest("wafer authentication secret", "high", 256, diversifier)])
    return proof_of_origin(was, bodies)


def _proof(text: str, path: Path | None) -> bytes:
    raw = _read(path, "the part's proof") if path else b""
    if len(raw) == PROOF_BYTES:
        return raw
    try:
        proof = bytes.fromhex(text or raw.decode("ascii"))
    except ValueError:
        proof = b""
    if len(proof) != PROOF_BYTES:
        raise ConfigError(
            f"expected the part's proof as {PROOF_BYTES} bytes or {2 * PROOF_BYTES} hex digits: correct it"
        )
    return proof


def register(
    *, file: Path | None, part: str, options: PaOptions, operator: str, pin_stdin: bool, as_json: bool
) -> int:  # fmt: skip
    """``pa register``."""
    if (file is None) == (not part):
        raise ConfigError("expected a FILE or --part NAME: say what is to be registered")
    sku, device, origin = _from_file(file, options) if file else _from_journal(part, options, operator, pin_stdin)
    body = {"event": "pa_registered", "sku": sku, "device_id": device, "from": origin}
    _show(body, [f"registered {device or part} of {sku}"], as_json)
    return EXIT_PASS


def _from_file(file: Path, options: PaOptions) -> tuple[str, str, str]:
    from station.registrations import read_registration

    registration = read_registration(file)
    with opened(options, registration.sku) as port:
        port.open_session(registration.sku)
        port.register(registration)
    return registration.sku, registration.device_id.hex(), str(file)


def _from_journal(part: str, options: PaOptions, operator: str, pin_stdin: bool) -> tuple[str, str, str]:
    """The kept request goes to the appliance that the station file names: the acknowledgement is journaled."""
    from station.cli_common import opened_bench, sign_in
    from station.commands import deliver_registration
    from station.model import Role

    if options.direct or options.password_file or options.password_stdin:
        raise ConfigError("expected the station's own appliance and credentials with --part: leave the others out")
    with opened_bench(options.station_file, options.data) as bench:
        sign_in(bench, operator, pin_stdin)
        bench.require(Role.ENGINEER)
        row = deliver_registration(bench, part)
    return str(row.detail["sku"]), row.context.device_id, "journal"


def check_tokens(
    *, sku: str, seed: str, bits: str, diversifiers: Sequence[str], out: Path | None, options: PaOptions, as_json: bool
) -> int:
    """``pa tokens``: hashes only are asked for."""
    if out and seed != "fresh":
        raise ConfigError("expected --seed fresh beside --out: other seeds are not wrapped")
    wanted = [TokenRequest(text, seed, int(bits), text.encode(), hashed=True) for text in diversifiers]
    paths = [out / f"{_file_name(text)}.wrapped" for text in diversifiers] if out else []
    _require_new(paths)
    with opened(options, sku) as port:
        port.open_session(sku)
        rows = _fresh(port, sku, wanted, paths) if seed == "fresh" else _derived(port, sku, wanted)
    show_table(("diversifier", "seed", "bits", "check_value", "hash", "wrapped_seed"), rows, as_json)
    return EXIT_PASS


def _derived(port: Appliance, sku: str, wanted: Sequence[TokenRequest]) -> list[tuple[Any, ...]]:
    from station.appliance.check_value import check_value

    tokens = port.derive(sku, wanted)
    return [
        (request.label, request.seed, request.bits, check_value(token), "", "")
        for request, token in zip(wanted, tokens, strict=True)
    ]


def _fresh(port: Appliance, sku: str, wanted: Sequence[TokenRequest], paths: Sequence[Path]) -> list[tuple[Any, ...]]:
    rows = []
    for number, request in enumerate(wanted):
        digest, sealed = port.generate(sku, request)
        _write_all([(path, sealed.blob) for path in paths[number : number + 1]])
        kept = str(paths[number]) if paths else f"{len(sealed.blob)} bytes"
        rows.append((request.label, "fresh", request.bits, "", digest.hex(), kept))
    return rows


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"expected {what} at {path}: {error.strerror}; correct the path") from None


def _require_new(paths: Sequence[Path]) -> None:
    """Said before anything is asked of the appliance: its answer cannot be had a second time as it was."""
    doubled = sorted({str(path) for path in paths if list(paths).count(path) > 1})
    if doubled:
        raise ConfigError(f"expected a file of its own for each, saw {', '.join(doubled)} twice: use other names")
    there = [str(path) for path in paths if path.exists()]
    if there:
        raise ConfigError(f"expected no file at {', '.join(there)}: nothing is overwritten, move it away first")


def _write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write new files; one that is there with the same content stays, with other content it is refused."""
    from station.appliance.files import write_public

    for path, content in files:
        if path.exists() and path.read_bytes() == content:
            continue
        write_public(path, content)


def _validity(der: bytes) -> str:
    from station.errors import FormatError
    from station.formats.der import parse_certificate

    try:
        return f"{parse_certificate(der).tbs.not_after:%Y-%m-%d}"
    except FormatError:
        return "unknown"


def _show(body: Mapping[str, object], words: Sequence[str], as_json: bool) -> None:
    for line in [json.dumps(body, ensure_ascii=False)] if as_json else words:
        click.echo(line)

"""``station attest show`` and ``station attest verify``: attestation tokens for engineers, without any part."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from station.cli_common import visible
from station.errors import EXIT_FAIL, EXIT_PASS, ConfigError, FormatError
from station.formats import attestation, token_dump
from station.formats.attestation import Checked, Expected, Token
from station.formats.p256 import PublicKey

STDIN = Path("-")
LONGEST_KEY = 1024
"""Bytes read of a key's file: more than any key has, so that a wrong file is told from one."""


def show_token(file: Path, *, as_json: bool) -> int:
    """``station attest show``."""
    token = _token(file)
    _tell(token, attestation.check(token, Expected(life_cycle=None, from_non_secure=False)), as_json)
    return EXIT_PASS


def verify_token(
    file: Path, *, public_key: str, instance_id: str, implementation_id: str, challenge: str,
    certificate_reference: str, profile: str, life_cycle: str, as_json: bool,
) -> int:  # fmt: skip
    """``station attest verify``; 1 when anything is not as it must be."""
    expected = Expected(
        challenge=_hex("--challenge", challenge, 32, 48, 64),
        implementation_id=_hex("--implementation-id", implementation_id, 32),
        instance_id=_hex("--instance-id", instance_id, 33), public_key=_key(public_key),
        certificate_reference=certificate_reference or None, profile=profile or None, life_cycle=_state(life_cycle),
    )  # fmt: skip
    token = _token(file)
    checked = attestation.check(token, expected)
    _tell(token, checked, as_json)
    return EXIT_FAIL if checked.problems else EXIT_PASS


def life_cycle_names() -> list[str]:
    """What ``--life-cycle`` takes."""
    return [*attestation.LIFE_CYCLES.values(), "any"]


def _token(file: Path) -> Token:
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"expected to read {file}, but: {error.strerror}") from None
    return attestation.parse(token_dump.find(raw))


def _tell(token: Token, checked: Checked, as_json: bool) -> None:
    claims, remarks = claims_of(token, checked), remarks_of(token)
    if as_json:
        judged = {"ok": not checked.problems, "problems": list(checked.problems), "remarks": remarks}
        click.echo(json.dumps({**claims, **judged}))
        return
    width = max(map(len, claims))
    for name, value in claims.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {visible(str(value))}")
    for remark in remarks:
        click.echo(f"⚠ {remark}")
    for problem in checked.problems:
        click.echo(f"✖ {visible(problem)}")
    if not checked.problems:
        click.echo("✔ signed by the key that the instance id names, and as expected")


def claims_of(token: Token, checked: Checked) -> dict[str, object]:
    """Plain values; bytes as hex digits, what is absent as an empty text."""
    software = ["; ".join(f"{label}: {_plain(value)}" for label, value in one.items()) for one in token.software]
    return {
        "profile": token.profile.name,
        "life_cycle": f"{attestation.life_cycle_name(token.life_cycle)} ({token.life_cycle:#06x})",
        "instance_id": token.instance_id.hex(),
        "public_key": checked.public_key.raw.hex() if checked.public_key is not None else "",
        "implementation_id": token.implementation_id.hex(),
        "client_id": token.client_id,
        "challenge": token.nonce.hex(),
        "freshness": "none: the sample's fixed challenge" if token.is_sample else "for whoever chose the challenge",
        "boot_seed": token.boot_seed.hex(),
        "certificate_reference": token.certificate_reference,
        "verification_service": token.verification_service,
        "software": " | ".join(software) or ("none measured" if token.no_software else ""),
        "unknown_claims": ", ".join(map(str, token.unknown)),
    }


def remarks_of(token: Token) -> list[str]:
    """What is no problem of a token by itself, and must not go by unseen."""
    if token.implementation_id != attestation.SAMPLE_IMPLEMENTATION_ID:
        return []
    return ["the implementation id is the default of the upstream provisioning sample, which no product may carry"]


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _hex(option: str, text: str, *lengths: int) -> bytes | None:
    """The bytes of an option, of one of these lengths when there are any."""
    if not text:
        return None
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise ConfigError(f"expected hex digits after {option}, got {text[:40]!r}") from None
    if lengths and len(raw) not in lengths:
        wanted = " or ".join(map(str, lengths))
        raise ConfigError(f"expected {wanted} bytes after {option}, got {len(raw)}: no token carries another length")
    return raw


def _key(text: str) -> PublicKey | None:
    raw = _key_file(text) or _hex("--public-key", text)
    try:
        return PublicKey.parse(raw) if raw is not None else None
    except FormatError as error:
        raise ConfigError(f"--public-key: {error}") from None


def _key_file(text: str) -> bytes | None:
    """The bytes of a key's file, as ``station part export`` writes it; None when the text is no file's name."""
    try:
        return Path(text).read_bytes()[:LONGEST_KEY] if 0 < len(text) < 250 and Path(text).is_file() else None
    except OSError as error:
        raise ConfigError(f"expected to read the key in {text}, but: {error.strerror}") from None


def _state(name: str) -> int | None:
    codes = {text: high << 8 for high, text in attestation.LIFE_CYCLES.items()}
    return codes.get(name)

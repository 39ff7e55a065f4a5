"""What a station needs to reach an appliance, made anew: a further client certificate, another SKU password."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode

from station.appliance.client_certificate import read_client_certificate
from station.appliance.files import give, replace
from station.appliance.pki import TLS_CA_KEY_FILE, add_client, client_files
from station.appliance.settings import read_settings
from station.appliance.sku_templates import new_password, password_hash
from station.appliance.skus import SkuAuth, read_auth
from station.appliance.spm import AUTH_FILE
from station.appliance.yaml_reader import read_yaml
from station.errors import ConfigError, nearest

Say = Callable[[str], None]


def add_station_command(
    *, folder: Path, name: str, hosts: Sequence[str] = (), as_json: bool = False, say: Say = print
) -> int:
    """Issue the client certificate of one more station of a development appliance."""
    folder = folder.resolve()
    if not (folder / TLS_CA_KEY_FILE).exists():
        raise ConfigError(
            f"expected the TLS CA of a development appliance at {folder / TLS_CA_KEY_FILE}, saw none: after a ceremony "
            f"use tls-csr, offline-tls-certgen and tls-cert"
        )
    files = add_client(folder, name, hosts)
    fingerprint = read_client_certificate(files.certificate.read_bytes()).fingerprint
    if as_json:
        made = {"certificate": str(files.certificate), "key": str(files.key), "ca": str(files.ca)}
        say(json.dumps({"event": "station_added", "name": name, **made, "sha256": fingerprint}))
        return 0
    say(f"{name}: certificate {files.certificate}, key {files.key}, CA {files.ca}")
    say(f'  for stations.toml: certificate = "sha256:{fingerprint}"')
    return 0


def sku_password_command(*, folder: Path, sku: str, as_json: bool = False, say: Say = print) -> int:
    """Give a SKU another password; the one of before counts no more, open sessions go on."""
    settings = read_settings(folder.resolve())
    path = change_password(settings.folder, settings.skus / AUTH_FILE, sku)
    told = f"sku {sku}: another password, which counts from now on, is in {path}: bring it to the stations"
    say(json.dumps({"event": "sku_password_changed", "sku": sku, "password": str(path)}) if as_json else told)
    return 0


def change_password(folder: Path, auth: Path, sku: str) -> Path:
    """Make a password, write it into ``clients`` and its hash into the file of passwords; where the password is."""
    before, text = _entries(auth), auth.read_text(encoding="utf-8")
    if sku not in before:
        raise ConfigError(f"expected a SKU of {auth} ({', '.join(before)}), saw {sku!r}{nearest(sku, before)}")
    start, end = _place_of_hash(auth, text, sku)
    password = new_password()
    hash_ = password_hash(password)
    file = client_files(folder, "", sku).password
    first = client_files(folder, "").password  # repeats that of the first SKU
    same = [first] if first.exists() and file.exists() and first.read_bytes() == file.read_bytes() else []

    def check(path: Path) -> None:  # what else is wrong in it changes no password
        if read_auth(path) != {**before, sku: SkuAuth(hash_, before[sku].methods)}:
            raise ConfigError(_own_hash(auth, sku))

    changed = f'{text[:start]}{"" if end > start else " "}"{hash_}"{text[end:]}'
    _replace(auth, changed.encode(), check)
    if not file.parent.exists():
        file.parent.mkdir(mode=0o700)
        give(file.parent, folder)
    for place in (file, *same):
        _replace(place, password + b"\n")
    return file


def _entries(auth: Path) -> dict[str, SkuAuth]:
    """All entries as they are: a hash that is none is there to be replaced."""
    skus = read_yaml(auth).mapping("skuAuthCfgList")
    found = {name: skus.mapping(name) for name in skus.names()}
    return {name: SkuAuth(entry.text("skuAuth"), entry.texts("methods")) for name, entry in found.items()}


def _place_of_hash(auth: Path, text: str, sku: str) -> tuple[int, int]:
    """From where to where the hash of a SKU stands; an absent one has no length and belongs behind the colon."""
    name, value = None, YAML(typ="rt").compose(text)
    for key in ("skuAuthCfgList", sku, "skuAuth"):
        pairs = value.value if isinstance(value, MappingNode) else []
        name, value = next((pair for pair in pairs if pair[0].value == key), (None, None))
    if name is None or value is None:
        raise ConfigError(_own_hash(auth, sku))
    if value.start_mark.index == value.end_mark.index:
        colon = text.find(":", name.end_mark.index) + 1
        return colon, colon
    return value.start_mark.index, value.end_mark.index


def _own_hash(auth: Path, sku: str) -> str:
    return f"expected a skuAuth of its own for {sku!r} in {auth}: write it as one line, without anchor and alias"


def _replace(path: Path, data: bytes, check: Callable[[Path], object] | None = None) -> None:
    """Write the file anew, for those who could use it before; a new one is private, and root gives it away."""
    known = path.stat() if path.exists() else None

    def prepare(staged: Path) -> None:
        if check is not None:
            check(staged)
        if known is None:
            give(staged, path.parent)
        else:
            _keep_rights(staged, known)

    replace(path, data, 0o600, prepare)


def _keep_rights(path: Path, known: os.stat_result) -> None:
    """Owner, group and mode of before without the rights of others; mode 0600 when owner or group cannot be kept."""
    if sys.platform == "win32":
        return
    with suppress(PermissionError):
        os.chown(path, known.st_uid, known.st_gid)
        path.chmod(known.st_mode & 0o770)

"""Whether somebody else could read the keys of an appliance, or change what it believes. ``serve`` and ``doctor`` ask.

Keys, passphrase, PIN, credentials of database and registry, and registered devices (their blobs hold device seeds) are
for the serving user alone. Settings, roles, SKUs, certificates and the HSM's module may be read by all and changed by
the serving user or root. A folder that is closed to all others, such as ``init`` makes it, protects what is in it;
files elsewhere are looked at with every folder that they lie in.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from station.appliance.files import OTHERS, require_private
from station.appliance.keystore_settings import PKCS11
from station.appliance.settings import FILE, ApplianceSettings
from station.appliance.skus import read_sku
from station.errors import ConfigError

CHANGE = stat.S_IWGRP | stat.S_IWOTH


def exposed(settings: ApplianceSettings) -> list[str]:
    """A sentence per secret file that is absent, that others can read, or that is another user's."""
    found = [_said(path) for path in _secret_files(settings)]
    registry = settings.registry.file if settings.registry is not None else None
    if registry is not None and registry.exists() and not _is_closed(registry.parent):
        found.append(_said(registry))
    return [sentence for sentence in found if sentence]


def changeable(settings: ApplianceSettings) -> list[str]:
    """A sentence per file or folder that others could change and that decides what the appliance does."""
    if sys.platform == "win32":
        return []
    closed = _is_closed(settings.folder)
    places = {
        place
        for file in _trusted(settings)
        for path in (Path(os.path.abspath(file)), file.resolve())  # a link, and what it leads to
        if path.exists() and not (closed and path.is_relative_to(settings.folder))
        for place in (path, *_folders(path, settings.folder))
    }
    return [sentence for place in sorted(places) if (sentence := _changeable(place))]


def _secret_files(settings: ApplianceSettings) -> Iterator[Path]:
    yield settings.key
    keys, registry = settings.keys, settings.registry
    if keys.kind != PKCS11:
        yield keys.file
    if keys.secret.kind == "file":
        yield Path(keys.secret.value)
    if registry is None:
        return
    if registry.password is not None and registry.password.kind == "file":
        yield Path(registry.password.value)
    if registry.forward is not None and registry.forward.headers is not None:
        yield registry.forward.headers
    yield from registry.named_files("passfile")


def _trusted(settings: ApplianceSettings) -> Iterator[Path]:
    """Files that are read and believed; the secret ones too, as who may change a folder may exchange what is in it."""
    folder, registry = settings.folder, settings.registry
    yield from (folder / FILE, settings.certificate, settings.client_ca, settings.run.stations)
    yield from (path for path in settings.skus.rglob("*") if path.is_file())
    yield from _named_by_skus(settings.skus)
    yield from _secret_files(settings)
    if settings.keys.kind == PKCS11:
        yield Path(settings.keys.module)
    if registry is not None:
        yield from registry.named_files("sslrootcert")
    if registry is not None and registry.forward is not None and registry.forward.ca is not None:
        yield registry.forward.ca


def _named_by_skus(folder: Path) -> Iterator[Path]:
    """Certificates and HPKE keys, which may lie anywhere; what is wrong with a SKU file is said when it is loaded."""
    for path in folder.glob("sku_*.yml"):
        with suppress(ConfigError):
            config = read_sku(path, folder)
            yield from (*config.certs.values(), *config.layer_keys)


def _folders(path: Path, top: Path) -> Iterable[Path]:
    """The folders that a file lies in, up to the appliance's own, or all of them when it lies elsewhere."""
    inside = path.is_relative_to(top)
    return [parent for parent in path.parents if not inside or parent.is_relative_to(top)]


def _changeable(path: Path) -> str:
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        return f"expected {path} to be owned by the user that serves or by root, its owner is {found.st_uid}"
    if found.st_mode & CHANGE and not found.st_mode & stat.S_ISVTX:
        return f"expected {path} to be writable by its owner only: run chmod go-w {path}"
    return ""


def _is_closed(folder: Path) -> bool:
    found = folder.stat()
    return sys.platform == "win32" or (found.st_uid == os.geteuid() and not found.st_mode & OTHERS)


def _said(path: Path) -> str:
    try:
        require_private(path)
    except ConfigError as error:
        return str(error)
    return ""

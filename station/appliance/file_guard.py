"""Whether somebody else could read the keys of an appliance, or change what it believes. ``serve`` and ``doctor`` ask.

Keys, passphrase, PIN, credentials of database and registry, and registered devices (their blobs hold device seeds) are
for the serving user alone. Settings, roles, SKUs and certificates may be read by all and changed by the serving user or
root. A folder that is closed to all others, such as ``init`` makes it, protects what is in it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from station.appliance.files import OTHERS, require_private
from station.appliance.keystore_settings import PKCS11
from station.appliance.settings import FILE, ApplianceSettings
from station.appliance.spm import AUTH_FILE
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
    if sys.platform == "win32" or _is_closed(settings.folder):
        return []
    return [sentence for path in sorted(set(_trusted(settings))) if (sentence := _changeable(path))]


def _secret_files(settings: ApplianceSettings) -> Iterator[Path]:
    yield settings.key
    keys = settings.keys
    source = keys.pin if keys.kind == PKCS11 else keys.passphrase
    if keys.kind != PKCS11:
        yield keys.file
    if source.kind == "file":
        yield Path(source.value)
    registry = settings.registry
    if registry is not None and registry.password is not None and registry.password.kind == "file":
        yield Path(registry.password.value)
    if registry is not None and registry.forward is not None and registry.forward.headers is not None:
        yield registry.forward.headers


def _trusted(settings: ApplianceSettings) -> Iterator[Path]:
    folder, run = settings.folder, settings.run
    files = [folder / FILE, settings.certificate, settings.client_ca, run.stations, settings.skus / AUTH_FILE]
    files += sorted(path for path in settings.skus.rglob("*") if path.is_file())
    for path in (*files, settings.key):
        if path.exists():
            yield path
            yield from _folders(path, folder)


def _folders(path: Path, top: Path) -> Iterable[Path]:
    """The folders that a file lies in, up to the appliance's own, or the one when it lies elsewhere."""
    if not path.is_relative_to(top):
        return [path.parent]
    return [parent for parent in path.parents if parent.is_relative_to(top)]


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

"""``appliance doctor``: everything that is wrong with an appliance folder, at once and without serving it.

What ``serve`` would refuse is looked at by the same functions. Nothing is made or changed; an HSM is logged into once.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from station.appliance.ceremony.keys import CHECK_BYTES, CHECK_TEXT
from station.appliance.ceremony.transfer import grouped
from station.appliance.device_store import DeviceStore
from station.appliance.file_guard import changeable, exposed
from station.appliance.keystore import Keystore
from station.appliance.keystores import configured_keystore
from station.appliance.loaded_sku import LoadedSku, load_sku
from station.appliance.quota import Quota
from station.appliance.registry_http import HttpRegistry
from station.appliance.registry_settings import RegistrySettings
from station.appliance.service_tls import WARN_DAYS, TlsPaths, read_tls
from station.appliance.session_tokens import NO_KEY, kept_key
from station.appliance.settings import ApplianceSettings, read_settings
from station.appliance.spm import AUTH_FILE, Spm
from station.appliance.stations import ABSENT, Access, covers
from station.appliance.stores import open_postgresql
from station.data_folder import try_lock
from station.errors import EXIT_PASS, ConfigError, JournalError, StationError, nearest
from station.file_errors import file_sentence
from station.model import Realm
from station.processes import LEAKS, allowed_environment
from station.secret import is_hardened

DISK_LEAST, DISK_LOW = 100 << 20, 1 << 30
CLOCK_SLACK = timedelta(minutes=1)
RECORDS = ("device store", "counters", "audit log", "disk")
"""Checks of what must be written before an answer leaves."""


class Level(StrEnum):
    """How a check ended; a warning does not keep the appliance from serving."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and one sentence when it is not well."""

    check: str
    level: Level = Level.OK
    sentence: str = ""

    def __str__(self) -> str:
        mark = {Level.OK: "✔", Level.WARNING: "!", Level.WRONG: "✖"}[self.level]
        return f"{mark} {self.check}{f': {self.sentence}' if self.sentence else ''}"


def examine(folder: Path) -> list[Check]:
    """All checks of a folder; without usable settings there is nothing else to look at."""
    try:
        settings = read_settings(folder)
    except ConfigError as error:
        return list(_each("settings", error))
    return [found for name, check in _CHECKS.items() for found in _carried_out(name, check, settings)]


def _carried_out(
    name: str, check: Callable[[ApplianceSettings], Iterable[Check]], settings: ApplianceSettings
) -> Iterator[Check]:
    """What a check finds; what the file system refuses it is a finding too, and the others go on."""
    try:
        yield from check(settings)
    except OSError as error:
        yield Check(name, Level.WRONG, file_sentence(error))


def exit_code(checks: Iterable[Check]) -> int:
    """0 without anything wrong (warnings do not count), 5 when only records cannot be written, else 2."""
    wrong = {check.check for check in checks if check.level is Level.WRONG}
    if not wrong:
        return EXIT_PASS
    return JournalError.exit_code if wrong <= set(RECORDS) else ConfigError.exit_code


def as_json(checks: Sequence[Check]) -> str:
    """One line: the checks and how many of them are wrong or warn."""
    counts = {level: sum(check.level is level for check in checks) for level in (Level.WRONG, Level.WARNING)}
    totals = {"wrong": counts[Level.WRONG], "warnings": counts[Level.WARNING]}
    return json.dumps({"event": "doctor_ended", **totals, "checks": [asdict(check) for check in checks]})


# ---- who and what this process is -------------------------------------------------------------------------------


def _settings(settings: ApplianceSettings) -> Iterator[Check]:
    yield Check("settings")


def _files(settings: ApplianceSettings) -> Iterator[Check]:
    level = Level.WRONG if settings.realm is Realm.PRODUCTION else Level.WARNING
    found = [Check("files", Level.WRONG, sentence) for sentence in exposed(settings)]
    found += [Check("files", level, sentence) for sentence in changeable(settings)]
    yield from found or [Check("files")]


def _environment(settings: ApplianceSettings) -> Iterator[Check]:
    """What would be refused; other variables are dropped at the start."""
    present = [name for name in LEAKS if os.environ.get(name)]
    if not present:
        yield Check("environment")
        return
    production = settings.realm is Realm.PRODUCTION
    sentence = f"{', '.join(present)}: a library would write what it sends; unset before the start"
    yield Check("environment", Level.WRONG if production else Level.WARNING, sentence)


def _process(settings: ApplianceSettings) -> Iterator[Check]:
    if sys.platform != "win32" and os.geteuid() == 0:
        yield Check("user", Level.WARNING, "expected a user of the appliance's own, saw root: see the systemd unit")
    else:
        yield Check("user")
    if is_hardened():
        yield Check("process")
    else:
        sentence = "expected no core files and a process that others cannot trace, but the system does not grant it"
        yield Check("process", Level.WARNING, sentence)


def _serving(settings: ApplianceSettings) -> Iterator[Check]:
    """The process that serves the folder now, when there is one."""
    if not is_served(settings):
        return
    pid = _pid(settings)
    core = [line.split()[4:6] for line in _lines(pid, "limits") if line.startswith("Max core file size")]
    extra = sorted(set(_names(pid)) - set(allowed_environment(dict.fromkeys(_names(pid), ""))))
    if core and core != [["0", "0"]]:
        yield Check("serving process", Level.WRONG, f"expected process {pid} to leave no core file: restart it")
    elif extra:
        sentence = f"expected the allowed variables only in process {pid}, saw {', '.join(extra)}: restart it"
        yield Check("serving process", Level.WARNING, sentence)
    else:
        yield Check("serving process")


# ---- TLS and keys -----------------------------------------------------------------------------------------------


def _tls(settings: ApplianceSettings) -> Iterator[Check]:
    paths = TlsPaths(settings.certificate, settings.key, settings.client_ca)
    said = _said(lambda: read_tls(paths, settings.realm))
    if said:
        yield Check("TLS", Level.WRONG, said)
        return
    chain = x509.load_pem_x509_certificates(settings.certificate.read_bytes())
    authorities = x509.load_pem_x509_certificates(settings.client_ca.read_bytes())
    found = [Check("TLS", Level.WRONG, sentence) for sentence in _wrong_server(settings.certificate, chain[0])]
    for path, certificates in ((settings.certificate, chain), (settings.client_ca, authorities)):
        found += [check for one in certificates for check in _dates("TLS", str(path), one)]
    yield from found or [Check("TLS")]


def _wrong_server(path: Path, certificate: x509.Certificate) -> Iterator[str]:
    extensions = certificate.extensions
    try:
        if not list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value):
            raise x509.ExtensionNotFound("", x509.SubjectAlternativeName.oid)
    except x509.ExtensionNotFound:
        yield f"expected names of this computer in {path}, saw none: no client would accept it"
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        yield f"expected a certificate for a server (serverAuth) in {path}, saw another"


def _keys(settings: ApplianceSettings) -> Iterator[Check]:
    try:
        with configured_keystore(settings.keys, settings.realm) as keystore:
            yield Check("keystore")
            yield _session_key(keystore)
            yield from _skus(settings, keystore)
    except StationError as error:
        yield Check("keystore", Level.WRONG, str(error))
        yield Check("skus", Level.WARNING, "not looked at, because the keystore does not open")


def _session_key(keystore: Keystore) -> Check:
    """Its check value, as transcripts have it, is what people compare between the instances of a fleet."""
    named = kept_key(keystore, CHECK_TEXT)
    if named is None:
        return Check("session key", Level.WARNING, f"the keystore has {NO_KEY}: sessions end with the process")
    with named.reveal() as raw:
        value = grouped(raw[:CHECK_BYTES].hex())
    return Check("session key", Level.OK, f"check value {value}, the same at every instance of a fleet")


def _skus(settings: ApplianceSettings, keystore: Keystore) -> Iterator[Check]:
    try:
        families = Spm(settings.skus, keystore).configured_skus()
    except StationError as error:
        yield Check("SKU passwords", Level.WRONG, str(error))
        families = []
    else:
        yield Check("SKU passwords")
    files = _sku_files(settings)
    members = {family for family in families if any(name.startswith(family) for name in files)}
    for name in sorted(files | (set(families) - members)):
        yield from _sku(settings, keystore, name)
        if families and not name.startswith(tuple(families)):
            yield Check(f"sku {name}", Level.WARNING, f"it has no password in {AUTH_FILE}: nobody can log in")


def _sku_files(settings: ApplianceSettings) -> set[str]:
    """Names of the SKUs that have a file."""
    return {path.stem.removeprefix("sku_") for path in settings.skus.glob("sku_*.yml") if path.name != AUTH_FILE}


def _sku(settings: ApplianceSettings, keystore: Keystore, name: str) -> Iterator[Check]:
    check = f"sku {name}"
    try:
        loaded = load_sku(settings.skus, name, keystore)
    except StationError as error:
        yield from _each(check, error)
        return
    found = list(_ca_dates(check, loaded))
    yield from found or [Check(check)]


def _ca_dates(check: str, sku: LoadedSku) -> Iterator[Check]:
    for name, der in sku.certs.items():
        yield from _dates(check, f"certificate {name}", x509.load_der_x509_certificate(der))


def _dates(check: str, what: str, certificate: x509.Certificate) -> Iterator[Check]:
    now = datetime.now(UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        yield Check(check, Level.WRONG, f"{what} is not valid before {begin:%Y-%m-%d %H:%M} UTC, it is {now:%H:%M} now")
    elif now > end:
        yield Check(check, Level.WRONG, f"{what} expired on {end:%Y-%m-%d}: replace it")
    elif end - now <= timedelta(days=WARN_DAYS):
        yield Check(check, Level.WARNING, f"{what} expires on {end:%Y-%m-%d}, in {(end - now).days} days: replace it")


# ---- roles, records, time, ports --------------------------------------------------------------------------------


def _stations(settings: ApplianceSettings) -> Iterator[Check]:
    try:
        access = Access(settings.run.stations, settings.realm)
    except ConfigError as error:
        yield from _each("stations", error)
        return
    found = [Check("stations", Level.WARNING, f"{settings.run.stations} is {ABSENT}")] if access.unlimited else []
    skus = _sku_files(settings)
    for station, name in access.named_skus():
        if not any(covers(name, sku) for sku in skus):
            sentence = f"station {station!r} may work with sku {name!r}, which is none of {', '.join(sorted(skus))}"
            found.append(Check("stations", Level.WARNING, f"{sentence}{nearest(name, skus)}"))
    yield from found or [Check("stations")]


def _records(settings: ApplianceSettings) -> Iterator[Check]:
    run = settings.run
    if settings.registry is None:
        yield Check("device store", Level.WARNING, "no registry is configured: RegisterDevice is refused")
    else:
        yield from _registry(settings.registry)
    if settings.registry is None or settings.registry.file is not None:
        yield _writable("counters", run.counters, lambda path: Quota(path).close())
    if run.audit is not None:
        yield _writable("audit log", run.audit, None)


def _registry(registry: RegistrySettings) -> Iterator[Check]:
    """With PostgreSQL the account is in the same database."""
    if registry.file is not None:
        yield _writable("device store", registry.file, lambda path: DeviceStore(path).close())
    else:
        said = _said(lambda: open_postgresql(registry, make=False).close())
        yield Check("device store", Level.WRONG, said) if said else Check("device store")
    if registry.forward is not None:
        forward = HttpRegistry(registry.forward)
        said = _said(forward.check)
        yield Check("forwarding", Level.WRONG, said) if said else Check("forwarding")


def _writable(check: str, path: Path, use: Callable[[Path], None] | None) -> Check:
    """What is not there yet is not made; what is there is opened as ``serve`` opens it."""
    if not path.exists():
        place = path.resolve().parent  # a link may lead elsewhere
        good = place.is_dir() and os.access(place, os.W_OK)
        said = "" if good else f"expected to write to {place}, but it is absent or write-protected"
        return Check(check, Level.WRONG, said) if said else Check(check)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except OSError as error:
        return Check(check, Level.WRONG, file_sentence(error))
    said = _said(lambda: use(path)) if use is not None else ""
    return Check(check, Level.WRONG, said) if said else Check(check)


def _disk(settings: ApplianceSettings) -> Iterator[Check]:
    for folder in sorted({path.parent for path in settings.record_files if path.parent.is_dir()}):
        free = shutil.disk_usage(folder).free
        level = Level.WRONG if free < DISK_LEAST else Level.WARNING if free < DISK_LOW else Level.OK
        said = f"{free >> 20} MiB are free for {folder}: make room" if level is not Level.OK else ""
        yield Check("disk", level, said)


def _clock(settings: ApplianceSettings) -> Iterator[Check]:
    """Time never runs back: what was written here was written before now."""
    paths = [path for path in settings.record_files if path.exists()]
    latest = max((datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in paths), default=None)
    if latest is not None and latest > datetime.now(UTC) + CLOCK_SLACK:
        sentence = f"expected a time after the last record ({latest:%Y-%m-%d %H:%M} UTC): set the clock"
        yield Check("clock", Level.WRONG, sentence)
    else:
        yield Check("clock")


def _ports(settings: ApplianceSettings) -> Iterator[Check]:
    wanted = [("port", settings.host, settings.port)]
    if settings.run.metrics is not None:
        wanted.append(("metrics port", settings.run.metrics.host, settings.run.metrics.port))
    served = is_served(settings)
    for check, host, port in wanted:
        said = "" if served or not port else _taken(host, port)
        yield Check(check, Level.WRONG, said) if said else Check(check)


def _taken(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return f"expected to listen on {host} port {port}, but: {error.strerror or error}"
    return ""


def is_served(settings: ApplianceSettings) -> bool:
    """True while a process serves the folder."""
    try:
        file = settings.lock.open("a+" if os.access(settings.lock, os.W_OK) else "r", encoding="utf-8")
    except FileNotFoundError:
        return False
    with file:
        return not try_lock(file)


def _pid(settings: ApplianceSettings) -> int:
    try:
        return int(json.loads(settings.endpoint.read_bytes())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _lines(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").splitlines()
    except OSError:
        return []


def _names(pid: int) -> list[str]:
    return [entry.partition("=")[0] for line in _lines(pid, "environ") for entry in line.split("\0") if entry]


def _each(check: str, error: StationError) -> Iterator[Check]:
    """One check per finding of an error."""
    findings = error.findings if isinstance(error, ConfigError) else ()
    yield from (Check(check, Level.WRONG, sentence) for sentence in list(map(str, findings)) or [str(error)])


def _said(action: Callable[[], object]) -> str:
    try:
        action()
    except StationError as error:
        return str(error)
    return ""


_CHECKS: Mapping[str, Callable[[ApplianceSettings], Iterable[Check]]] = {
    "settings": _settings, "files": _files, "environment": _environment, "process": _process,
    "serving process": _serving, "TLS": _tls, "keystore": _keys, "stations": _stations, "device store": _records,
    "disk": _disk, "clock": _clock, "port": _ports,
}  # fmt: skip
"""By the name that a check has in ``doctor`` when it cannot be carried out at all."""

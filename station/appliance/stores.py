"""Open what the settings name: the device store and the account, in SQLite files or in one PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from station.appliance.database_schema import ACCOUNT, REGISTRY
from station.appliance.device_store import DeviceStore
from station.appliance.passphrase import reader
from station.appliance.quota import Quota
from station.appliance.registry_settings import RegistrySettings
from station.appliance.settings import ApplianceSettings
from station.errors import ConfigError
from station.extras import install_appliance_extra

if TYPE_CHECKING:
    from station.appliance.database_postgresql import PostgresDatabase


@dataclass(frozen=True, slots=True)
class Stores:
    """``store`` is None when devices are not registered here."""

    store: DeviceStore | None
    quota: Quota


@contextmanager
def open_stores(settings: ApplianceSettings) -> Iterator[Stores]:
    """Both, until the end; everything wrong with them raises ``ConfigError``."""
    if settings.has_shared_account:
        with _postgresql(settings) as database:
            yield Stores(DeviceStore(database), Quota(database))
        return
    with ExitStack() as stack:
        store = None
        if settings.registry is not None and settings.registry.file is not None:
            store = DeviceStore(settings.registry.file)
            stack.callback(store.close)
        quota = Quota(settings.run.counters)
        stack.callback(quota.close)
        yield Stores(store, quota)


@contextmanager
def existing_store(settings: ApplianceSettings) -> Iterator[DeviceStore | None]:
    """The device store beside a server that may be running; None when there is none, and none is made."""
    file = settings.registry.file if settings.registry is not None else None
    if settings.has_shared_account:
        with _postgresql(settings, make=False) as database:
            yield DeviceStore(database) if database.has_tables else None
    elif file is None or not file.exists():
        yield None
    else:
        with closing(DeviceStore(file)) as store:
            yield store


@contextmanager
def existing_account(settings: ApplianceSettings) -> Iterator[Quota | None]:
    """The account beside a server that may be running; None when there is none, and none is made."""
    if settings.has_shared_account:
        with _postgresql(settings, make=False) as database:
            yield Quota(database) if database.has_tables else None
    elif settings.run.counters.exists():
        with closing(Quota(settings.run.counters)) as quota:
            yield quota
    else:
        yield None


def open_postgresql(settings: RegistrySettings, make: bool = True) -> PostgresDatabase:
    """The database of the address; without ``make`` nothing is changed there."""
    try:
        from station.appliance.database_postgresql import PostgresAddress, PostgresDatabase
    except ImportError:  # psycopg is an extra: only those who use PostgreSQL install it
        raise ConfigError(
            f"expected the package psycopg for a registry in PostgreSQL: {install_appliance_extra('postgresql')}"
        ) from None
    source = settings.password
    password = None if source is None else reader(source, "password of the database")
    address = PostgresAddress(settings.url, password, settings.connections)
    return PostgresDatabase(address, REGISTRY, ACCOUNT, make=make)


@contextmanager
def _postgresql(settings: ApplianceSettings, make: bool = True) -> Iterator[PostgresDatabase]:
    assert settings.registry is not None
    with closing(open_postgresql(settings.registry, make)) as database:
        yield database

"""Device stores of both engines for tests: an empty place, and what is in it by another way than the store's own."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from postgres import Cluster

from station.appliance.database import Database
from station.appliance.database_postgresql import PostgresAddress, PostgresDatabase
from station.appliance.database_schema import ACCOUNT, REGISTRY
from station.appliance.database_sqlite import SqliteDatabase
from station.appliance.device_store import StoredDevice
from station.secret import Secret

DEVICE = StoredDevice("0x01", "sival", b"record", "aa", False, "station-1", 5)


class Place(Protocol):
    """Where a registry can be."""

    def open(self) -> Database: ...

    def configure(self, folder: Path) -> None: ...

    def rows(self, query: str) -> list[tuple[Any, ...]]: ...


@dataclass
class SqlitePlace:
    path: Path

    def open(self) -> Database:
        return SqliteDatabase(self.path, REGISTRY)

    def configure(self, folder: Path) -> None:
        """An appliance folder that keeps its devices here."""
        configure(folder, registry=str(self.path))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            return connection.execute(query).fetchall()


@dataclass
class PostgresPlace:
    cluster: Cluster
    schema: str

    @property
    def url(self) -> str:
        return self.cluster.url(self.schema)

    def open(self, connections: int = 8) -> PostgresDatabase:
        password = Secret(self.cluster.password.encode(), "password of the database")
        return PostgresDatabase(PostgresAddress(self.url, lambda: password, connections), REGISTRY, ACCOUNT)

    def configure(self, folder: Path) -> None:
        configure(folder, registry=self.url, registry_password=str(self.cluster.password_file))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.cluster.connect(self.schema)) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


def configure(folder: Path, **lines: object) -> None:
    """Set lines of ``appliance.toml``."""
    path = folder / "appliance.toml"
    kept = [line for line in path.read_text().splitlines() if line.partition("=")[0].strip() not in lines]
    texts = {key: f'"{value}"' if isinstance(value, str) else str(value).lower() for key, value in lines.items()}
    path.write_text("\n".join([*kept, *(f"{key} = {text}" for key, text in texts.items())]) + "\n")

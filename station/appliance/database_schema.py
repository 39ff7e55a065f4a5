"""The tables of the device store and of the account. Never change a version that was released: append another one."""

from __future__ import annotations

from station.appliance.database import Schema

REGISTRY = Schema(
    "registry",
    (
        (
            "CREATE TABLE registrations (id {serial}, device_id TEXT NOT NULL, sku TEXT NOT NULL,"
            " record {bytes} NOT NULL, digest TEXT NOT NULL, flagged {integer} NOT NULL, client TEXT,"
            " received_ms {integer} NOT NULL)",
            "CREATE UNIQUE INDEX idx_registrations_device_id_digest ON registrations (device_id, digest)",
        ),
        (
            # One registration of a device is its first one; this index decides which when several processes write.
            "CREATE UNIQUE INDEX registrations_first ON registrations (device_id) WHERE flagged = 0",
            "CREATE INDEX registrations_flagged ON registrations (id) WHERE flagged = 1",
            "ALTER TABLE registrations ADD COLUMN forwarded_ms {integer}",
            "ALTER TABLE registrations ADD COLUMN attempts {integer} NOT NULL DEFAULT 0",
            "ALTER TABLE registrations ADD COLUMN next_try_ms {integer} NOT NULL DEFAULT 0",
            "ALTER TABLE registrations ADD COLUMN failure TEXT NOT NULL DEFAULT ''",
            "CREATE INDEX registrations_pending ON registrations (id) WHERE forwarded_ms IS NULL",
            "CREATE TABLE journals (station TEXT NOT NULL, journal TEXT NOT NULL, epoch {integer} NOT NULL,"
            " length {integer} NOT NULL, head TEXT NOT NULL, time_us {integer} NOT NULL, seen_ms {integer} NOT NULL,"
            " broken_ms {integer}, broken TEXT NOT NULL, PRIMARY KEY (station, journal))",
            "CREATE TABLE anchors (id {serial}, station TEXT NOT NULL, journal TEXT NOT NULL,"
            " epoch {integer} NOT NULL, length {integer} NOT NULL, head TEXT NOT NULL, time_us {integer} NOT NULL,"
            " seen_ms {integer} NOT NULL, device_id TEXT NOT NULL, broken TEXT NOT NULL)",
            "CREATE INDEX anchors_of_journal ON anchors (station, journal, epoch, length)",
        ),
        (
            # Those that were never tried have 0 there; any number of others must not stand before them.
            "CREATE INDEX registrations_next_try ON registrations (next_try_ms, id) WHERE forwarded_ms IS NULL",
            "DROP INDEX registrations_pending",
        ),
        # The calls that failed in a row, for who looks from beside: they are held against no record.
        (
            "CREATE TABLE failed_calls (id {integer} PRIMARY KEY, failures {integer} NOT NULL, failure TEXT NOT NULL,"
            " next_try_ms {integer} NOT NULL)",
        ),
    ),
)
"""``received_ms``, ``seen_ms``: milliseconds since 1970; ``time_us``: microseconds, by the station's clock."""

ACCOUNT = Schema(
    "account",
    (
        (
            "CREATE TABLE devices (device TEXT PRIMARY KEY, sku TEXT, station TEXT, work_order TEXT, day TEXT,"
            " endorsed_ms {integer}, registered {integer})",
            "CREATE TABLE spent (work_order TEXT, day TEXT, endorsed {integer}, unregistered {integer},"
            " PRIMARY KEY (work_order, day))",
            "CREATE TABLE closed_sessions (session {bytes} PRIMARY KEY, expires {integer})",
        ),
        # A factory that logs in for every part closes a hundred thousand sessions before the first of them expires.
        ("CREATE INDEX closed_sessions_expires ON closed_sessions (expires)",),
    ),
)
"""``expires``: seconds since 1970."""

"""The tables of docs/architecture.md about the engine's JSON lines, made from the protocol's classes; run to print."""

from __future__ import annotations

import dataclasses
import typing

from station import protocol


def table(title: str, union: object) -> str:
    """One row per class: its name, its fields (those that may be left out in brackets), its first sentence."""
    rows = [f"| {title} | Fields | Says |", "|---|---|---|"]
    for one in typing.get_args(union):
        doc = " ".join((one.__doc__ or "").replace("``", "`").split())
        says = doc.partition(". ")[0].rstrip(".")
        rows.append(f"| `{one.__name__}` | {', '.join(map(_field, dataclasses.fields(one))) or '–'} | {says} |")
    return "\n".join(rows) + "\n"


def _field(one: dataclasses.Field[object]) -> str:
    optional = one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
    return f"[{one.name}]" if optional else one.name


def tables() -> str:
    """Both tables as they stand in the page."""
    return table("Command", protocol.Command) + "\n" + table("Event", protocol.Event)


if __name__ == "__main__":
    print(tables(), end="")

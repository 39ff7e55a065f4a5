"""What is wrong with the fields of a command that came as JSON, in words that name the field and none of its values."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from station.secret import Secret

_WORDS: Mapping[Any, tuple[type[Any], str]] = {
    int: (int, "a whole number"), str: (str, "text"), Secret: (str, "text"), dict: (dict, "an object"),
}  # fmt: skip


def misfit(cls: type[Any], body: Mapping[str, Any], hints: Mapping[str, Any]) -> str:
    """One sentence about the first field that is missing or of another kind; empty when all fit."""
    for one in dataclasses.fields(cls):
        if one.name in body:
            kind, word = _WORDS.get(typing.get_origin(hints[one.name]) or hints[one.name], (None, ""))
            if kind is not None and type(body[one.name]) is not kind:
                return f"expected {word} in the field '{one.name}' of {cls.__name__}, saw another kind of value"
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            names = ", ".join(other.name for other in dataclasses.fields(cls))
            return f"expected the field '{one.name}' in {cls.__name__}, but it is missing; its fields are {names}"
    return ""

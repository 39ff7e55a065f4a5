"""Collects every text of the window for the translator: ``python -m ui.catalogue`` writes the source catalogue."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from xml.sax.saxutils import escape

SOURCE = "station_source.ts"


def messages(folder: Path) -> dict[str, list[str]]:
    """Context -> texts: ``self.tr`` under its class, ``translate`` under the context it names."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted(folder.glob("*.py")):
        _collect(ast.parse(file.read_text(encoding="utf-8")), "", found)
    return {context: sorted(texts) for context, texts in sorted(found.items())}


def _collect(node: ast.AST, context: str, found: dict[str, set[str]]) -> None:
    if isinstance(node, ast.ClassDef):
        context = node.name
    if isinstance(node, ast.Call):
        _take(node, context, found)
    for child in ast.iter_child_nodes(node):
        _collect(child, context, found)


def _take(call: ast.Call, context: str, found: dict[str, set[str]]) -> None:
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "tr" and texts:
        found[context].add(texts[0])
    elif isinstance(call.func, ast.Name) and call.func.id == "translate" and len(texts) == 2:
        found[texts[0]].add(texts[1])


def catalogue(folder: Path) -> str:
    """The catalogue as Qt Linguist reads it."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<!DOCTYPE TS>", '<TS version="2.1" sourcelanguage="en">']
    for context, texts in messages(folder).items():
        lines += ["<context>", f"    <name>{escape(context)}</name>"]
        for text in texts:
            source = escape(text)
            lines.append(
                f'    <message><source>{source}</source><translation type="unfinished"></translation></message>'
            )
        lines.append("</context>")
    return "\n".join([*lines, "</TS>", ""])


def main() -> None:
    """Write the catalogue beside the translations."""
    folder = Path(__file__).resolve().parent
    target = folder.parent / "resources" / "translations" / SOURCE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(catalogue(folder), encoding="utf-8")


if __name__ == "__main__":
    main()

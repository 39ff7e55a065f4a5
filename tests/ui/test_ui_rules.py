"""Rules of the window's source: imports, where worker signals end, and that every visible text can be translated."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "ui").glob("*.py"))
TREES = {file.name: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
SHOWING = {
    "setText", "setWindowTitle", "setPlaceholderText", "setToolTip", "setInformativeText", "set_text", "set_word",
    "addAction", "addMenu", "addRow", "addButton", "addItem", "notice", "showText", "refused",
    "QLabel", "QPushButton", "Field", "Figure", "Primary", "TileWords",
}  # fmt: skip
PLAIN = {"role", "kind", "command", "socket", "epoch"}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def name_of(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_imports():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                top = module.split(".")[0]
                assert top not in ("drivers", "grpc", "sqlite3"), (name, module)
                allowed = ("station.protocol", "station.model", *(["station.program"] if name == "__main__.py" else []))
                assert top != "station" or module in allowed, (name, module)


def test_signals_of_the_reader_thread_end_in_bound_methods_only():
    connects = [call for call in calls(TREES["engine_link.py"]) if name_of(call) == "connect"]
    connects += [
        call
        for call in calls(TREES["window.py"])
        if name_of(call) == "connect" and ast.unparse(call.func).startswith("self.link.")
    ]
    assert len(connects) == 5
    for call in connects:
        assert re.fullmatch(r"self\.\w+", ast.unparse(call.args[0])), ast.unparse(call)


def has_words(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return len(re.findall(r"[A-Za-z]{2,}", node.value)) > 0
    if isinstance(node, ast.JoinedStr):
        return any(has_words(part) for part in node.values)
    return False


@pytest.mark.parametrize("name", TREES)
def test_no_visible_text_bypasses_translation(name):
    for call in calls(TREES[name]):
        if name_of(call) not in SHOWING:
            continue
        shown = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg not in PLAIN)]
        if name_of(call) == "setStyleSheet":
            continue
        assert not any(has_words(node) for node in shown), f"{name}:{call.lineno}: {ast.unparse(call)}"


def test_catalogue_is_up_to_date():
    from ui.catalogue import catalogue

    stored = (ROOT / "resources" / "translations" / "station_source.ts").read_text(encoding="utf-8")
    assert stored == catalogue(ROOT / "ui"), "run: python -m ui.catalogue"


def test_catalogue_knows_contexts_of_classes_and_functions():
    from ui.catalogue import messages

    found = messages(ROOT / "ui")
    assert "DO NOT REMOVE" in found["words"] and "Pause" in found["LogCard"]
    assert any(text.startswith("Socket {n}: start") for text in found["primary"])


def test_nothing_reveals_a_secret_or_kills_a_process():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        for word in (".reveal(", ".kill(", ".terminate(", "killpg", "QProcess"):
            assert word not in text, (file.name, word)

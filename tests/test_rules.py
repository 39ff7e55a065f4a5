"""The import rules of the house, and a few more that a reader cannot see at a glance, checked on the source text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for package in ("station", "drivers", "ui")
    for path in (ROOT / package).rglob("*.py")
    if "wire" not in path.relative_to(ROOT).parts[:2]
)
DRIVER_CORE = {"ports", "model", "secret", "deadline", "errors", "formats", "wire", "resources", "toml_file"}
PART_CORE = {"ports", "formats", "model", "secret", "deadline", "errors", "parts"}
FLOW_CORE = {"run", "parts", "ports", "formats", "model", "errors", "flows"}
FLOW_FORBIDDEN = {"os", "socket", "subprocess", "time", "serial", "threading", "pathlib"}
FORMAT_FORBIDDEN = {"os", "io", "time", "random", "secrets", "socket", "subprocess", "datetime", "pathlib", "threading"}
VIRTUAL_FORMATS = {
    "lc", "lc_token", "device_id", "console_json", "console_text", "spi_console", "perso_blob", "otp", "dice_build",
    "firmware", "sram_elf", "der", "dice",
}  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Dotted names that the file imports, anywhere in it, TYPE_CHECKING blocks included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def top(module: str) -> str:
    return module.partition(".")[0]


def second(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def under(*folders: str) -> list[Path]:
    return [path for path in SOURCES if any(name(path).startswith(folder) for folder in folders)]


def refuse(paths: list[Path], bad) -> None:
    assert paths, "the rule looks at nothing"
    found = [f"{name(path)}: {module}" for path in paths for module in imports(path) if bad(path, module)]
    assert not found, "\n".join(found)


def test_station_imports_neither_window_nor_drivers():
    refuse(under("station/"), lambda _, m: top(m) in ("ui", "drivers"))


def test_qt_lives_in_ui_only():
    refuse(under("station/", "drivers/"), lambda _, m: top(m) in ("PySide6", "shiboken6", "pyqtgraph"))


def test_ui_knows_protocol_and_model_only():
    allowed = {"protocol", "model", "secret", "program"}  # Secret: the PIN's one encoder; program: the engine's command
    refuse(under("ui/"), lambda _, m: top(m) == "drivers" or (top(m) == "station" and second(m) not in allowed))


def test_drivers_know_ports_and_values_only():
    refuse(under("drivers/"), lambda _, m: top(m) == "ui" or (top(m) == "station" and second(m) not in DRIVER_CORE))


def test_drivers_do_not_import_one_another():
    def bad(path: Path, module: str) -> bool:
        if top(module) != "drivers":
            return False
        mine = path.relative_to(ROOT / "drivers").parts[0].removesuffix(".py")
        return second(module) != mine

    refuse(under("drivers/"), bad)


def test_virtual_bench_shares_only_formats_with_outside_vectors():
    def bad(_: Path, module: str) -> bool:
        parts = module.split(".")
        return parts[:2] == ["station", "formats"] and len(parts) > 2 and parts[2] not in VIRTUAL_FORMATS

    refuse(under("drivers/virtual/"), bad)


def test_parts_know_ports_and_formats():
    refuse(under("station/parts/"), lambda _, m: top(m) == "station" and second(m) not in PART_CORE)


def test_flows_touch_no_operating_system():
    refuse(under("station/flows/"), lambda _, m: top(m) in FLOW_FORBIDDEN)
    refuse(under("station/flows/"), lambda _, m: top(m) == "station" and second(m) not in FLOW_CORE)


def test_formats_are_pure():
    values = ("datetime.datetime", "datetime.UTC")  # the types; reading the clock is caught below
    refuse(under("station/formats/"), lambda _, m: top(m) in FORMAT_FORBIDDEN and m not in values)
    refuse(under("station/formats/"), lambda _, m: top(m) == "station" and second(m) not in ("formats", "errors"))
    calls = [
        f"{name(path)}:{node.lineno}"
        for path in under("station/formats/")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in ("open", "print", "input"))
            or (isinstance(node.func, ast.Attribute) and node.func.attr in ("now", "today", "utcnow"))
        )
    ]
    assert not calls, calls


def test_sqlite_only_where_records_live():
    allowed = ("station/journal", "station/records/", "station/appliance/database_sqlite")
    others = [path for path in SOURCES if not name(path).startswith(allowed)]
    refuse(others, lambda _, m: top(m) in ("sqlite3", "sqlite_utils"))
    others = [path for path in SOURCES if name(path) != "station/appliance/database_postgresql.py"]
    refuse(others, lambda _, m: top(m) == "psycopg")


def test_grpc_only_at_the_wire():
    allowed = ("station/wire/", "drivers/appliance_grpc", "station/appliance/service", "station/appliance/server")
    others = [path for path in SOURCES if not name(path).startswith(allowed)]
    refuse(others, lambda _, m: top(m) in ("grpc", "grpc_health", "grpc_reflection", "grpc_status"))


def test_secrets_are_revealed_in_few_places():
    allowed = (
        "drivers/", "station/formats/", "station/parts/", "station/appliance/", "station/secret.py",
        "station/protocol.py", "station/operators.py", "station/credentials.py",
    )  # fmt: skip
    found = [name(p) for p in SOURCES if ".reveal(" in p.read_text() and not name(p).startswith(allowed)]
    assert not found, found


def makers(source: str, value: str) -> list[int]:
    """Lines that make a value of the class: by its own name, by another one it is given, or as an attribute."""
    tree = ast.parse(source)
    names = {value}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.name == value and alias.asname}
        elif isinstance(node, ast.Assign) and called(node.value) == value:
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node.func) in names]


def called(node: ast.expr) -> str:
    """The last name of ``a``, ``b.a``; empty for anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("from station.model import EraseWaiver\nEraseWaiver('x', 1)", [2]),
        ("from station.model import EraseWaiver as Word\nWord('x', 1)", [2]),
        ("from station import model\nmodel.EraseWaiver('x', 1)", [2]),
        ("from station import model\nMade = model.EraseWaiver\nMade('x', 1)", [3]),
        ("from station.model import EraseWaiver\ndef erase(waiver: EraseWaiver) -> None: ...", []),
    ],
)
def test_who_makes_a_value_is_seen(source, lines):
    assert makers(source, "EraseWaiver") == lines


def test_only_a_run_waives_an_erasure():
    """``Run.waive_erase`` writes the journal's row first: no waiver comes from anywhere else."""
    found = {name(path): lines for path in SOURCES if (lines := makers(path.read_text(), "EraseWaiver"))}
    assert list(found) == ["station/run.py"] and len(found["station/run.py"]) == 1, found


def test_no_broad_except_hides_a_fault():
    """``except Exception`` needs a reason beside it; a bare ``except:`` is never right."""
    found = []
    for path in SOURCES:
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            bare = re.match(r"\s*except\s*:", line)
            broad = re.match(r"\s*except (Base)?Exception\b", line) and "#" not in line
            if bare or broad:
                found.append(f"{name(path)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_lock_files_hold_no_address():
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert len(locks) == 5
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text, lock.name
        assert text.count("--hash=sha256:") >= text.count("==")


@pytest.mark.parametrize("package", ["station", "drivers"])
def test_types_are_strict(package):
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "mypy", "-p", package], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_style():
    import subprocess
    import sys

    folders = ("station", "drivers", "ui", "tests", "benchmarks", "start.py")
    done = subprocess.run([sys.executable, "-m", "ruff", "check", *folders], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_module_grows_past_five_hundred_lines():
    long = [f"{name(p)} {len(p.read_text().splitlines())}" for p in SOURCES if len(p.read_text().splitlines()) > 500]
    assert not long, long

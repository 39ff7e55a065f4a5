"""Every bin that a part or a flow names exists, so that no verdict ends in an unknown bin."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RAISES = {"PartError": 1, "Reject": 1}


def named_bins():
    for folder in ("station/parts", "station/flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                given = [k.value for k in node.keywords if k.arg == "bin"]
                if called in RAISES:
                    given += node.args[RAISES[called] :]
                for value in given:
                    if isinstance(value, ast.Constant):
                        yield value.value, f"{path.name}:{node.lineno}"


def test_every_named_bin_exists():
    known = set(tomllib.loads((ROOT / "resources/bins.toml").read_text())["bin"])
    named = list(named_bins())
    assert len(named) > 20, "the test found almost no bin names: it looks at the wrong place"
    assert not [f"{place}: {name}" for name, place in named if name not in known]


def test_every_plan_title_is_run_by_its_flow():
    """Plan and code agree: each title of the plan appears in the flow, and nothing else does."""
    from station.flows import chip_probe, final_test, tfm_provisioning, tfm_recover

    for module in (chip_probe, final_test, tfm_provisioning, tfm_recover):
        text = Path(module.__file__).read_text()
        ids = {title.id for title in module.PLAN}
        used = {
            node.attr
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "PLAN"
        }
        assert used - {"takes_back"} == ids, module.__name__

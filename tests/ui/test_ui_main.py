"""``station-gui`` as a process: no display, replay, and a live fake engine from start to end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ui_samples as s

from station.protocol import encode
from ui.__main__ import engine_command, has_display, main, parse

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).with_name("fake_engine.py")


@pytest.fixture
def blind(monkeypatch):
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_no_display_is_one_sentence_and_2(blind, capsys):
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "no display" in said and "station run" in said and said.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_display_rules(blind, monkeypatch):
    assert not has_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert has_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":1")
    assert has_display()


def test_missing_recording_is_said(capsys, tmp_path):
    assert main(["--replay", str(tmp_path / "none")]) == 2
    assert "expected a recorded event file" in capsys.readouterr().err


def test_engine_command_line():
    assert engine_command(parse(["--engine", "my", "engine", "--flag"])) == ["my", "engine", "--flag"]
    command = engine_command(parse(["--data", "d", "--station", "bench.toml"]))
    assert command == [sys.executable, "-P", "-m", "station", "engine", "--data", "d", "--station", "bench.toml"]


def run_window(tmp_path, script, *arguments):
    """The real main() in a process of its own, with something that closes the window."""
    program = f"""
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
application = QApplication(["station-gui"])
def look():
    for window in application.topLevelWidgets():
        view = getattr(window, "view", None)
        if view is not None:
{script}
timer = QTimer(); timer.timeout.connect(look); timer.start(20)
guard = QTimer(); guard.setSingleShot(True); guard.timeout.connect(lambda: application.exit(99)); guard.start(15000)
from ui.__main__ import main
sys.exit(main({list(arguments)!r}))
"""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_replay_from_start_to_end(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(encode(event) for event in s.bench()))
    script = """
            if view.lost is not None:
                print(window.operate.band.text(), window.operate.tiles[1].word.text(), view.lost)
                window.close()
"""
    done = run_window(tmp_path, script, "--replay", str(file), "--speed", "0", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "REPLAY" in done.stdout and "ENGINE STOPPED" in done.stdout and "End of events.jsonl." in done.stdout


def test_live_engine_from_start_to_end(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(encode(event) for event in s.bench(states=[s.READY])))
    script = """
            if view.hello is not None and window.operate.header.operator.value.text():
                print(window.operate.tiles[3].word.text(), window.operate.header.operator.value.text())
                window.close()
"""
    recording = tmp_path / "recorded.jsonl"
    arguments = ["--data", str(tmp_path), "--record", str(recording)]
    done = run_window(tmp_path, script, *arguments, "--engine", sys.executable, str(FAKE), str(file))
    assert done.returncode == 0, done.stderr
    assert "READY op-117" in done.stdout and '"type":"Hello"' in recording.read_text()

"""A scripted engine: writes the events of a file, then answers commands until its input ends or it is told to die.

Usage: fake_engine.py EVENTS [--die-after-events] [--flood N] [--deaf]; every command line it gets is echoed as a Log.
"""

import json
import os
import sys
import time


def say(**body):
    sys.stdout.write(json.dumps(body) + "\n")
    sys.stdout.flush()


def answer(body):
    kind = body["type"]
    say(type="Log", time=1.0, socket=0, source="fake", level="info", text=kind + ":" + ",".join(sorted(body)))
    if kind == "SignIn":
        good = body["pin"] == "4711"
        say(type="SignedIn", operator=body["operator"] if good else "", failed="" if good else "wrong PIN")
    elif kind == "Query":
        say(type="Rows", query=body["query"], request=body["request"], columns=["run", "label"], rows=[["r1", "041"]])
    elif kind == "Scan" and body["text"] == "DIE":
        sys.stderr.write("first line\nthe bench caught fire\n")
        os._exit(70)


def main():
    with open(sys.argv[1]) as file:
        sys.stdout.write(file.read())
        sys.stdout.flush()
    if "--flood" in sys.argv:
        body = {
            "type": "Log",
            "time": 1.5,
            "socket": 1,
            "source": "dut",
            "level": "info",
            "text": "Waiting For RMA Unlock Token",
        }
        line = json.dumps(body) + "\n"
        for _ in range(int(sys.argv[sys.argv.index("--flood") + 1]) // 1000):
            sys.stdout.write(line * 1000)
        sys.stdout.flush()
    if "--die-after-events" in sys.argv:
        sys.stderr.write("Traceback: no bench\n")
        sys.exit(3)
    for line in sys.stdin:
        body = json.loads(line)
        answer(body)
        if body["type"] == "Shutdown" and "--slow-end" in sys.argv:
            time.sleep(0.3)
    say(type="Ended", sentence="")


main()

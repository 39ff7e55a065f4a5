"""Generate ``station/wire`` from the proto files beside this script.

Run it with the pinned grpcio-tools after every change of a proto file: ``python resources/proto/generate.py [FOLDER]``.
The proto folder is mapped to the virtual path ``station/wire``, so the generated imports resolve as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
VIRTUAL = "station/wire"
SERVICES = ("pa.proto",)


def generate(target: Path) -> None:
    """Write the message modules, their type stubs and the service module below ``target``/station/wire."""
    messages = [f"{VIRTUAL}/{file.name}" for file in sorted(HERE.glob("*.proto"))]
    services = [f"{VIRTUAL}/{name}" for name in SERVICES]
    include = f"-I{VIRTUAL}={HERE}"
    _protoc([include, f"--python_out={target}", f"--pyi_out={target}", *messages])
    _protoc([include, f"--grpc_python_out={target}", *services])


def _protoc(arguments: list[str]) -> None:
    status = protoc.main(["protoc", *arguments])
    if status:
        raise SystemExit(f"protoc ended with status {status}; see its findings above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1])

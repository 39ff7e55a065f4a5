"""Generated protobuf and gRPC modules (from ``resources/proto``, by its ``generate.py``); no logic."""

"""Flows: plain functions that read like the work instruction; their plans are the operator's checklist."""

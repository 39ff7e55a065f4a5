"""Formats: bytes in, values out; no I/O, no clock, no randomness. Everything wrong raises ``errors.FormatError``."""

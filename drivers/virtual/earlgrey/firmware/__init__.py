"""Behavioural models of the chip's own programs: ROM, CP, individualize, personalize, ROM_EXT."""

"""The window: Qt only, no decisions; it shows the engine's events and sends commands."""

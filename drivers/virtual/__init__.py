"""The virtual bench: virtual USB adapters with virtual chips behind them, in a process of its own."""

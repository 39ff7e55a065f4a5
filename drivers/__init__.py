"""Drivers: the outside world, one module or package per adapter."""

"""The virtual Nordic parts: nRF5340, nRF9160 and nRF91x1, served to a debug probe and serial ports."""

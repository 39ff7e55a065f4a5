"""Side-by-side measurements: every figure with its baseline from the same run and the aim it has to meet."""

"""NumPy in, NumPy out: the core's capabilities as functions. Nothing here imports torch."""

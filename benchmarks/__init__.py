"""Measurements with a limit each, run from the repository root: `python -m benchmarks [NAME...]`."""

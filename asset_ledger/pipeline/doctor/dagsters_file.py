"""Dagster's file (dagster.yaml) as it stands: which one it is, and values of it. What they mean is judged elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from asset_ledger.settings import Settings


def path_of(settings: Settings) -> Path | None:
    """Return the file that somebody named, else the one that was made for Dagster; None where none was made yet."""
    made = settings.dagster_home / "dagster.yaml"
    return settings.named_dagster_config or (made if made.exists() else None)


def read(file: Path) -> Any:
    """Return what a file says. Raises OSError, UnicodeError or yaml.YAMLError."""
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}


def under(told: Any, *path: str) -> Any:
    """Return what stands under these keys, None where there is nothing."""
    for step in path:
        told = told.get(step) if isinstance(told, dict) else None
    return told


def whole(told: Any, *path: str) -> int | None:
    """Return the whole number that stands under these keys, None where there is none."""
    found = under(told, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def longest_run_s(file: Path | None) -> int | None:
    """Return after how many seconds Dagster ends a run; None where it ends none, or the file does not say."""
    if file is None:
        return None
    try:
        monitoring = under(read(file), "run_monitoring")
    except (OSError, UnicodeError, yaml.YAMLError):
        return None
    if under(monitoring, "enabled") is False:
        return None
    return whole(monitoring, "max_runtime_seconds") or None

"""How a run ends that could not do every day it was for: it went on, and its failure names each day and its cause.

Which errors are tried again is decided here for ranges as `policies.failure` decides it for one day.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import date

import dagster as dg

from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.days import Done, told
from asset_ledger.sources.platform import SourceConfig

FAILED_DAYS = "failed_days"
"""Under which metadata a run that did not do every day names each with its cause."""
DEFECTS = (OSError, ValueError, TypeError, LookupError, EOFError, zlib.error)
"""A folder that may not be written, raw that cannot be unpacked, or a defect: the same again a minute later."""


def failed_days(source: SourceConfig, done: Done, unreached: Sequence[date] = ()) -> dg.Failure:
    """Return the failure of a run over several days of which some failed. What the others wrote is kept."""
    causes = {day.isoformat(): told(error).replace("\n", " ") for day, error in done.failed.items()}
    days = "day" if len(done.failed) == 1 else "days"
    others = len(done.derived)
    kept = f"the other {others} {'is' if others == 1 else 'are'} done" if others else "no day is done"
    lines = [
        f"{source.name}: {len(done.failed)} {days} failed, {kept}",
        *(f"{day}: {text}" for day, text in causes.items()),
    ]
    if unreached:
        span = f"{unreached[0]} to {unreached[-1]}" if len(unreached) > 1 else f"{unreached[0]}"
        lines.append(f"not reached: {span}")
    return dg.Failure(
        description="\n".join(lines),
        metadata={FAILED_DAYS: dg.MetadataValue.json(causes)},
        allow_retries=any(
            error.code.retryable if isinstance(error, LedgerError) else not isinstance(error, DEFECTS)
            for error in done.failed.values()
        ),
    )

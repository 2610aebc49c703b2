"""The ledger in a notebook: one call, one pandas frame.

    from asset_ledger.notebooks import frame
    frame("current_assets")
    frame("assets", as_of="2026-11-03")

What can be asked for, `asset-ledger export --list` tells; which ledger it is, the environment says, as it does to the
command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from asset_ledger.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def frame(
    name: str,
    *,
    as_of: date | str | None = None,
    since: date | str | None = None,
    until: date | str | None = None,
    filters: Mapping[str, str | Sequence[str]] | None = None,
    categories: Sequence[str] = (),
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Return a mart, or the machines as of a day, as a frame; read-only, of one moment.

    `as_of` is a day of `assets` (today without it), `since` and `until` choose days of a mart that has them, `filters`
    rows of a mart by column and text. Whole numbers are Int64, instants datetime64[us, UTC], days datetime64[us], texts
    string, truths boolean, decimals Float64; what is not known is NA. `categories` names columns to be categories.
    Raises LedgerError with an EXPORT_* code, or ValueError for what is no day; a frame is in memory as a whole.
    """
    from asset_ledger.domain.as_of import parse_day
    from asset_ledger.pipeline.exports import opened
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.store.query.exports import Asked

    now = datetime.now(UTC)
    days = [None if day is None else parse_day(str(day), now=now) for day in (as_of, since, until)]
    chosen = {column: [text] if isinstance(text, str) else list(text) for column, text in (filters or {}).items()}
    ledger = Ledger(settings or Settings.load())
    with (
        ledger.connect() as connection,
        opened(connection, Asked(name, days[0], days[1], days[2], chosen or None)) as reading,
    ):
        import pyarrow as pa

        from asset_ledger.exports import arrow

        schema = arrow.schema(reading.table.columns)
        table = pa.Table.from_batches([arrow.batch(schema, rows) for rows in reading.batches], schema)
    return _framed(table, categories)


def _framed(table: pa.Table, categories: Sequence[str]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    for at, field in enumerate(table.schema):
        if pa.types.is_date(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.timestamp("us")))
        elif pa.types.is_decimal(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.float64()))
    kinds: dict[Any, Any] = {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
    }
    made: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    return made.astype(dict.fromkeys(categories, "category"))

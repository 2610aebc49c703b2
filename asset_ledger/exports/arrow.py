"""Tables as Arrow has them: types from the columns, so that an empty table has them too, and batches of rows.

Called by `parquet_file` and by `asset_ledger.notebooks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asset_ledger.domain.errors import EXPORT_VALUE_UNFIT, PermanentError
from asset_ledger.domain.exports import Column, Kind, Row

if TYPE_CHECKING:
    import pyarrow as pa


def schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of columns; what a column is about goes with it."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(
                column.name,
                _type(column),
                metadata={"description": column.description} if column.description else None,
            )
            for column in columns
        ]
    )


def batch(of: pa.Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows as one batch. Raises PermanentError(EXPORT_VALUE_UNFIT) naming the column."""
    import pyarrow as pa

    if not rows:
        return pa.RecordBatch.from_pylist([], schema=of)
    made = []
    for values, field in zip(zip(*rows, strict=True), of, strict=True):
        try:
            made.append(pa.array(values, type=field.type))
        except pa.ArrowException as error:
            raise PermanentError(EXPORT_VALUE_UNFIT, str(error).splitlines()[0], target=field.name) from error
    return pa.RecordBatch.from_arrays(made, schema=of)


def _type(column: Column) -> pa.DataType:
    import pyarrow as pa

    found: dict[Kind, pa.DataType] = {
        "text": pa.string(),
        "json": pa.string(),
        "integer": pa.int64(),
        "decimal": pa.decimal128(column.precision, column.scale),
        "real": pa.float64(),
        "boolean": pa.bool_(),
        "day": pa.date32(),
        "instant": pa.timestamp("us", tz="UTC"),
        "local_time": pa.timestamp("us"),
        "texts": pa.list_(pa.string()),
        "integers": pa.list_(pa.int64()),
    }
    return found[column.kind]

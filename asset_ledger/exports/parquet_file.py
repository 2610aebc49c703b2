"""Parquet: real types, groups of rows that fit into memory, zstd."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from asset_ledger.domain.exports import Reading
from asset_ledger.exports import arrow
from asset_ledger.exports.pieces import Outlet

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 16 << 20


def parquet_pieces(reading: Reading) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file, a group of rows at once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow.schema(reading.table.columns)
    outlet = Outlet()
    with pq.ParquetWriter(cast("io.BytesIO", outlet), schema, compression="zstd") as writer:
        group: list[pa.RecordBatch] = []
        rows = size = 0
        for each in reading.batches:
            made = arrow.batch(schema, each)
            group.append(made)
            rows += made.num_rows
            size += made.nbytes
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group, schema))
                group, rows, size = [], 0, 0
                if piece := outlet.taken():
                    yield piece
        if group:
            writer.write_table(pa.Table.from_batches(group, schema))
    yield outlet.taken()

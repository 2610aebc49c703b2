"""What is written is what is read: any text, any number, in every format; and an empty table keeps its types."""

# ruff: noqa: DTZ001 - some columns have no zone, and Excel has none at all

from __future__ import annotations

import csv
import io
import json
import math
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from asset_ledger.domain.errors import EXPORT_CELL_TOO_LONG, EXPORT_VALUE_UNFIT, PermanentError
from asset_ledger.domain.exports import Column, Kind, Reading, Row, Table, instant_text
from asset_ledger.exports.excel_file import EXACT, MOST_CHARACTERS, excel_pieces
from asset_ledger.exports.formats import FORMATS, Format, pieces
from asset_ledger.exports.pieces import cut

# what PostgreSQL keeps as text: anything but NUL and halves of characters
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40) | st.sampled_from(
    ["", " ", '"', '""', ",", "\r", "\n", "\r\n", "'", "=1+1", "+1", "-1", "@a", "\t=1", "_x0041_", "<r>", "<r>a</r>", "http://x",
     "#N/A", "TRUE", "007", "1e5", "数据库", "😀", "\x01\x1f\x7f", "\ufeff", "\ufffe\uffff", "]]>", "&amp;", "\u2028"]
)  # fmt: skip
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "text": TEXTS,
    "json": st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda d: json.dumps(d, ensure_ascii=False)),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": st.decimals(-(10**19), 10**19, allow_nan=False, places=18),
    "real": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "day": st.dates(),
    "instant": INSTANTS,
    "local_time": st.datetimes(),
    "texts": st.lists(TEXTS | st.none(), max_size=3),
    "integers": st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=3),
}
KINDS = tuple(VALUES)
LETTERS = "".join(map(chr, range(0x4E00, 0x9E00)))
COLUMNS = tuple(Column(kind, kind, f"of {kind}") for kind in KINDS)
ROWS = st.lists(st.tuples(*(st.none() | VALUES[kind] for kind in KINDS)), max_size=5)
ROW: Row = [
    "a",
    "{}",
    1,
    Decimal("1.5"),
    0.5,
    True,
    date(2026, 1, 1),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1),
    [],
    [],
]


def reading(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS, *, a_batch: int = 2) -> Reading:
    return Reading(
        Table("things", "Things.", tuple(columns), date(2026, 11, 3)),
        iter([rows[at : at + a_batch] for at in range(0, len(rows), a_batch)]),
    )


def written(form: Format, rows: Sequence[Row], columns: Sequence[Column] = COLUMNS, **more: Any) -> bytes:
    return b"".join(pieces(reading(rows, columns), form, **more))


def split(text: str) -> Iterator[list[str | None]]:
    """Read RFC 4180 strictly, telling nothing from an empty text: what Python's reader cannot."""
    row: list[str | None] = []
    at = 0
    while at < len(text):
        if text[at] == '"':
            end = at + 1
            while text[end] != '"' or text[end + 1 : end + 2] == '"':
                end += 2 if text[end] == '"' else 1
            row.append(text[at + 1 : end].replace('""', '"'))
            end += 1
        else:
            end = min(x for x in (text.find(",", at), text.find("\r\n", at)) if x >= 0)
            assert not set(text[at:end]) & set('"\r\n')
            row.append(text[at:end] or None)
        if text[end] == ",":
            at = end + 1
            continue
        assert text[end : end + 2] == "\r\n"
        yield row
        row, at = [], end + 2


def read_back(kind: Kind, text: str | None) -> Any:
    if text is None:
        return None
    match kind:
        case "text" | "json":
            return text
        case "integer":
            return int(text)
        case "decimal":
            return Decimal(text)
        case "real":
            return float(text)
        case "boolean":
            return {"true": True, "false": False}[text]
        case "day":
            return date.fromisoformat(text)
        case "instant" | "local_time":
            return datetime.fromisoformat(text)
        case _:
            return json.loads(text)


@settings(max_examples=40)
@given(ROWS)
def test_csv_says_every_value_and_tells_nothing_from_an_empty_text(rows: list[Row]) -> None:
    text = written("csv", rows).decode()
    head, *found = split(text)
    assert head == list(KINDS)
    assert [tuple(map(read_back, KINDS, row)) for row in found] == rows
    # and any reader of the standard reads the same cells
    plain = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert plain == [[cell or "" for cell in row] for row in (head, *found)]


@given(st.lists(st.tuples(TEXTS | st.none()), max_size=5))
def test_a_csv_of_one_column_has_a_line_for_every_row(rows: list[Row]) -> None:
    text = written("csv", rows, [Column("only", "text")]).decode()
    assert [row[0] for row in list(csv.reader(io.StringIO(text, newline="")))[1:]] == [row[0] or "" for row in rows]


@given(TEXTS)
def test_csv_for_excel_has_no_text_that_is_a_formula(text: str) -> None:
    body = written("csv", [[text, -5]], [Column("a", "text"), Column("n", "integer")], for_excel=True)
    assert body.startswith(b"\xef\xbb\xbf")
    cell, number = list(split(body.decode("utf-8-sig")))[1]
    assert (cell or "").removeprefix("'") == (text or "").removeprefix("'")
    assert not (cell or "").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert number == "-5", "a number is no text"


@settings(max_examples=40)
@given(ROWS)
def test_parquet_has_the_values_and_the_types(rows: list[Row]) -> None:
    found = pq.read_table(io.BytesIO(written("parquet", rows)))
    assert [tuple(row.values()) for row in found.to_pylist()] == rows


def test_an_empty_parquet_has_the_types_too_and_says_what_columns_are() -> None:
    schema = pq.read_schema(io.BytesIO(written("parquet", [])))
    assert schema.types == [
        pa.string(), pa.string(), pa.int64(), pa.decimal128(38, 18), pa.float64(), pa.bool_(), pa.date32(),
        pa.timestamp("us", tz="UTC"), pa.timestamp("us"), pa.list_(pa.string()), pa.list_(pa.int64()),
    ]  # fmt: skip
    assert schema.field("integer").metadata[b"description"] == b"of integer"


def test_parquet_names_the_column_of_a_value_that_it_cannot_hold() -> None:
    with pytest.raises(PermanentError, match="share") as refused:
        written("parquet", [[Decimal("NaN")]], [Column("share", "decimal")])
    assert refused.value.code is EXPORT_VALUE_UNFIT


def in_excel(kind: Kind, value: Any) -> Any:
    """Return what a workbook holds of a value, to the millisecond and the fifteenth digit."""
    match kind:
        case _ if value is None or value == "":
            return None
        case "integer" if abs(value) > EXACT:
            return str(value)
        case "integer":
            return value
        case "decimal":
            exact = len(value.normalize().as_tuple().digits) <= 15
            return float(value) if exact else format(value, "f")
        case "real":
            return float(f"{value:.16G}") if math.isfinite(value) else repr(value)
        case "texts" | "integers":
            return json.dumps(value, ensure_ascii=False)
        case "day" | "instant" | "local_time" if value.year < 1901:
            return instant_text(value) if kind == "instant" else value.isoformat()
        case "instant":
            return value.replace(tzinfo=None)
        case _:
            return value


def same_in_excel(kind: Kind, expected: Any, found: Any) -> bool:
    if kind == "day" and isinstance(found, datetime):
        found = found.date()
    if isinstance(expected, datetime):
        if not isinstance(found, datetime):  # how the reader says midnight
            found = datetime.combine(found, datetime.min.time())
        return bool(abs(expected - found) <= timedelta(milliseconds=2))
    if isinstance(expected, float):
        return math.isclose(expected, found, rel_tol=1e-15)
    return bool(expected == (None if found == "" else found))


# a workbook's own reader gives dates up to here; and what it does not read back is not what Excel does not
NEAR = st.datetimes(datetime(1901, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC))
EXCEL_VALUES = VALUES | {
    "day": NEAR.map(datetime.date) | st.dates(max_value=date(1900, 1, 1)),
    "instant": NEAR | st.datetimes(max_value=datetime(1900, 1, 1), timezones=st.just(UTC)),
    "local_time": NEAR.map(lambda at: at.replace(tzinfo=None)),
    "text": TEXTS.filter(lambda text: not set(text) & {"\ufffe", "\uffff"}),
}
EXCEL_ROWS = st.lists(st.tuples(*(st.none() | EXCEL_VALUES[kind] for kind in KINDS)), max_size=4)


@settings(max_examples=25)
@given(EXCEL_ROWS)
def test_a_workbook_has_the_values_and_texts_are_texts(rows: list[Row]) -> None:
    body = written("xlsx", rows)
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(body)).get_sheet_by_name("things")
    found = sheet.to_python(skip_empty_area=False)
    assert found[0] == list(KINDS)
    assert len(found) == 1 + len(rows) or all(value in (None, "") for value in rows[-1])
    for row, cells in zip(rows, found[1:], strict=False):
        for kind, value, cell in zip(KINDS, row, cells, strict=True):
            if not (kind in ("json", "texts") and value and set("\ufffe\uffff") & set("".join(filter(None, value)))):
                assert same_in_excel(kind, in_excel(kind, value), cell), (kind, value, cell)


def test_a_workbook_opens_elsewhere_with_frozen_head_filter_and_no_formula() -> None:
    texts = ["=1+1", "http://x/", "<r>bold & </r>", "mailto:a@b", "#N/A", "007", "{=A1}"]
    book = openpyxl.load_workbook(io.BytesIO(written("xlsx", [[text, *ROW[1:]] for text in texts])))
    sheet = book["things"]
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == texts
    assert {row[0].data_type for row in sheet.iter_rows(min_row=2)} == {"s"} or all(
        row[0].data_type in ("s", "inlineStr") for row in sheet.iter_rows(min_row=2)
    )
    assert not [cell.hyperlink for row in sheet.iter_rows() for cell in row if cell.hyperlink]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:K{len(texts) + 1}"
    assert sheet["G2"].value == datetime(2026, 1, 1)
    assert sheet["G2"].number_format == "yyyy-mm-dd"
    about = [[cell.value for cell in row] for row in book["about"].iter_rows()]
    assert about[0][0] == "things, as of 2026-11-03"
    assert any("UTC" in str(row[2]) for row in about)
    assert ["integer", "integer", "of integer"] in about


@pytest.mark.parametrize("text", ["x" * (MOST_CHARACTERS + 1), "😀" * (MOST_CHARACTERS // 2 + 1)])
def test_a_text_too_long_for_a_cell_is_an_error_before_anything_is_given_away(text: str) -> None:
    made = pieces(reading([["short"], [text]], [Column("facts", "text")]), "xlsx")
    with pytest.raises(PermanentError, match="column facts, row 2") as refused:
        next(made)
    assert refused.value.code is EXPORT_CELL_TOO_LONG
    assert "csv or parquet" in str(refused.value)
    assert written("xlsx", [[text[: len(text) // 2]]], [Column("facts", "text")])


def test_rows_that_a_sheet_does_not_hold_go_on_in_the_next_one() -> None:
    rows = [[n] for n in range(25)]
    body = b"".join(excel_pieces(reading(rows, [Column("n", "integer")]), rows_a_sheet=11))
    book = openpyxl.load_workbook(io.BytesIO(body))
    assert book.sheetnames == ["things", "things (2)", "things (3)", "about"]
    found = [[row[0] for row in book[name].iter_rows(values_only=True)] for name in book.sheetnames[:3]]
    assert [sheet[0] for sheet in found] == ["n"] * 3
    assert [n for sheet in found for n in sheet[1:]] == list(range(25))


@pytest.mark.parametrize("form", FORMATS)
def test_memory_is_bounded_by_batches_not_by_rows(form: Format) -> None:
    row = ["x" * 100, *ROW[1:]]

    def peak(batches: int) -> int:
        tracemalloc.start()
        try:
            for _ in pieces(Reading(Table("t", "", COLUMNS), iter([[row] * 100] * batches)), form):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is imported stays
    few = peak(10)
    assert peak(60) < few * 2 + 2_000_000


@pytest.mark.parametrize("form", FORMATS)
def test_no_piece_is_longer_than_64_kib_whatever_is_in_a_row(form: Format) -> None:
    chance = random.Random(7)
    # what does not pack; Excel takes no longer text
    long = MOST_CHARACTERS if form == "xlsx" else 500_000
    rows = [["".join(chance.choices(LETTERS, k=long))] for _ in range(8)]
    made = list(pieces(reading(rows, [Column("facts", "text")], a_batch=4), form))
    assert max(map(len, made)) <= 1 << 16
    assert len(made) > 2, "it is long enough to be cut"
    body = b"".join(made)
    if form == "csv":
        assert body == b"facts\r\n" + b"".join(f"{row[0]}\r\n".encode() for row in rows)
    elif form == "parquet":
        assert pq.read_table(io.BytesIO(body)).to_pylist() == [{"facts": row[0]} for row in rows]
    else:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(body)).get_sheet_by_name("things")
        assert sheet.to_python()[1:] == rows


@given(st.text(st.sampled_from("aé平😀\r\n"), min_size=1, max_size=40), st.integers(0, 5))
def test_a_text_is_cut_between_characters_and_not_within_the_end_of_a_line(text: str, before: int) -> None:
    body = (" " * before + text.replace("\r", "\r\n") * 40_000).encode()
    made = list(cut([body, b"", b"x"]))
    assert b"".join(made) == body + b"x"
    assert max(map(len, made)) <= 1 << 16
    for each in made:
        each.decode()
    assert not [one for one, other in pairwise(made) if one.endswith(b"\r") and other.startswith(b"\n")]


def test_bytes_that_are_no_text_are_cut_all_the_same() -> None:
    body = b"\x80" * 200_000
    assert [len(each) for each in cut([body])] == [65_536, 65_536, 65_536, 3_392]

"""CSV: encodings by rule, separators by header, true row numbers, quotes that do not pair up."""

from __future__ import annotations

import codecs

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files.config import Limits
from asset_ledger.sources.import_files.formats import read_table

ROWS = [["mgmt_ip", "hostname", "custom.负责人"], ["192.0.2.1", "数据库-01", "张三"]]


def refused(body: bytes, name: str = "hosts.csv", limits: Limits | None = None) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        list(read_table(body, name, "hosts", limits=limits).rows)
    assert caught.value.target == name
    return caught.value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_each_encoding_gives_the_same_text_and_the_same_digest(drop, to_csv, encoding):
    outcome = drop(to_csv(ROWS, encoding))
    assert outcome.raw.document["encoding"] == encoding
    assert outcome.records[0].document["identity"]["hostname"] == "数据库-01"
    assert outcome.records[0].document["custom_fields"] == {"负责人": "张三"}
    assert outcome.digests == drop(to_csv(ROWS)).digests


def test_an_encoding_error_names_the_byte_and_the_row(to_csv):
    good = to_csv(ROWS)
    error = refused(good + b"192.0.2.2,b\xff\xff,x\n")
    assert error.code.code == "IMPORT_ENCODING"
    assert f"byte {len(good) + 12} (row 3)" in str(error)
    error = refused(codecs.BOM_UTF8 + good + b"\xd6\xd0")
    assert f"byte {len(good) + 4} (row 3)" in str(error)


def test_an_encoding_error_far_behind_is_found(to_csv):
    rows = [*ROWS, *([["192.0.2.1", "数" * 100, ""]] * 8000)]
    assert refused(to_csv(rows) + b"\xff\xff").code.code == "IMPORT_ENCODING"


def test_utf_16_is_refused_by_name():
    assert "UTF-16" in str(refused("mgmt_ip\thostname\n".encode("utf-16")))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_separator_is_the_one_that_shows_known_columns(drop, to_csv, delimiter):
    outcome = drop(to_csv([[*ROWS[0], "tags"], [*ROWS[1], "a;b,c"]], delimiter=delimiter))
    assert outcome.records[0].document["tags"] == ["a", "b", "c"]


@pytest.mark.parametrize("body", [b"", b"  \n\n ", b"\xef\xbb\xbf", b"# only a comment\n", b",,,\n"])
def test_a_file_without_a_cell_is_empty(body):
    assert refused(body).code.code in ("IMPORT_EMPTY", "IMPORT_MISSING_COLUMN")


def test_a_file_of_no_bytes_is_empty():
    assert refused(b"").code.code == "IMPORT_EMPTY"
    assert refused(b"", "hosts.xlsx").code.code == "IMPORT_EMPTY"


@pytest.mark.parametrize(
    ("bad", "row"),
    [(b'192.0.2.3,"open\n192.0.2.4,d\n', 4), (b'192.0.2.3,"a"b\n', 4)],
)
def test_quotes_that_do_not_pair_up_are_an_error_that_names_the_row(bad, row):
    error = refused(b'mgmt_ip,hostname\n192.0.2.1,a\n192.0.2.2,"b"\n' + bad)
    assert error.code.code == "IMPORT_CSV_MALFORMED"
    assert f"row {row} " in str(error)


def test_rows_keep_the_numbers_a_spreadsheet_shows(drop):
    body = b'# note, with comma\n\n"# quoted"\nmgmt_ip,hostname,custom.x\r\n\r\n'
    body += b'192.0.2.1,a,"two\nlines"\r\n,,\r\n192.0.2.x,b,\n'
    outcome = drop(body)
    assert [record.locator for record in outcome.records] == ["row 6"]
    assert outcome.faults == [(8, "mgmt_ip", "IMPORT_ADDRESS_INVALID")]
    assert outcome.raw.document["rows"] == 2


def test_a_row_with_more_cells_is_refused_and_one_with_fewer_has_blanks(drop):
    outcome = drop(b"mgmt_ip,hostname,port\n192.0.2.1,a,22,x\n192.0.2.2,b\n192.0.2.3,c,22,,\n")
    assert outcome.faults == [(2, None, "IMPORT_RAGGED_ROW")]
    assert [record.external_id for record in outcome.records] == ["192.0.2.2", "192.0.2.3"]


def test_a_nul_byte_refuses_its_cell_only(drop):
    outcome = drop(b"mgmt_ip,hostname\n192.0.2.1,a\x00b\n192.0.2.2,b\n")
    assert outcome.faults == [(2, "hostname", "IMPORT_CONTROL_CHARACTER")]
    assert outcome.rejected[0].cells[0].value == "a\\x00b"
    assert len(outcome.records) == 1


def test_leading_zeros_stay(drop_row):
    assert drop_row(custom__asset_tag="000001").records[0].document["custom_fields"] == {"asset_tag": "000001"}


def test_old_mac_line_ends_are_read(drop):
    assert len(drop(b"mgmt_ip,hostname\r192.0.2.1,a\r192.0.2.2,b\r").records) == 2


def test_more_rows_than_the_limit_are_refused_not_cut_off():
    body = b"mgmt_ip,hostname\n" + b"192.0.2.1,a\n" * 5
    assert refused(body, limits=Limits(max_rows=4)).code.code == "IMPORT_TOO_MANY_ROWS"
    assert len(list(read_table(body, "hosts.csv", "hosts", limits=Limits(max_rows=5)).rows)) == 5


@pytest.mark.parametrize(
    ("body", "name", "code"),
    [
        (b"PK\x03\x04rest", "hosts.csv", "IMPORT_UNSUPPORTED_FORMAT"),
        (b"mgmt_ip,hostname\n", "hosts.xlsx", "IMPORT_UNREADABLE"),
        (b"mgmt_ip,hostname\n", "hosts.ods", "IMPORT_UNSUPPORTED_FORMAT"),
        (b"mgmt_ip,hostname\n", "hosts", "IMPORT_UNSUPPORTED_FORMAT"),
    ],
)
def test_a_name_that_says_another_thing_than_the_content_is_refused(body, name, code):
    assert refused(body, name).code.code == code


def test_a_cell_that_is_far_too_long_is_no_matter_of_quotes_unless_it_goes_over_lines(to_csv):
    good = to_csv(ROWS)
    error = refused(good + b"192.0.2.2," + b"x" * 200_000 + b",y\n")
    assert error.code.code == "IMPORT_TEXT_INVALID"
    assert "row 3: a cell has more than 131,072 characters" in str(error)
    error = refused(good + b'192.0.2.2,"open,y\n' + b"192.0.2.3,x,y\n" * 20_000)
    assert error.code.code == "IMPORT_CSV_MALFORMED"
    assert "row 3" in str(error)

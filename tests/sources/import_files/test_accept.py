"""Taking a file in: what is kept, what is removed, and which files are refused as a whole."""

from __future__ import annotations

import hashlib
import os

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files import PLATFORM, ImportConfig
from asset_ledger.sources.import_files.accept import accept
from asset_ledger.sources.registry import error_codes, platform
from tests.sources.import_files.conftest import CAME_AT, csv_bytes, drop_bytes, xlsx_bytes

TOKEN = "ghp_" + "a1B2" * 9
ROWS = [["mgmt_ip", "hostname", "credential_ref"], ["192.0.2.1", "a", "env:X"]]


def kept_text(outcome) -> str:
    return outcome.raw.body.decode("utf-8", "replace") + repr(outcome.raw.document) + repr(outcome.items)


def test_the_platform_is_registered_with_its_codes():
    assert platform("import") is PLATFORM
    assert {code.code for code in PLATFORM.error_codes} <= {code.code for code in error_codes()}
    assert all(code.category == "input" and not code.retryable for code in PLATFORM.error_codes)


def test_a_clean_file_is_kept_byte_for_byte(tmp_path):
    path = tmp_path / "hosts_2026-11-01.csv"
    path.write_bytes(csv_bytes(ROWS, "gb18030"))
    raw = PLATFORM.accept(path, CAME_AT)
    assert raw.body == path.read_bytes()
    assert raw.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert (raw.target, raw.media_type, raw.observed_at, raw.redacted) == (path.name, "text/csv", CAME_AT, False)
    assert raw.document == {
        "file": path.name,
        "format": "csv",
        "encoding": "utf-8",
        "sheet": None,
        "header": ROWS[0],
        "rows": 1,
        "kind": "hosts",
        "cautions": [],
    }


def test_a_file_over_the_limit_is_refused(tmp_path):
    path = tmp_path / "hosts.csv"
    path.write_bytes(csv_bytes(ROWS))
    config = ImportConfig(name="inbox", platform="import", max_file_bytes=len(csv_bytes(ROWS)) - 1)
    with pytest.raises(PermanentError) as refused:
        accept(path, CAME_AT, config)
    assert refused.value.code.code == "IMPORT_TOO_LARGE"
    config = ImportConfig(name="inbox", platform="import", max_file_bytes=len(csv_bytes(ROWS)))
    assert accept(path, CAME_AT, config).document["rows"] == 1


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("pipe.csv", "missing.csv"):
        with pytest.raises(PermanentError) as refused:
            accept(tmp_path / name, CAME_AT)
        assert refused.value.code.code == "IMPORT_UNREADABLE"


def test_a_password_in_credential_ref_is_kept_nowhere():
    outcome = drop_bytes(csv_bytes([*ROWS, ["192.0.2.2", "b", "hunter2"], [], ["192.0.2.4", "c", "env:Y"]]))
    assert outcome.raw.redacted
    assert outcome.raw.sha256 != hashlib.sha256(outcome.raw.body).digest()
    assert "hunter2" not in kept_text(outcome)
    assert outcome.faults == [(3, "credential_ref", "IMPORT_CREDENTIAL_INVALID")]
    assert outcome.rejected[0].cells[0].value == "[redacted]"
    assert [record.locator for record in outcome.records] == ["row 2", "row 5"]


@pytest.mark.parametrize("column", ["vendor", "custom.note", "unknown thing", "hostname"])
def test_a_token_in_any_column_is_kept_nowhere(column):
    header = ["mgmt_ip", "hostname", column] if column != "hostname" else ["mgmt_ip", "hostname"]
    row = ["192.0.2.1", "a", TOKEN] if column != "hostname" else ["192.0.2.1", TOKEN]
    outcome = drop_bytes(csv_bytes([header, row]))
    assert TOKEN not in kept_text(outcome)
    if column == "unknown thing":
        assert len(outcome.records) == 1
    else:
        assert outcome.faults == [(2, column, "IMPORT_SECRET_VALUE")]


def test_a_secret_in_custom_fields_is_kept_nowhere():
    outcome = drop_bytes(
        csv_bytes([["mgmt_ip", "hostname", "custom_fields"], ["192.0.2.1", "a", '{"db_password":"pw1"}']])
    )
    assert "pw1" not in kept_text(outcome)
    assert outcome.faults == [(2, "custom_fields", "IMPORT_SECRET_VALUE")]


def test_a_secret_that_a_stray_separator_moved_is_kept_nowhere():
    body = b'mgmt_ip,hostname,custom_fields\n192.0.2.1,a,{"user": "x", "password": "hun,ter2"}\n'
    outcome = drop_bytes(body)
    assert outcome.faults[0] == (2, None, "IMPORT_RAGGED_ROW")
    assert "hun" not in kept_text(outcome)
    assert "ter2" not in kept_text(outcome)


def test_a_secret_behind_the_last_column_is_kept_nowhere():
    outcome = drop_bytes(b'mgmt_ip,hostname\n192.0.2.1,a,x,"{""password"": ""hunter2""}"\n')
    assert outcome.faults == [(2, None, "IMPORT_RAGGED_ROW")]
    assert "hunter2" not in kept_text(outcome)


def test_a_token_in_a_comment_is_not_kept():
    outcome = drop_bytes(b"# " + TOKEN.encode() + b"\n" + csv_bytes(ROWS))
    assert TOKEN not in kept_text(outcome)
    assert outcome.records[0].locator == "row 3"


def test_redacting_a_workbook_keeps_row_numbers_flaws_and_cautions():
    def build(workbook, sheet):
        sheet.write_row(1, 0, [*ROWS[0], "custom.x"])
        sheet.write_row(3, 0, ["192.0.2.1", "a", "hunter2"])
        sheet.write_formula(4, 3, "=1+1", None, 2)
        sheet.write_row(4, 0, ["192.0.2.2", "b"])
        sheet.write_row(5, 0, ["192.0.2.3", "c"])
        sheet.write_row(6, 0, ["192.0.2.4", "d"])
        sheet.merge_range(5, 3, 6, 3, "m")
        workbook.add_worksheet("second").write(0, 0, "x")

    outcome = drop_bytes(xlsx_bytes(build), "hosts.xlsx")
    assert outcome.raw.media_type == "text/csv"
    assert "hunter2" not in kept_text(outcome)
    assert outcome.faults == [
        (4, "credential_ref", "IMPORT_CREDENTIAL_INVALID"),
        (5, "custom.x", "IMPORT_FORMULA"),
        (6, "custom.x", "IMPORT_MERGED_CELLS"),
        (7, "custom.x", "IMPORT_MERGED_CELLS"),
    ]
    assert [caution.code.code for caution in outcome.cautions] == ["IMPORT_OTHER_SHEETS"]


@pytest.mark.parametrize("where", ["other sheet", "note", "property"])
def test_a_secret_beside_the_table_of_a_workbook_is_not_kept(where):
    def build(workbook, sheet):
        sheet.write_row(0, 0, ROWS[0])
        sheet.write_row(1, 0, ROWS[1])
        if where == "other sheet":
            workbook.add_worksheet("s").write_row(0, 0, ["root password", "hunter2"])
        elif where == "note":
            sheet.write_comment(1, 1, "password: hunter2")
        else:
            workbook.set_custom_property("token", "hunter2")

    outcome = drop_bytes(xlsx_bytes(build), "hosts.xlsx")
    assert outcome.raw.redacted
    assert outcome.raw.body == csv_bytes(ROWS).replace(b"\r\n", b"\n")
    assert len(outcome.records) == 1


def test_the_kind_is_in_the_name():
    body = csv_bytes([["name", "host"], ["orders", "db-01"]])
    assert drop_bytes(body, "instances_2026-11-03.csv").raw.document["kind"] == "instances"
    with pytest.raises(PermanentError):
        drop_bytes(body, "hosts_2026-11-03.csv")

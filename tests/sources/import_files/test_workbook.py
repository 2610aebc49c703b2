"""Excel: every cell as text, nothing evaluated, nothing guessed, and the same answer as for CSV."""

from __future__ import annotations

import contextlib
import io
import zipfile
from datetime import datetime

import openpyxl
import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files.formats import read_table

HEADER = ["mgmt_ip", "hostname", "port", "custom.x"]


def test_a_workbook_and_a_csv_of_the_same_text_have_the_same_digests(drop, drop_rows, xlsx_rows):
    rows = [HEADER, ["192.0.2.1", "a", 8080, 1.5], ["192.0.2.2", "b", "", True], ["192.0.2.3", "数据库", 22, "007"]]
    texts = [
        HEADER,
        ["192.0.2.1", "a", "8080", "1.5"],
        ["192.0.2.2", "b", "", "TRUE"],
        ["192.0.2.3", "数据库", "22", "007"],
    ]
    from_workbook = drop(xlsx_rows(rows), "hosts.xlsx")
    assert from_workbook.digests == drop_rows(texts).digests
    assert from_workbook.raw.document["sheet"] == "台账"
    assert not from_workbook.raw.redacted


def test_rows_and_columns_keep_their_places_when_the_table_begins_lower_and_further_right(drop, make_xlsx):
    def build(_workbook, sheet):
        sheet.write(0, 2, "# our machines")
        sheet.write_row(3, 2, HEADER)
        sheet.write_row(7, 2, ["192.0.2.x", "a"])
        sheet.write_row(8, 2, ["192.0.2.2", "b"])
        sheet.write_row(9, 2, ["192.0.2.3", "c"])
        sheet.write_formula(9, 5, "=1", None, 1)

    outcome = drop(make_xlsx(build), "hosts.xlsx")
    assert outcome.faults == [(8, "mgmt_ip", "IMPORT_ADDRESS_INVALID"), (10, "custom.x", "IMPORT_FORMULA")]
    assert [record.locator for record in outcome.records] == ["row 9"]


def test_a_formula_is_never_evaluated_and_its_remembered_result_never_taken(drop, make_xlsx):
    def build(_workbook, sheet):
        sheet.write_row(0, 0, [*HEADER, "unknown column"])
        sheet.write_row(1, 0, ["192.0.2.1", "a"])
        sheet.write_formula(1, 3, "=1+1", None, 2)
        sheet.write_formula(1, 4, "=1+1", None, 2)
        sheet.write_row(2, 0, ["192.0.2.2", "b"])
        sheet.write_formula(2, 4, "=1+1", None, 2)
        sheet.write_formula(5, 0, '="192.0.2."&3', None, "")  # below the last value, nothing remembered

    outcome = drop(make_xlsx(build), "hosts.xlsx")
    assert [fault for fault in outcome.faults if fault[2] == "IMPORT_FORMULA"] == [
        (2, "custom.x", "IMPORT_FORMULA"),
        (6, "mgmt_ip", "IMPORT_FORMULA"),
    ]
    assert [record.external_id for record in outcome.records] == ["192.0.2.2"]


def test_formulas_are_found_where_another_program_wrote_the_workbook(drop):
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for row in (HEADER, ["192.0.2.1", '=CONCATENATE("a","b")'], ["192.0.2.2", "=HYPERLINK(1)"], ["192.0.2.3", "c"]):
        sheet.append(row)
    out = io.BytesIO()
    workbook.save(out)
    outcome = drop(out.getvalue(), "hosts.xlsx")
    assert {(row, code) for row, column, code in outcome.faults if column == "hostname"} == {
        (2, "IMPORT_FORMULA"),
        (3, "IMPORT_FORMULA"),
    }
    assert len(outcome.records) == 1


def test_rows_with_merged_cells_are_refused_by_range(drop, make_xlsx):
    def build(_workbook, sheet):
        sheet.write_row(0, 0, [*HEADER, "unknown column"])
        for i in range(1, 6):
            sheet.write_row(i, 0, [f"192.0.2.{i}", f"h{i}"])
        sheet.merge_range(2, 2, 3, 3, 22)
        sheet.merge_range(4, 4, 5, 4, "not ours")

    outcome = drop(make_xlsx(build), "hosts.xlsx")
    assert outcome.faults == [(3, "port", "IMPORT_MERGED_CELLS"), (4, "port", "IMPORT_MERGED_CELLS")]
    assert "C3:D4" in outcome.rejected[0].cells[0].reason
    assert len(outcome.records) == 3


def test_what_the_spreadsheet_program_changed_is_refused(drop, make_xlsx):
    def build(workbook, sheet):
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, [*HEADER, "serial_number", "memory_bytes"])
        sheet.write(1, 0, "192.0.2.1")
        sheet.write_datetime(1, 1, datetime(2026, 3, 1), day)  # noqa: DTZ001 - spreadsheets know no zones
        sheet.write_row(2, 0, ["192.0.2.2", "b", "", "", 12345678901234567890])
        sheet.write_row(3, 0, ["192.0.2.3", "c", "", "", 12345, 2**52])
        sheet.write_datetime(3, 3, datetime(2026, 3, 1), day)  # noqa: DTZ001

    outcome = drop(make_xlsx(build), "hosts.xlsx")
    assert outcome.faults == [(2, "hostname", "IMPORT_EXCEL_VALUE"), (3, "serial_number", "IMPORT_EXCEL_VALUE")]
    document = outcome.records[0].document
    assert document["identity"]["serial_number"] == "12345"
    assert document["hardware"]["memory_bytes"] == 2**52
    assert document["custom_fields"] == {"x": "2026-03-01"}


def test_an_error_value_is_refused_and_not_read_as_blank(drop, make_xlsx, xlsx_rows):
    body = xlsx_rows([HEADER, ["192.0.2.1", "a", 22, 5]])
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(changed, "w") as new:
        for part in old.namelist():
            data = old.read(part)
            if part.endswith("sheet1.xml"):
                data = data.replace(b'<c r="D2"><v>5</v>', b'<c r="D2" t="e"><v>#N/A</v>')
                assert b"#N/A" in data
            new.writestr(part, data)
    assert drop(changed.getvalue(), "hosts.xlsx").faults == [(2, "custom.x", "IMPORT_EXCEL_VALUE")]


def test_hidden_sheets_are_passed_over_and_other_sheets_are_a_caution(drop, make_xlsx):
    def build(workbook, sheet):
        sheet.hide()
        sheet.write(0, 0, "hidden")
        workbook.add_worksheet("blank")
        second = workbook.add_worksheet("second")
        second.write_row(0, 0, HEADER)
        second.write_row(1, 0, ["192.0.2.1", "a"])
        workbook.add_worksheet("third").write(0, 0, "x")
        second.activate()

    outcome = drop(make_xlsx(build), "hosts.xlsx")
    assert outcome.raw.document["sheet"] == "second"
    (caution,) = outcome.cautions
    assert caution.code.code == "IMPORT_OTHER_SHEETS"
    assert "'台账', 'third'" in caution.message
    assert "blank" not in caution.message


def test_formulas_are_looked_for_in_the_sheet_that_was_read(drop, make_xlsx):
    def build(workbook, sheet):
        sheet.hide()
        sheet.write_formula(1, 1, "=1", None, 1)
        second = workbook.add_worksheet("second")
        second.write_row(0, 0, HEADER)
        second.write_row(1, 0, ["192.0.2.1", "a"])
        second.activate()

    assert not drop(make_xlsx(build), "hosts.xlsx").faults


def test_an_old_workbook_is_read_with_its_formulas_errors_and_merges(drop, fixtures):
    outcome = drop((fixtures / "import" / "hosts_faults.xls").read_bytes(), "hosts_faults.xls")
    assert outcome.faults == [
        (5, "port", "IMPORT_NUMBER_INVALID"),
        (6, "mgmt_ip", "IMPORT_FORMULA"),
        (7, "custom.负责人", "IMPORT_EXCEL_VALUE"),
        (8, "mgmt_ip", "IMPORT_MERGED_CELLS"),
        (9, "mgmt_ip", "IMPORT_MERGED_CELLS"),
        (10, "hostname", "IMPORT_EXCEL_VALUE"),
    ]
    assert [record.external_id for record in outcome.records] == ["192.0.2.1", "192.0.2.2"]
    assert [caution.code.code for caution in outcome.cautions] == ["IMPORT_OTHER_SHEETS"]


def test_an_old_workbook_of_many_sectors_is_read_whole(drop, fixtures):
    assert len(drop((fixtures / "import" / "hosts_many.xls").read_bytes(), "hosts_many.xls").records) == 399


@pytest.mark.parametrize("name", ["hosts_faults.xls", "hosts_many.xls"])
def test_an_old_workbook_cut_off_or_damaged_anywhere_is_refused_or_read_and_never_crashes(fixtures, name):
    body = (fixtures / "import" / name).read_bytes()
    step = len(body) // 60
    for at in range(8, len(body), step):
        for damaged in (body[:at], body[:at] + b"\xff" * 24 + body[at + 24 :]):
            with contextlib.suppress(PermanentError):
                list(read_table(damaged, name, "hosts").rows)


def test_a_damaged_workbook_is_refused_or_read_and_never_crashes(xlsx_rows):
    body = xlsx_rows([HEADER, *([f"192.0.2.{i}", f"h{i}", 22, "x"] for i in range(1, 200))])
    for at in range(4, len(body), len(body) // 120):
        for damaged in (body[:at], body[:at] + b"\xff" * 16 + body[at + 16 :]):
            with contextlib.suppress(PermanentError):
                list(read_table(damaged, "hosts.xlsx", "hosts").rows)


def test_a_workbook_with_a_password_says_so():
    from tests.sources.import_files.ole import container

    with pytest.raises(PermanentError) as refused:
        read_table(container({"EncryptedPackage": b"x" * 5000, "EncryptionInfo": b"y" * 5000}), "hosts.xlsx", "hosts")
    assert refused.value.code.code == "IMPORT_ENCRYPTED"
    record = b"\x09\x08\x04\x00\x00\x06\x05\x00" + b"\x2f\x00\x06\x00" + b"\x00" * 6 + b"\x0a\x00\x00\x00"
    with pytest.raises(PermanentError) as refused:
        read_table(container({"Workbook": record.ljust(5000, b"\x00")}), "hosts.xls", "hosts")
    assert refused.value.code.code == "IMPORT_ENCRYPTED"

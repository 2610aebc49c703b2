"""Workbooks made to hurt: all are refused before a parser sees them, within a second and little memory."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files import zip_guard
from asset_ledger.sources.import_files.config import MIB, Limits
from asset_ledger.sources.import_files.formats import read_table

PARTS = {
    "[Content_Types].xml": b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
    "xl/workbook.xml": b'<?xml version="1.0"?><workbook/>',
}


def archive(parts: dict[str, bytes], level: int = 6) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as made:
        for name, data in {**PARTS, **parts}.items():
            made.writestr(name, data)
    return out.getvalue()


def refused(body: bytes, limits: Limits | None = None) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        read_table(body, "hosts.xlsx", "hosts", limits=limits)
    assert caught.value.target == "hosts.xlsx"
    return caught.value


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A workbook of about 5 MB whose one sheet unpacks to 1 GiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for name, data in PARTS.items():
            made.writestr(name, data)
        with made.open("xl/worksheets/sheet1.xml", "w") as sheet:
            zeros = bytes(8 * MIB)
            for _ in range(128):
                sheet.write(zeros)
    return out.getvalue()


def test_a_sheet_that_unpacks_to_a_gibibyte_is_refused_in_little_memory(bomb):
    assert zipfile.ZipFile(io.BytesIO(bomb)).getinfo("xl/worksheets/sheet1.xml").file_size == 1 << 30
    assert "200 times" in str(refused(bomb))


def test_a_sheet_that_gets_past_the_ratio_is_counted_in_little_memory(bomb, monkeypatch):
    monkeypatch.setattr(zip_guard, "_LARGEST_RATIO", 1_000)  # so that only counting can stop it
    tracemalloc.start()
    error = refused(bomb, Limits(max_inflated_bytes=64 * MIB))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.code.code == "IMPORT_ZIP_BOMB"
    assert "more than 64 MiB" in str(error)
    assert peak < 8 * MIB


def test_a_lie_about_the_size_in_the_list_is_not_believed(bomb):
    at = bomb.rindex(b"PK\x01\x02")
    assert struct.unpack_from("<I", bomb, at + 24)[0] == 1 << 30
    lying = bomb[: at + 24] + struct.pack("<I", 1000) + bomb[at + 28 :]
    assert zipfile.ZipFile(io.BytesIO(lying)).getinfo("xl/worksheets/sheet1.xml").file_size == 1000
    assert refused(lying).code.code == "IMPORT_ZIP_BOMB"
    small = archive({"xl/media/a.bin": os.urandom(5000)})
    at = small.rindex(b"PK\x01\x02")
    lying = small[: at + 24] + struct.pack("<I", 10) + small[at + 28 :]
    assert "says 10 bytes and unpacks to more" in str(refused(lying))


def test_many_parts_that_are_honest_each_are_counted_together():
    block = os.urandom(1 * MIB)
    parts = {f"xl/media/{i}.bin": block for i in range(9)}
    assert "more than 8 MiB" in str(refused(archive(parts, 1), Limits(max_inflated_bytes=8 * MIB)))


def test_too_many_parts_are_refused():
    assert refused(archive({f"xl/p{i}": b"" for i in range(2_001)})).code.code == "IMPORT_ZIP_BOMB"


@pytest.mark.parametrize("inner", [archive({}), b"\x1f\x8b\x08" + b"x" * 20, b"BZh9" + b"x" * 20])
def test_an_archive_within_the_archive_is_refused(inner):
    assert refused(archive({"xl/embeddings/inner.xlsx": inner})).code.code == "IMPORT_ZIP_BOMB"


def test_parts_that_overlap_are_refused():
    body = archive({"xl/media/a.bin": os.urandom(4000)})
    at = body.rindex(b"PK\x01\x02")
    end = body.rindex(b"PK\x05\x06")
    entry = body[at:end]
    second = entry.replace(b"xl/media/a.bin", b"xl/media/b.bin")
    total, size = struct.unpack_from("<HI", body, end + 10)
    tail = body[end : end + 8] + struct.pack("<HHI", total + 1, total + 1, size + len(second)) + body[end + 16 :]
    assert refused(body[:end] + second + tail).code.code == "IMPORT_ZIP_BOMB"


def test_two_parts_of_one_name_are_refused():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("xl/workbook.xml", b"<a/>")
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("xl/workbook.xml", b"<b/>")
    assert refused(out.getvalue()).code.code == "IMPORT_UNREADABLE"


def test_an_encrypted_part_is_refused():
    body = bytearray(archive({}))
    at = bytes(body).index(b"PK\x01\x02")
    body[at + 8] |= 1
    assert refused(bytes(body)).code.code == "IMPORT_ENCRYPTED"


@pytest.mark.parametrize(
    "xml",
    [
        b'<?xml version="1.0"?><!DOCTYPE w [<!ENTITY a SYSTEM "file:///etc/passwd">]><w>&a;</w>',
        b" " * 300_000 + b'<!DOCTYPE w [<!ENTITY a "aaaa">]><w/>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE w><w/>'.encode("utf-16"),
    ],
)
def test_document_types_and_entities_are_refused(xml):
    error = refused(archive({"xl/workbook.xml": xml}))
    assert error.code.code == "IMPORT_UNREADABLE"
    assert "declares a document type" in str(error) or "is not UTF-8" in str(error)


def test_a_zip_that_is_no_workbook_is_unreadable():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.txt", b"hello")
    assert refused(out.getvalue()).code.code == "IMPORT_UNREADABLE"


def test_two_cells_in_opposite_corners_do_not_become_a_sheet_of_gigabytes(xlsx_rows, make_xlsx):
    def corners(_workbook, sheet):
        sheet.write_row(0, 0, ["mgmt_ip", "hostname"])
        sheet.write(1_048_575, 16_383, "x")

    assert refused(make_xlsx(corners)).code.code == "IMPORT_TOO_MANY_ROWS"

    def wide(_workbook, sheet):
        sheet.write_row(0, 0, ["mgmt_ip", "hostname"])
        sheet.write(400_000, 16_383, "x")

    assert "16,384 columns" in str(refused(make_xlsx(wide)))


def test_more_rows_than_the_limit_are_refused(xlsx_rows):
    body = xlsx_rows([["mgmt_ip", "hostname"], *([f"192.0.2.{i}", "a"] for i in range(1, 7))])
    assert refused(body, Limits(max_rows=5)).code.code == "IMPORT_TOO_MANY_ROWS"
    assert len(list(read_table(body, "hosts.xlsx", "hosts", limits=Limits(max_rows=6)).rows)) == 6


def test_a_reference_across_two_pieces_is_seen(monkeypatch):
    monkeypatch.setattr(zip_guard, "_PIECE", 37)
    cells = b"".join(b'<row r="%d"><c r="A%d"><v>1</v></c></row>' % (i, i) for i in range(1, 50))
    found = zip_guard.inspect(archive({"xl/worksheets/sheet1.xml": cells}), "a.xlsx", Limits())
    assert not found.sheets_with_formulas
    far = cells + b'<c r="XFD1048576"><f>1</f></c>'
    with pytest.raises(PermanentError):
        zip_guard.inspect(archive({"xl/worksheets/sheet1.xml": far}), "a.xlsx", Limits())

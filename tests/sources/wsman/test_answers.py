"""What is read in answers, purely: rows of both forms, ends, faults in every language, output; and damaged ones."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.sources.wsman import enumeration, faults, messages, shell, soap
from asset_ledger.sources.wsman.terms import Codes

SOAP = "http://www.w3.org/2003/05/soap-envelope"
W = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
N = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
P = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_Thing"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
END = "<w:EndOfSequence/>"
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
values = st.one_of(st.none(), texts)


def envelope(body: str) -> bytes:
    return f'<s:Envelope xmlns:s="{SOAP}" xmlns:w="{W}" xmlns:n="{N}" xmlns:xsi="{XSI}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'.encode()


def answer(items: str, end: str = END, context: str = "", kind: str = "Enumerate") -> bytes:
    return envelope(
        f"<n:{kind}Response><n:EnumerationContext>{context}</n:EnumerationContext><w:Items>{items}</w:Items>{end}</n:{kind}Response>"
    )


def whole(row: dict[str, list[str | None]]) -> str:
    return f'<p:Win32_Thing xmlns:p="{P}" xsi:type="p:Win32_Thing_Type">{fields(row, "p:")}</p:Win32_Thing>'


def fields(row: dict[str, list[str | None]], prefix: str = "") -> str:
    return "".join(
        f'<{prefix}{name} xsi:nil="true"/>' if value is None else f"<{prefix}{name}>{escape(value)}</{prefix}{name}>"
        for name, held in row.items()
        for value in held
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.dictionaries(names, st.lists(values, min_size=1, max_size=3), max_size=5), max_size=5),
    st.integers(0, 5),
)
def test_rows_come_back_as_they_are_in_both_forms_however_they_are_split(
    listed: list[dict[str, list[str | None]]], cut: int
) -> None:
    for written in (whole, lambda row: f"<w:XmlFragment>{fields(row)}</w:XmlFragment>"):
        items = [written(row) for row in listed]
        pull = answer("".join(items[cut:]), kind="Pull").replace(b"w:Items", b"n:Items").replace(b"w:End", b"n:End")
        answers = [answer("".join(items[:cut]), end="", context="uuid:1"), pull]
        assert enumeration.rows(answers) == [{name: tuple(held) for name, held in row.items()} for row in listed]


def test_dates_and_line_breaks_are_kept_as_text() -> None:
    row = "<w:XmlFragment><A><cim:Datetime xmlns:cim='urn:c'>2026-11-22T01:02:03Z</cim:Datetime></A><B>a\nb</B><C/></w:XmlFragment>"
    assert enumeration.rows([answer(row)]) == [{"A": ("2026-11-22T01:02:03Z",), "B": ("a\nb",), "C": ("",)}]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "no answer"),
        ([answer("", end="", context="uuid:1")], "not read to its end"),
        ([answer("", end="")], "neither ends"),
        ([answer("", context="uuid:1")], "ends the enumeration and says how it goes on"),
        ([answer(""), answer("", kind="Pull")], "follows the one that ends"),
        ([envelope("<n:PullRequest/>")], "none to an enumeration"),
        ([envelope("")], "none to an enumeration"),
        ([f'<s:Envelope xmlns:s="{SOAP}"/>'.encode()], "no body"),
        ([b"<html/>"], "no SOAP envelope"),
        ([b""], "no XML"),
        ([b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + answer("<w:XmlFragment><A>&a;</A></w:XmlFragment>")], "document type"),
        ([b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" + answer("")], "document type"),
    ],
)
def test_what_is_not_a_whole_enumeration_is_refused(answers: list[bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        enumeration.rows(answers)


def test_entities_that_multiply_are_refused_before_they_do() -> None:
    levels = "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
    bomb = f"<!DOCTYPE x [<!ENTITY a0 'x'>{levels}]>".encode() + answer("<w:XmlFragment><A>&a11;</A></w:XmlFragment>")
    with pytest.raises(ValueError, match=r"document type|no XML"):
        enumeration.rows([bomb])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_answers_are_rows_or_refused(data: Any) -> None:
    good = answer(whole({"Name": ["主机", None], "Size": ["53687091200"]}) * 2)
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert", "twice"])):
            case "set":
                damaged[at] = data.draw(st.integers(0, 255))
            case "cut":
                del damaged[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                damaged[at:at] = data.draw(
                    st.sampled_from([b"<", b"&amp;", b"<!-- -->", b"<?x?>", b"<n:Items/>", b"\xff\xfe", b"]]>"])
                )
            case _:
                damaged += damaged[at:]
        if not damaged:
            break
    for reader in (
        lambda x: enumeration.rows([x]),
        lambda x: shell.piece(soap.envelope(x)),
        lambda x: faults.fault_of(soap.envelope(x)),
    ):
        with suppress(ValueError):
            reader(bytes(damaged))


def fault(detail: str, reason: str = "-", subcode: str = "w:InternalError") -> faults.Fault | None:
    text = (
        f"<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f"<s:Reason><s:Text xml:lang='x'>{escape(reason)}</s:Text></s:Reason><s:Detail>{detail}</s:Detail></s:Fault>"
    )
    return faults.fault_of(soap.envelope(envelope(text)))


def wsman(code: object, inner: str = "") -> str:
    return f"<f:WSManFault xmlns:f='http://schemas.microsoft.com/wbem/wsman/1/wsmanfault' Code='{code}'><f:Message>{inner}</f:Message></f:WSManFault>"


def wmi(code: object = "", message_id: str = "", status: object = "") -> str:
    return (
        f"<p:MSFT_WmiError xmlns:p='urn:e'><p:CIMStatusCode>{status}</p:CIMStatusCode><p:MessageID>{message_id}</p:MessageID>"
        f"<p:error_Code>{code}</p:error_Code></p:MSFT_WmiError>"
    )


@settings(deadline=None, max_examples=60)
@given(texts)
@pytest.mark.parametrize(
    ("detail", "field", "code", "status"),
    [
        (wsman(5), "permission", 5, None),
        (wsman(-2147024891), "permission", 2147942405, None),
        (wsman(2150859180), "permission", 2150859180, None),
        (wsman(2150859012), "namespace", 2150859012, None),
        (wsman(2150858778), "fault", 2150858778, None),
        (wmi(2150858778, "HRESULT 0x8033801a", 1), "fault", 2150858778, None),
        (wmi(2150859174), "quota", 2150859174, None),
        (wmi("", "HRESULT 0x803381a5"), "quota", 2150859173, None),
        (wsman(2150859240), "quota", 2150859240, None),
        (wsman(2150858793), "deadline", 2150858793, None),
        (wsman(2150858778, wsman(2147749891)), "namespace", 2150858778, 0x80041003),
        (wsman(2150858778, wsman(-2147217385)), "fault", 2150858778, 0x80041017),
        (wmi("", "HRESULT 0x80041010"), "fault", 0x80041010, 0x80041010),
        (wmi(status=2), "namespace", None, 0x80041003),
        (wmi(status=5), "fault", None, 0x80041010),
        (wmi("2147749996"), "quota", 0x8004106C, 0x8004106C),
        (wsman("87"), "fault", 87, None),
        (wsman("nonsense"), "fault", None, None),
        (wsman("99999999999999999999"), "fault", None, None),
        ("", "fault", None, None),
    ],
)
def test_a_fault_is_what_its_numbers_say_in_whatever_language_it_speaks(
    detail: str, field: str, code: int | None, status: int | None, reason: str
) -> None:
    found = fault(detail, reason)
    assert found is not None
    assert (found.field, found.code, found.wmi_status) == (field, code, status)
    assert field in Codes.__slots__
    assert str(found).isascii()


def test_access_denied_without_a_number_is_known_by_its_subcode() -> None:
    found = fault("", subcode="w:AccessDenied")
    assert found is not None
    assert (found.field, str(found)) == ("permission", "a fault without a number (AccessDenied)")
    hostile = fault("", subcode="w:拒绝")
    assert hostile is not None
    assert hostile.subcode is None


def test_what_is_no_fault_is_none() -> None:
    assert faults.fault_of(soap.envelope(answer(""))) is None


def piece(inner: str) -> shell.Piece:
    return shell.piece(soap.envelope(envelope(f"<r:ReceiveResponse xmlns:r='urn:r'>{inner}</r:ReceiveResponse>")))


def test_output_is_joined_from_its_streams() -> None:
    coded = base64.b64encode("主机".encode()).decode()
    running = piece(
        f"<r:Stream Name='stdout'>{coded[:4]}\n{coded[4:]}</r:Stream><r:Stream Name='stderr'/><r:CommandState State='x/CommandState/Running'/>"
    )
    assert (running.stdout.decode(), running.stderr, running.exit_status) == ("主机", b"", None)
    done = "<r:CommandState State='x/CommandState/Done'><r:ExitCode>{}</r:ExitCode></r:CommandState>"
    assert piece(done.format(-1073741502)).exit_status == -1073741502
    for wrong in (done.format(""), done.format("x"), "<r:Stream Name='stdout'>!</r:Stream>"):
        with pytest.raises(ValueError, match=r"exit code|base64"):
            piece(wrong)


def test_ids_that_are_none_are_refused() -> None:
    for body in ("", "<x:ShellId xmlns:x='urn:x'> </x:ShellId>", f"<x:ShellId xmlns:x='urn:x'>{'a' * 300}</x:ShellId>"):
        with pytest.raises(ValueError, match="names no"):
            shell.shell_id(soap.envelope(envelope(body)))


@settings(deadline=None, max_examples=60)
@given(texts, texts)
def test_messages_are_xml_whatever_stands_in_them(query: str, context: str) -> None:
    made = messages.Messages("http://[::1]:5985/wsman?a&b")
    for text in (
        made.enumerate(query, "root\\cimv2", "ID", 1.5),
        made.pull(context, query, "ID", 0.5),
        made.powershell(context, "ID", 1),
        made.script(context, query, query, "ID", 1),
        made.terminate(context, query, "ID", 1),
    ):
        root = soap.envelope(text)
        assert soap.text_of(root, "MessageID") == "uuid:ID"
    found = soap.envelope(made.enumerate(query, "root\\cimv2", "ID", 1.5))
    assert next(soap.named(found, "Filter")).text == (query or None)
    assert (soap.text_of(found, "ResourceURI") or "").endswith("/wmi/root/cimv2/*")
    assert soap.text_of(found, "OperationTimeout") == "PT1.500S"


def test_powershell_is_started_by_a_line_that_cmd_takes_and_given_its_script_in_one_message() -> None:
    made = messages.Messages("http://host/wsman")
    started = soap.envelope(made.powershell("SHELL", "ID", 1))
    line = " ".join(one.text or "" for name in ("Command", "Arguments") for one in soap.named(started, name))
    assert len(f"cmd.exe /C {line}") < 8_191
    script = "x" * messages.MOST_SCRIPT_BYTES
    sent = made.script("SHELL", "COMMAND", script, "ID", 1)
    assert len(sent) < 153_600
    stream = next(soap.named(soap.envelope(sent), "Stream"))
    assert (stream.get("Name"), stream.get("End")) == ("stdin", "true")
    line = base64.b64decode(stream.text or "")
    assert base64.b64decode(line).decode() == script

"""Answers cut as they stream in: the same slices however they come, and nothing of what is cut short or doubtful."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError, RetryableError
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.bulk import Retrieval, over
from asset_ledger.sources.vcenter.cutter import MOST_AROUND, Cutter
from asset_ledger.sources.vcenter.paths import KINDS
from asset_ledger.sources.vcenter.slices import moid_of
from tests.doubles.vcenter import RELEASES, VcenterDouble
from tests.patience import no_minutes
from tests.sources.vcenter.live import client, world

METHOD = "RetrievePropertiesEx"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    b' xmlns:xsi="' + XSI.encode() + b'">\n<soapenv:Body>\n<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval>'
)
TAIL = b"</returnval></RetrievePropertiesExResponse>\n</soapenv:Body>\n</soapenv:Envelope>\n"
TOKEN = b"<token>session[1]7</token>"


def element(number: int, inside: str = "") -> bytes:
    told = f'<propSet><name>name</name><val xsi:type="xsd:string">app {number} \u4e2d{inside}</val></propSet>'
    return f'<objects><obj type="VirtualMachine">vm-{number}</obj>{told}</objects>'.encode()


ELEMENTS = [element(number, "x" * (number * 37 % 200)) for number in range(9)]
WHOLE = HEAD + TOKEN + b"".join(ELEMENTS) + TAIL


def cut(body: bytes, size: int = 1 << 16, method: str = METHOD) -> tuple[list[bytes], Cutter]:
    cutter = Cutter(method, "vc.example.com:443")
    found = [one for at in range(0, len(body), size) for one in cutter.feed(body[at : at + size])]
    cutter.end()
    return found, cutter


def refused(body: bytes, method: str = METHOD) -> str:
    said = set()
    for size in (1, 7, 1 << 16):
        with pytest.raises(PermanentError) as caught:
            cut(body, size, method)
        assert caught.value.code is errors.PARSE_ERROR
        said.add(caught.value.message)
    return " ".join(said)


@pytest.mark.parametrize("size", [*range(1, 40), 500, 1 << 16])
def test_the_slices_are_the_same_however_the_answer_comes_in(size: int) -> None:
    found, cutter = cut(WHOLE, size)
    assert found == ELEMENTS
    assert cutter.token == "session[1]7"
    assert cutter.namespaces == {
        "": "urn:vim25",
        "soapenv": "http://schemas.xmlsoap.org/soap/envelope/",
        "xsi": XSI,
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), max_size=30), st.booleans())
def test_parts_of_any_lengths_make_no_difference(lengths: list[int], first: bool) -> None:
    body = HEAD + (TOKEN if first else b"") + b"".join(ELEMENTS) + (b"" if first else TOKEN) + TAIL
    cutter, at, found = Cutter(METHOD, "vc"), 0, []
    for length in (*lengths, len(body)):
        found += cutter.feed(body[at : at + length])
        at += length
    cutter.end()
    assert found == ELEMENTS
    assert cutter.token == "session[1]7"


def test_the_last_page_has_no_token_and_an_empty_answer_no_objects() -> None:
    assert cut(HEAD + ELEMENTS[0] + TAIL)[1].token is None
    assert cut(HEAD + TAIL)[0] == []
    found, cutter = cut(HEAD.replace(b"<returnval>", b"") + TAIL.replace(b"</returnval>", b""))
    assert (found, cutter.token) == ([], None)


@pytest.mark.parametrize("size", [1, 97])
def test_an_answer_that_is_cut_short_anywhere_is_an_error_that_may_pass(size: int) -> None:
    for end in range(len(WHOLE.rstrip())):
        with pytest.raises(RetryableError) as caught:
            cut(WHOLE[:end], size)
        assert caught.value.code is errors.NETWORK_ERROR
        assert "cut short" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(HEAD + element(1, "]]><![CDATA[</objects>]]>") + TAIL, id="CDATA in an object"),
        pytest.param(HEAD + element(1, "<!-- </objects> -->") + TAIL, id="a comment in an object"),
        pytest.param(HEAD + element(1, "<?pi </objects> ?>") + TAIL, id="an instruction in an object"),
        pytest.param(HEAD + element(1, "<![CDATA[x]]>") + TAIL, id="harmless CDATA in an object"),
        pytest.param(HEAD + element(1, "<!--x-->") + ELEMENTS[1] + TAIL, id="a harmless comment in an object"),
        pytest.param(HEAD + ELEMENTS[0] + element(1, "<?x?>") + TAIL, id="a harmless instruction in an object"),
        pytest.param(
            HEAD + element(1).replace(b"</objects>", ELEMENTS[1] + ELEMENTS[2] + b"</objects>") + TAIL,
            id="two objects in an object",
        ),
        pytest.param(HEAD + b"<!-- " + ELEMENTS[0] + b" -->" + TAIL, id="an object in a comment"),
        pytest.param(HEAD + b"<![CDATA[" + ELEMENTS[0] + b"]]>" + TAIL, id="an object in CDATA"),
        pytest.param(HEAD + ELEMENTS[0] + b"<!-- x -->" + ELEMENTS[1] + TAIL, id="a comment between"),
        pytest.param(HEAD + ELEMENTS[0] + b"<?x y?>" + TAIL, id="an instruction behind"),
        pytest.param(HEAD + element(1, ELEMENTS[0].decode()) + TAIL, id="an object in an object"),
        pytest.param(HEAD + ELEMENTS[0] + b"between" + ELEMENTS[1] + TAIL, id="text between"),
        pytest.param(HEAD + ELEMENTS[0] + b" " + ELEMENTS[1] + TAIL, id="space between"),
        pytest.param(HEAD + ELEMENTS[0] + TOKEN + ELEMENTS[1] + TAIL, id="a token between"),
        pytest.param(HEAD + ELEMENTS[0] + b"text" + TAIL, id="text behind"),
        pytest.param(HEAD + TOKEN + ELEMENTS[0] + TOKEN + TAIL, id="two tokens"),
        pytest.param(HEAD + ELEMENTS[0] + b"<token></token>" + TAIL, id="an empty token"),
        pytest.param(HEAD + ELEMENTS[0] + b"<token><x/>7</token>" + TAIL, id="something in the token"),
        pytest.param(HEAD + b"<other/>" + ELEMENTS[0] + TAIL, id="something else before"),
        pytest.param(HEAD + ELEMENTS[0] + b"<other/>" + TAIL, id="something else behind"),
        pytest.param(HEAD + b'<objects x="1">1</objects>' + TAIL, id="an object of another spelling"),
        pytest.param(HEAD + ELEMENTS[0] + TAIL + b"<more/>", id="more behind the end"),
        pytest.param(HEAD + ELEMENTS[0] + TAIL + WHOLE, id="two answers"),
        pytest.param(HEAD.replace(b"<returnval>", b"") + ELEMENTS[0] + TAIL, id="no returnval around"),
        pytest.param(HEAD.replace(b"urn:vim25", b"urn:other") + ELEMENTS[0] + TAIL, id="another namespace"),
        pytest.param(HEAD.replace(b"soap/envelope", b"other") + ELEMENTS[0] + TAIL, id="no SOAP"),
        pytest.param(HEAD.replace(b"UTF-8", b"ISO-8859-1") + ELEMENTS[0] + TAIL, id="another encoding"),
        pytest.param(WHOLE.decode().replace("UTF-8", "UTF-16").encode("utf-16"), id="UTF-16"),
        pytest.param(WHOLE.replace(b"?>\n", b'?>\n<!DOCTYPE x [<!ENTITY a "b">]>'), id="a document type"),
        pytest.param(HEAD + b" " * (MOST_AROUND + 1) + TAIL, id="too much before"),
        pytest.param(HEAD + ELEMENTS[0] + b" " * (MOST_AROUND + 1) + TAIL, id="too much behind"),
        pytest.param(b"<html><body>Please sign in</body></html>", id="a page"),
        pytest.param(WHOLE.replace(b"</objects>", b"</object>"), id="an object that does not end"),
    ],
)
def test_what_would_make_a_cut_doubtful_is_refused(body: bytes) -> None:
    assert "cannot be read" in refused(body)


def test_the_answer_to_another_call_is_none_to_this() -> None:
    assert "not expected" in refused(WHOLE, "ContinueRetrievePropertiesEx")


def test_an_answer_of_any_size_passes_in_little_memory() -> None:
    one = element(1, "x" * 7000)
    tracemalloc.start()
    cutter = Cutter(METHOD, "vc")
    cutter.feed(HEAD)
    passed = 0
    for _ in range(2000):
        for at in range(0, len(one), 4096):
            passed += len(cutter.feed(one[at : at + 4096]))
    cutter.feed(TAIL)
    cutter.end()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert passed == 2000
    assert peak < 1 << 20, f"{peak} bytes of 14 MB were held"


def test_one_large_object_is_cut_in_linear_time() -> None:
    one = element(1, "x" * (8 << 20))
    with no_minutes():  # some of them with a join a part
        found, _ = cut(HEAD + one + TAIL, 16)
    assert found == [one]


# -- over the wire ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", [None, *RELEASES])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_pages_are_read_to_the_last(release: str | None, size: int) -> None:
    with VcenterDouble(release=release or "6.5") as vc:
        world(vc, vms=7)
        asking = client(vc)
        asking.connect()
        retrieval = Retrieval(asking, over(asking.view("VirtualMachine")), "VirtualMachine", ("name",), page_size=size)
        found = [moid_of(one) for slices, _ in retrieval for one in slices]
        asking.close()
        assert sorted(map(str, found)) == [f"vm-{number}" for number in range(7)]
        assert (retrieval.pages, retrieval.ended) == (-(-7 // size), True)


def test_a_path_that_the_release_does_not_know_is_left_out_and_said(vc: VcenterDouble) -> None:
    vc.unknown_paths = {"guest.net", "config.uuid"}
    asking = client(vc)
    asking.connect()
    view = over(asking.view("VirtualMachine"))
    every = KINDS["vms"].every
    retrieval = Retrieval(asking, view, "VirtualMachine", every, optional=("guest.net", "config.uuid"))
    slices = [one for some, _ in retrieval for one in some]
    assert len(slices) == 7
    assert set(retrieval.dropped) == {"guest.net", "config.uuid"}
    assert all(b"<name>guest.net</name>" not in one and b"<name>config.instanceUuid</name>" in one for one in slices)
    with pytest.raises(PermanentError, match=r"InvalidProperty.*guest\.net|InvalidProperty.*config\.uuid") as caught:
        list(Retrieval(asking, view, "VirtualMachine", every))
    assert caught.value.code is errors.PARSE_ERROR
    asking.close()

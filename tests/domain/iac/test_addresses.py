"""Addresses of resources and modules: what Terraform writes is read, and written again the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac.addresses import Address, AddressError, Module, address, bracketed, module_path

names = st.from_regex(r"[a-zA-Zé_][a-zA-Z0-9é_-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("module", "data")
)
awkward = st.sampled_from(
    ['"', "\\", "${", "%{", "$", "%", "{", "]", "[", ".", "\n", "\0", "/", "é", "\U0001f600", "\u200b"]
)
keys = (
    st.none()
    | st.integers(0, 10**20)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.lists(awkward, max_size=6).map("".join)
)
modules = st.lists(st.builds(Module, names, keys), max_size=3).map(tuple)


@settings(deadline=None)
@given(st.builds(Address, modules, st.sampled_from(["managed", "data"]), names, names, keys))
def test_an_address_is_read_as_it_was_written_whatever_its_keys_hold(whole: Address) -> None:
    assert address(str(whole)) == whole
    assert address(whole.config) == Address(
        tuple(Module(each.name) for each in whole.modules), whole.mode, whole.type, whole.name
    )


@settings(deadline=None)
@given(modules)
def test_a_path_of_modules_is_read_as_it_was_written(path: tuple[Module, ...]) -> None:
    if path:
        assert module_path(".".join(map(str, path))) == path


@pytest.mark.parametrize(
    ("key", "written"),
    [
        (None, ""),
        (0, "[0]"),
        ("eu/1 a.b", '["eu/1 a.b"]'),
        ('say "x"', r'["say \"x\""]'),
        ("back\\slash", r'["back\\slash"]'),
        ("${a}", '["$${a}"]'),
        ("%{if}", '["%%{if}"]'),
        ("$${a}", '["$$${a}"]'),
        ("$ {", '["$ {"]'),
        ("a\nb\tc\r", r'["a\nb\tc\r"]'),
        ("\0", r'["\u0000"]'),
        ("\u200b\U000e0001", r'["\u200b\U000e0001"]'),
        ("日本", '["日本"]'),
        ("]", '["]"]'),
    ],
)
def test_instance_keys_are_quoted_as_terraform_quotes_them(key: int | str | None, written: str) -> None:
    assert bracketed(key) == written
    assert address(f"a.b{written}").key == key


def test_half_a_surrogate_pair_in_a_key_is_written_as_terraform_reads_it() -> None:
    assert bracketed("\ud800") == '["\ufffd"]'


def test_the_parts_of_an_address_are_told_apart() -> None:
    found = address('module.app["eu/1"].module.b[2].data.aws_subnet.a["x.y[0]"]')
    assert found.modules == (Module("app", "eu/1"), Module("b", 2))
    assert (found.mode, found.type, found.name, found.key) == ("data", "aws_subnet", "a", "x.y[0]")
    assert found.config == "module.app.module.b.data.aws_subnet.a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aws_instance",
        "aws_instance.",
        ".a",
        "a.b.c",
        "a.b[",
        "a.b[]",
        "a.b[x]",
        'a.b["x"',
        'a.b["x',
        'a.b["\\q"]',
        'a.b["\\u12"]',
        'a.b["\\ud800"]',
        'a.b["\\U00110000"]',
        'a.b["x"] ',
        "a.b[0][1]",
        "module.a",
        "module.a.",
        "module..a.b",
        "1a.b",
        "a b.c",
        f"a.b[{'9' * 5000}]",
        "a.b[٣]",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(AddressError, match="was expected at character") as caught:
        address(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    "text", ["", "a.b", "module", "module.", "module.a.b", 'module.a["x', "module.a.module.b[0].c"]
)
def test_what_is_no_path_of_modules_is_refused(text: str) -> None:
    if text:
        with pytest.raises(AddressError):
            module_path(text)

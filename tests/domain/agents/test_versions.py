"""Versions in the order of semver.org 2.0.0, and machines by the names that they use themselves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.agents.versions import PLATFORMS, Version, parse, platform_of

# the order of semver.org's own example, with more around it
IN_ORDER = [
    "0.0.1", "0.1.0", "0.9.10", "0.10.0", "1.0.0-0", "1.0.0-1", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1",
    "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0",
]  # fmt: skip
versions = st.builds(
    Version,
    st.integers(0, 30),
    st.integers(0, 3),
    st.integers(0, 3),
    st.lists(st.from_regex(r"0|[1-9][0-9]{0,2}|[A-Za-z-][0-9A-Za-z-]{0,3}", fullmatch=True), max_size=3).map(tuple),
)


@pytest.mark.parametrize(("earlier", "later"), [*itertools.pairwise(IN_ORDER)])
def test_versions_are_in_the_order_of_the_standard(earlier: str, later: str) -> None:
    assert parse(earlier) < parse(later)
    assert not parse(later) < parse(earlier)
    assert parse(later) >= parse(earlier)
    assert parse(earlier) != parse(later)


@given(versions)
def test_a_version_is_written_as_it_is_read(version: Version) -> None:
    assert parse(str(version)) == version


@given(st.lists(versions, max_size=6))
def test_the_order_is_total(found: list[Version]) -> None:
    for one, other in itertools.combinations(sorted(found), 2):
        assert one <= other
        assert (one == other) == (not one < other)
        assert one != other or hash(one) == hash(other)


def test_a_build_counts_for_nothing_and_is_kept() -> None:
    assert parse("1.0.0+linux.5") == parse("1.0.0+other") == parse("1.0.0")
    assert str(parse("v1.0.0-rc.1+linux.5")) == "1.0.0-rc.1+linux.5"


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.2.3 ", "V1.2.3", "-1.0.0",
     "1.2.x", "latest", "1.2.3\n", "١.٢.٣", "1.0." + "9" * 60],
)  # fmt: skip
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        parse(text)


@pytest.mark.parametrize(
    ("os", "arch", "name"),
    [
        ("linux", "x86_64", "linux-amd64"), ("Linux", "aarch64", "linux-arm64"), ("linux", "i686", "linux-386"),
        ("linux", "armv7l", "linux-arm"), ("darwin", "arm64", "darwin-arm64"), ("Darwin", "x86_64", "darwin-amd64"),
        ("Windows", "AMD64", "windows-amd64"), ("windows", "ARM64", "windows-arm64"), ("freebsd", "amd64", "freebsd-amd64"),
        ("linux", "s390x", "linux-s390x"), ("plan9", "amd64", None), ("linux", "", None), ("darwin", "i386", None),
    ],
)  # fmt: skip
def test_a_platform_is_found_by_the_machines_own_names(os: str, arch: str, name: str | None) -> None:
    assert platform_of(os, arch) == name


@pytest.mark.parametrize("name", PLATFORMS)
def test_platforms_are_found_by_their_own_names(name: str) -> None:
    os, _, arch = name.partition("-")
    assert platform_of(os, arch) == name


def test_the_platforms_of_the_data_model_are_there() -> None:
    assert {"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64", "windows-amd64"} <= set(PLATFORMS)

"""One spelling for addresses, MACs, serials and UUIDs, and which of them may say who a machine is."""

from __future__ import annotations

import uuid
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.addresses import (
    identifies_machine,
    normal_mac,
    normal_serial,
    normal_uuid,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.10", "192.0.2.10"),
        (" 192.0.2.10/24 ", "192.0.2.10"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8::0:10/64", "2001:db8::10"),
        ("::ffff:192.0.2.10", "192.0.2.10"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize("text", ["", "host", "192.0.2", "192.0.2.256", "192.0.2.010", "1", "::g", "٣.٣.٣.٣", "/24"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@given(st.ip_addresses())
def test_every_address_survives_its_own_spelling(address: IPv4Address | IPv6Address) -> None:
    found = parse_address(str(address))
    assert found is not None
    assert parse_address(str(found)) == found


@given(st.text(max_size=60))
def test_no_text_breaks_a_normaliser(text: str) -> None:
    for normal in (normal_mac, normal_serial, normal_uuid):
        once = normal(text)
        assert once is None or normal(once) == once, "what is normal stays as it is"
    parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.8.9.10",
        "::1",
        "169.254.10.1",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "0.0.0.0",
        "0.0.0.5",
        "::",
        "255.255.255.255",
        "240.0.0.1",
    ],
)
def test_an_address_that_stands_on_many_machines_identifies_none(text: str) -> None:
    assert not identifies_machine(ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.5", "192.168.1.1", "192.0.2.1", "8.8.8.8", "2001:db8::1", "fd00::1"])
def test_a_unicast_address_on_a_real_interface_identifies(text: str) -> None:
    assert identifies_machine(ip_address(text))
    assert identifies_machine(ip_address(text), "eth0")
    assert identifies_machine(ip_address(text), "bond0.100")
    assert identifies_machine(ip_address(text), "lom0")


@pytest.mark.parametrize(
    "interface",
    [
        "lo",
        "lo0",
        "lo:1",
        "docker0",
        "br-1a2b3c",
        "virbr0",
        "veth12ab",
        "cni0",
        "flannel.1",
        "cali0a",
        "kube-ipvs0",
        "dummy0",
        "wg0",
    ],
)
def test_the_address_of_a_bridge_or_a_virtual_network_identifies_none(interface: str) -> None:
    assert not identifies_machine(ip_address("172.17.0.1"), interface)


@given(st.ip_addresses(network=IPv4Network("127.0.0.0/8")) | st.ip_addresses(network=IPv4Network("169.254.0.0/16")))
def test_no_interface_makes_a_loopback_or_link_local_address_identify(address: IPv4Address) -> None:
    assert not identifies_machine(address, "eth0")


@pytest.mark.parametrize(
    "text", ["52:54:00:12:34:56", "52-54-00-12-34-56", "5254.0012.3456", "525400123456", " 52:54:00:12:34:56\n"]
)
def test_a_mac_has_one_spelling(text: str) -> None:
    assert normal_mac(text) == "52:54:00:12:34:56"
    assert normal_mac(text.upper()) == "52:54:00:12:34:56"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "33:33:00:00:00:01",
        "52:54:00:12:34",
        "52:54:00:12:34:56:78",
        "decade / facade",
        "no MAC: abcdef 012345",
    ],
)
def test_what_is_no_machines_mac_is_none(text: str) -> None:
    assert normal_mac(text) is None


@given(st.integers(1, (1 << 48) - 2).filter(lambda number: not number >> 40 & 1))
def test_every_unicast_mac_is_kept(number: int) -> None:
    text = f"{number:012x}"
    assert normal_mac(text) == ":".join(text[i : i + 2] for i in range(0, 12, 2))


@pytest.mark.parametrize(
    "text", ["", "  ", "None", "N/A", "To Be Filled By O.E.M.", "Default string", "00000000", "xxxx", "0123456789"]
)
def test_a_vendors_placeholder_is_no_serial_number(text: str) -> None:
    assert normal_serial(text) is None


def test_a_serial_number_keeps_its_zeros_and_its_case() -> None:
    assert normal_serial(" 00A1b2C3 ") == "00A1b2C3"


@given(st.uuids())
def test_a_uuid_has_one_spelling(value: uuid.UUID) -> None:
    for text in (str(value), str(value).upper(), value.hex, f"{{{value}}}", value.urn):
        assert normal_uuid(text) == normal_uuid(str(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not one",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
    ],
)
def test_nonsense_and_what_boards_ship_with_is_no_uuid(text: str) -> None:
    assert normal_uuid(text) is None

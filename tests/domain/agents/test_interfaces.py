"""Which interfaces are the machine's own, and which addresses last."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest

from asset_ledger.domain.agents.interfaces import is_own, lasting_addresses, own_addresses, own_macs
from asset_ledger.domain.agents.payload import Nic


def nic(
    name: str = "eth0", *addresses: str, mac: str | None = "00:15:5d:01:02:03", flags: tuple[str, ...] = ("up",)
) -> Nic:
    return Nic(name, mac, flags, addresses, 1500)


OWN = [
    *(
        "eth0",
        "ens18",
        "enp3s0f1",
        "eno1",
        "bond0",
        "team0",
        "br0",
        "vmbr0",
        "eth0.100",
        "ib0",
        "wlan0",
        "wlp2s0",
        "en0",
    ),
    *("em0", "vtnet0", "igb1", "venet0", "net0", "usb0", "green0", "Ethernet0", "Ethernet 2", "Local Area Connection"),
    *("Wi-Fi", "vEthernet (LAN)", "vEthernet (External Switch)", "Team 1", "以太网"),
]
NOT_OWN = [
    *("lo", "lo0", "docker0", "br-1a2b3c4d5e6f", "veth12ab34c", "virbr0", "cni0", "flannel.1", "cali012345", "tunl0"),
    *("kube-ipvs0", "dummy0", "podman0", "vnet3", "tap0", "tun0", "wg0", "zt5u4y", "cilium_host", "cilium_net"),
    *("lxc1a2b3c", "vxlan.calico", "weave", "ovs-system", "genev_sys_6081", "antrea-gw0", "cbr0", "gre0", "gretap0"),
    *("erspan0", "sit0", "ip6tnl0", "ip_vti0", "ifb0", "nlmon0", "tailscale0", "ppp0", "fwbr100i0", "fwpr100p0"),
    *("vmnet8", "utun3", "awdl0", "llw0", "p2p0", "ap1", "anpi0", "gif0", "stf0", "bridge100", "vmenet0"),
    *("isatap.{8E4B0B7E-5A5B-4E8E-9D3A-1F2E3D4C5B6A}", "Teredo Tunneling Pseudo-Interface", "6TO4 Adapter"),
    *("Loopback Pseudo-Interface 1", "Npcap Loopback Adapter", "Local Area Connection* 10", "vEthernet (nat)"),
    *("vEthernet (Default Switch)", "vEthernet (WSL)", "vEthernet (WSL (Hyper-V firewall))"),
    *("VMware Network Adapter VMnet8", "VirtualBox Host-Only Network"),
]


@pytest.mark.parametrize("name", OWN)
def test_cards_bonds_and_bridges_are_the_machines_own(name: str) -> None:
    assert is_own(nic(name))


@pytest.mark.parametrize("name", NOT_OWN)
def test_what_software_makes_is_not(name: str) -> None:
    assert not is_own(nic(name))
    assert own_macs([nic(name)]) == lasting_addresses([nic(name, "192.0.2.1/24")]) == ()


@pytest.mark.parametrize("flag", ["loopback", "pointtopoint", "pointopoint"])
def test_a_loop_or_a_tunnel_is_known_by_its_flag_too(flag: str) -> None:
    assert not is_own(nic("office", flags=("up", flag)))


def test_the_interface_of_an_openvz_container_leads_to_one_peer_and_is_its_own() -> None:
    assert lasting_addresses([nic("venet0", "192.0.2.7/32", mac=None, flags=("up", "pointtopoint"))]) == ("192.0.2.7",)


def test_an_infiniband_card_has_addresses_and_no_mac_of_6_bytes() -> None:
    assert lasting_addresses([nic("ib0", "192.0.2.7/24", mac=None)]) == ("192.0.2.7",)


def test_addresses_come_once_without_mask_and_in_numeric_order() -> None:
    nics = [nic("eth1", "192.0.2.10/24", "2001:db8::1/64"), nic("eth0", "192.0.2.9/24", "192.0.2.10/24")]
    assert lasting_addresses(nics) == ("192.0.2.9", "192.0.2.10", "2001:db8::1")


def test_a_virtual_ip_of_a_cluster_does_not_last() -> None:
    assert lasting_addresses([nic("bond0", "192.0.2.50/24", "192.0.2.99/32")]) == ("192.0.2.50",)


def test_a_single_address_of_a_cloud_does() -> None:
    assert lasting_addresses([nic("ens4", "10.128.0.2/32")]) == ("10.128.0.2",)


@pytest.mark.parametrize(
    "text", ["127.0.0.1/8", "169.254.3.4/16", "fe80::1/64", "::1/128", "0.0.0.0/0", "224.0.0.1/4", "x", ""]
)
def test_addresses_that_many_machines_have_are_none(text: str) -> None:
    assert lasting_addresses([nic("eth0", text)]) == own_addresses([nic("eth0", text)]) == ()


@pytest.mark.parametrize(
    "text",
    [
        "2001:db8::10",
        "2001:db8::a:b:c:d",
        "2001:db8:1:2:215:5dff:fe01:203",
        "2001:db8:0:1:192:0:2:10",
        "fd00::dead:beef",
    ],
)
def test_an_ipv6_address_that_somebody_chose_lasts(text: str) -> None:
    assert lasting_addresses([nic("eth0", f"{text}/64")]) == (text,)


def test_ipv6_addresses_that_look_drawn_by_lot_do_not_last_but_are_own() -> None:
    nics = [nic("en0", "2001:db8:1::1c3a:55aa:90f1:7d21/64", "2001:db8:1:0:d80b:7e31:40cf:a8e5/64")]
    assert lasting_addresses(nics) == ()
    assert own_addresses(nics) == ("2001:db8:1:0:1c3a:55aa:90f1:7d21", "2001:db8:1:0:d80b:7e31:40cf:a8e5")


def test_a_lot_seldom_passes_for_a_choice() -> None:
    lots = random.Random(4941)
    drawn = [IPv6Address((0x20010DB8 << 96) | lots.getrandbits(64)) for _ in range(20_000)]
    assert len(lasting_addresses([nic("en0", *(f"{address}/64" for address in drawn))])) < 10


def test_what_the_agent_says_counts_more_than_how_an_address_looks() -> None:
    drawn, chosen = "2001:db8::d80b:7e31:40cf:a8e5/64", "2001:db8::10/64"
    told = Nic("eth0", None, (), (drawn, chosen), None, temporary=frozenset({chosen}), lasting=frozenset({drawn}))
    assert lasting_addresses([told]) == ("2001:db8::d80b:7e31:40cf:a8e5",)


def test_a_link_local_address_does_not_last_though_the_agent_says_so() -> None:
    assert lasting_addresses([Nic("eth0", None, (), ("fe80::1/64",), None, lasting=frozenset({"fe80::1/64"}))]) == ()


def test_the_members_of_a_bond_are_one_mac() -> None:
    assert own_macs([nic("eno1"), nic("eno2"), nic("bond0"), nic("eth9", mac="00:15:5d:01:02:02")]) == (
        "00:15:5d:01:02:02",
        "00:15:5d:01:02:03",
    )

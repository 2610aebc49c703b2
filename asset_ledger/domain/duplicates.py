"""What makes two ledger assets look like one machine: the named parts of a score, their points, and how they are said.

Pure. `store.derive.duplicates` finds the evidence and adds the points up; the command line says the parts in words.
Only a person merges (law 6): a score orders a list for people and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHARED_BY_AT_MOST = 5
"""A value on more canonical assets than this says nothing of any: a placeholder, a template, a shared address."""
LOWEST, HIGHEST = 1, 100
"""Scores lie between these, whatever the parts add up to."""
UUID_KINDS = ("smbios_uuid", "vmware_uuid", "hyperv_guid", "machine_uuid")
"""Identifiers that are compared with one another, in either byte order: guest and hypervisor disagree about the first
three fields, and about which of their UUIDs they call what."""


@dataclass(frozen=True, slots=True)
class PartRule:
    """One kind of evidence: what it adds to the score, and how a person is told. `{values}` are those both have."""

    points: int
    words: str


PARTS: Mapping[str, PartRule] = {
    # made to be unique, but copied by clones and restores: alone it makes a good candidate and no certainty
    "uuid": PartRule(60, "the same UUID {values}"),
    # a vendor's own numbering; two vendors may use one number
    "serial": PartRule(40, "the same serial number {values}"),
    # cards move between machines, and some clones keep them
    "mac": PartRule(40, "the same MAC address {values}"),
    # two sources reach one machine under it; addresses are given out again, so not more than the hardware's own
    "mgmt_ip": PartRule(40, "the same management address {values}"),
    # what one source manages the machine by, another saw on it; a shared service address looks the same
    "address": PartRule(25, "the management address {values} of one is an address of the other"),
    # given by people and copied by them: it supports other evidence and is none by itself
    "same_hostname": PartRule(15, "the same hostname {values}"),
    # guests change MACs with cards and bonds, so a difference says little
    "other_mac": PartRule(-10, "no MAC address in common, though both have some"),
    # firmware's own UUID is one a machine: two say two machines, or a restore that made a new one
    "other_uuid": PartRule(-20, "other firmware UUIDs"),
    # a list of everything named both, as a clone beside its original; a machine told twice stands there once
    "side_by_side": PartRule(-30, "seen side by side in one complete reading of {values}: rather a clone"),
}

UUID, SERIAL, MAC, ADDRESS = 1, 2, 3, 4
"""The classes of values that are compared. What two assets share in one class is one part, however much it is."""
PART_OF_CLASS: Mapping[int, str] = {UUID: "uuid", SERIAL: "serial", MAC: "mac", ADDRESS: "address"}


def reason(part: Mapping[str, Any]) -> str:
    """Return a part of a candidate (`part`, `points`, `values`) as people read it, with its points."""
    values = ", ".join(str(value) for value in part["values"])
    return f"{PARTS[part['part']].words.format(values=values)} ({part['points']:+d})"

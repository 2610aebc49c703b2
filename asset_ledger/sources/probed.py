"""What the parsers of all probes share: the failure or the record of one host, its cautions, and whose hardware it is.

Pure; called by `ssh.parse` and `winrm.parse`. What a host's answer looks like is the platform's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import MACHINE, AssetRecord, Caution, Item, TargetFailure
from asset_ledger.domain.raw import RawRecord

Named = Callable[[str], ErrorCode | None]
"""Returns the platform's code of this name, or None: `errors.by_name`."""
Target = Mapping[str, Any]
"""The `target` of a raw document: a `ProbeTarget` as JSON holds it."""

LINUX_FAMILIES: Mapping[str, str] = {
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "rhel",
    "centos": "rhel",
    "fedora": "rhel",
    "rocky": "rhel",
    "almalinux": "rhel",
    "ol": "rhel",
    "amzn": "rhel",
    "suse": "suse",
    "sles": "suse",
    "opensuse": "suse",
    "alpine": "alpine",
    "arch": "arch",
}
"""The family of a distribution, so that whoever looks from within a machine spells it alike."""

# systemd-detect-virt's own words, so that every host's hypervisor is spelled alike
_PRODUCTS = (
    (r"vmware", "vmware"),
    (r"virtualbox|innotek", "oracle"),
    (r"microsoft corporation virtual machine", "microsoft"),
    (r"amazon ec2", "amazon"),
    (r"google compute engine", "google"),
    (r"\bxen\b|hvm domu", "xen"),
    (r"parallels", "parallels"),
    (r"bochs", "bochs"),
    # of Nutanix and Tencent Cloud the product too: both have machines of metal
    (r"qemu|kvm|openstack|alibaba cloud ecs|red hat rhev|ovirt|proxmox", "kvm"),
    (r"nutanix ahv|tencent cloud cvm|kubevirt", "kvm"),
)


class FailedError(Exception):
    """A raw record that gives no machine: why, by code and in words."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def items(
    raw: RawRecord, by_name: Named, record: Callable[[RawRecord, Target, str | None], AssetRecord]
) -> Iterator[Item]:
    """Yield one AssetRecord or one TargetFailure, then the Cautions the probe came with.

    `record` gets the raw record, its target and the target's management address; it raises FailedError.
    """
    asked = raw.document.get("target")
    target: Target = asked if isinstance(asked, Mapping) else {}
    address = parse_address(string(target.get("mgmt_ip")))
    mgmt_ip = str(address) if address else None
    try:
        yield record(raw, target, mgmt_ip)
    except FailedError as failed:
        yield TargetFailure(MACHINE, mgmt_ip or raw.target, mgmt_ip, failed.code, failed.message)
    cautions = raw.document.get("cautions")
    for caution in cautions if isinstance(cautions, list) else ():
        if isinstance(caution, Mapping) and (code := by_name(string(caution.get("code")))):
            yield Caution(code, clean(string(caution.get("message"))) or code.meaning, locator=raw.target)


def raise_own_error(raw: RawRecord, by_name: Named, unreadable: ErrorCode) -> None:
    """Raise FailedError with what the probe failed with, if it did; with `unreadable` where that is no code of ours."""
    error = raw.document.get("error")
    if not isinstance(error, Mapping):
        return
    code = by_name(string(error.get("code")))
    if code is None:
        raise FailedError(unreadable, f"the record's error has no code of ours: {string(error.get('code'))}")
    raise FailedError(code, clean(string(error.get("message"))) or code.meaning)


def hypervisor(vendor: str, product: str) -> str | None:
    """Return whose virtual machine has this vendor and product name, in systemd-detect-virt's words, or None."""
    shown = f"{vendor} {product}".strip().lower()
    return next((name for pattern, name in _PRODUCTS if re.search(pattern, shown)), None)


def put(into: dict[str, Any], unknown: dict[str, str], path: str, value: Any, why: str) -> None:
    """Put a value under the last word of its path, or, where there is none, the reason for that."""
    if value:
        into[path.rpartition(".")[2]] = value
    else:
        unknown[path] = why[:1024]


def clean(text: str) -> str:
    """Return text that a document may hold: no control characters, at most 1024 long."""
    return "".join(c for c in text if c.isprintable()).strip()[:1024]


def string(value: Any) -> str:
    """Return a text as it is, and "" for anything else."""
    return value if isinstance(value, str) else ""

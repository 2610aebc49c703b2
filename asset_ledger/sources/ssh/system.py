"""What runs on the machine, and what the machine is: OS, virtualization, container. Pure; called by `parse`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from asset_ledger.sources.probed import LINUX_FAMILIES, hypervisor
from asset_ledger.sources.ssh.sections import Section

# systemd-detect-virt's own words, so that hosts with and without it are spelled alike
_CONTAINERS = frozenset(
    {"lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "wsl", "proot", "pouch", "openvz", "oci"}
)


@dataclass(frozen=True, slots=True)
class Nature:
    """`virtualization` in systemd-detect-virt's words, `none` for bare metal, None where nothing tells."""

    virtualization: str | None
    container: bool

    @property
    def asset_type(self) -> str | None:
        """Containers count as `vm`: they are not hardware, and platforms list them among their machines."""
        if self.virtualization is None:
            return None
        return "physical" if self.virtualization == "none" else "vm"


def pairs(section: Section | None) -> list[tuple[str, str]]:
    """Return the `key=value` lines of a section in order."""
    lines = section.text.splitlines() if section else []
    return [(key.strip(), value.strip()) for key, mark, value in (line.partition("=") for line in lines) if mark]


def nature(sections: Mapping[str, Section]) -> Nature:
    """Tell container, virtual and physical machine apart, by what the machine itself can see."""
    said = pairs(sections.get("virt"))
    detected = next((value for key, value in said if key == "detect"), "")
    containers = [value for key, value in said if key == "container" and value]
    if detected in _CONTAINERS:
        return Nature(detected, True)
    if containers:
        return Nature(containers[0], True)
    if detected:
        return Nature(detected, False)
    dmi = dict(pairs(sections.get("dmi")))
    if guest_of := hypervisor(dmi.get("sys_vendor", ""), dmi.get("product_name", "")):
        return Nature(guest_of, False)
    cpu = next((value for key, value in said if key == "cpu"), "")
    if cpu == "hypervisor":
        return Nature("vm-other", False)
    product = f"{dmi.get('sys_vendor', '')}{dmi.get('product_name', '')}".strip()
    # the flag alone does not prove hardware: Xen PV hides it; a vendor's product name beside it does
    return Nature("none" if cpu == "bare" and product else None, False)


def operating_system(sections: Mapping[str, Section]) -> dict[str, str]:
    """Return `family`, `name`, `version` and `kernel`, each only where it is known."""
    found: dict[str, str] = {}
    uname = sections["uname"].text.splitlines() if "uname" in sections and sections["uname"].rc == 0 else []
    if len(uname) > 1:
        found["kernel"] = uname[1].strip()
    section = sections.get("os")
    if section is not None and section.rc == 0 and section.text.startswith("file="):
        first, _, text = section.text.partition("\n")
        found |= _release(first[5:].strip(), text)
    if "family" not in found and uname and uname[0].strip() not in ("", "Linux"):
        found["family"] = uname[0].strip().lower()
    return {key: value for key, value in found.items() if value}


def _release(file: str, text: str) -> dict[str, str]:
    if file.endswith("os-release"):
        return _os_release(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return {}
    name = re.sub(r"\\\w(\{[^}]*\})?", "", lines[0]).strip()
    if file.endswith("alpine-release"):
        return {"family": "alpine", "name": f"Alpine Linux {name}", "version": name}
    version = re.search(r"\d+(\.\d+)*", name)
    number = version.group() if version else ""
    if file.endswith("SuSE-release"):
        level = re.search(r"^PATCHLEVEL\s*=\s*(\d+)", text, re.MULTILINE)
        number = f"{number}.{level.group(1)}" if level and number and level.group(1) != "0" else number
        return {"family": "suse", "name": name, "version": number}
    if file.endswith("redhat-release"):
        return {"family": "rhel", "name": name, "version": number}
    first = name.split(" ", 1)[0].lower()
    return {"family": LINUX_FAMILIES.get(first, first), "name": name, "version": number}


def _os_release(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, mark, value = line.strip().partition("=")
        if mark and re.fullmatch(r"[A-Z_0-9]+", key):
            try:
                values[key] = " ".join(shlex.split(value))
            except ValueError:  # an unclosed quote
                values[key] = value.strip("\"'")
    identity = values.get("ID", "").lower()
    like = values.get("ID_LIKE", "").lower().split()
    known = (LINUX_FAMILIES[word.split("-")[0]] for word in (identity, *like) if word.split("-")[0] in LINUX_FAMILIES)
    return {
        "family": next(known, identity),
        "name": values.get("PRETTY_NAME") or values.get("NAME", ""),
        "version": values.get("VERSION_ID", ""),
    }

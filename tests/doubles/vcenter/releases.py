"""How vCenter and ESXi of each release name themselves, and which API versions they offer. No objects.

The versions are those of vimServiceVersions.xml; a client takes the newest one that it knows too.
"""

from __future__ import annotations

from dataclasses import dataclass

_ALL = (
    "9.0.0.0",
    "8.0.3.1",
    "8.0.3.0",
    "8.0.2.0",
    "8.0.1.0",
    "8.0.0.2",
    "8.0.0.1",
    "8.0.0.0",
    "7.0.3.2",
    "7.0.3.1",
    "7.0.3.0",
    "7.0.2.1",
    "7.0.2.0",
    "7.0.1.1",
    "7.0.1.0",
    "7.0.0.2",
    "7.0.0.0",
    "6.9.1",
    "6.8.7",
    "6.7.3",
    "6.7.2",
    "6.7.1",
    "6.7",
    "6.5",
    "6.0",
    "5.5",
    "5.1",
    "5.0",
    "4.1",
    "4.0",
    "2.5u2",
    "2.5",
)


@dataclass(frozen=True)
class Release:
    """One release. `api` is the newest API version it offers."""

    name: str
    version: str
    build: str
    host_build: str
    api: str
    license: str

    @property
    def offers(self) -> tuple[str, ...]:
        """The API versions it offers, newest first."""
        return _ALL[_ALL.index(self.api) :]

    def knows(self, api: str) -> bool:
        """Say whether something that came with an API version is there."""
        return api in self.offers

    def versions_xml(self) -> bytes:
        """Return vimServiceVersions.xml."""
        newest, *older = self.offers
        prior = "".join(f"\n         <version>{version}</version>" for version in older)
        return (
            '<?xml version="1.0" encoding="UTF-8" ?>\n'
            "<!--\n   Copyright 2008-2024 VMware, Inc.  All rights reserved.\n-->\n"
            '<namespaces version="1.0">\n   <namespace>\n      <name>urn:vim25</name>\n'
            f"      <version>{newest}</version>\n      <priorVersions>{prior}\n      </priorVersions>\n"
            "   </namespace>\n   <namespace>\n      <name>urn:vim2</name>\n      <version>2.0</version>\n"
            "   </namespace>\n</namespaces>\n"
        ).encode()

    def about(self, instance_uuid: str, *, esxi: bool = False) -> tuple[tuple[str, str], ...]:
        """Return the fields of AboutInfo: of the vCenter, or of one ESXi host, which has no instanceUuid."""
        name = "VMware ESXi" if esxi else "VMware vCenter Server"
        build = self.host_build if esxi else self.build
        fields = [
            ("name", name),
            ("fullName", f"{name} {self.version} build-{build}"),
            ("vendor", "VMware, Inc."),
            ("version", self.version),
            ("build", build),
            ("localeVersion", "INTL"),
            ("localeBuild", "000"),
            ("osType", "vmnix-x86" if esxi else "linux-x64"),
            ("productLineId", "embeddedEsx" if esxi else "vpx"),
            ("apiType", "HostAgent" if esxi else "VirtualCenter"),
            ("apiVersion", self.api),
        ]
        if not esxi:
            fields.append(("instanceUuid", instance_uuid))
        fields.append(("licenseProductName", "VMware ESX Server" if esxi else "VMware VirtualCenter Server"))
        fields.append(("licenseProductVersion", self.license))
        return tuple(fields)


RELEASES = {
    release.name: release
    for release in (
        Release("6.5", "6.5.0", "5973321", "5969303", "6.5", "6.0"),
        Release("6.7", "6.7.0", "14368073", "14320388", "6.7.3", "6.0"),
        Release("7.0", "7.0.3", "20150588", "20036589", "7.0.3.0", "7.0"),
        Release("8.0", "8.0.0", "20519528", "20513097", "8.0.0.1", "8.0"),
        Release("8.0.3", "8.0.3", "24022515", "24022510", "8.0.3.0", "8.0"),
        Release("9.0", "9.0.0", "24755230", "24755229", "9.0.0.0", "9.0"),
    )
}

"""The properties of hosts and datastores as vSphere has them, made of what a test says of them. Called by inventory.py."""

from __future__ import annotations

from tests.doubles.vcenter.releases import Release
from tests.doubles.vcenter.specs import DatastoreSpec, HostSpec, VnicSpec
from tests.doubles.vcenter.values import Array, Data, Enum, Long, Ref, Short, Value


def _identifying(key: str, label: str, value: str) -> Data:
    kind = Data("ElementDescription", {"label": label, "summary": f"{label} of the system", "key": key}, typed=True)
    return Data("HostSystemIdentificationInfo", {"identifierValue": value, "identifierType": kind})


def _vnic(nic: VnicSpec, prefix: str = "") -> Data:
    v6 = None
    if nic.v6:
        entries = [
            Data(
                "HostIpConfigIpV6Address",
                {"ipAddress": ip, "prefixLength": 64, "origin": "manual", "dadState": "preferred"},
            )
            for ip in nic.v6
        ]
        v6 = Data("HostIpConfigIpV6AddressConfiguration", {"ipV6Address": Array("HostIpConfigIpV6Address", entries)})
    ip = Data("HostIpConfig", {"dhcp": False, "ipAddress": nic.ip, "subnetMask": nic.mask, "ipV6Config": v6})
    spec = Data(
        "HostVirtualNicSpec",
        {
            "ip": ip,
            "mac": nic.mac,
            "portgroup": nic.portgroup,
            "mtu": 1500,
            "tsoEnabled": True,
            "netStackInstanceKey": "defaultTcpipStack",
        },
    )
    return Data(
        "HostVirtualNic",
        {
            "device": nic.device,
            "key": f"{prefix}key-vim.host.VirtualNic-{nic.device}",
            "portgroup": nic.portgroup,
            "spec": spec,
            "port": f"key-vim.host.PortGroup.Port-{nic.device}" if not prefix else None,
        },
    )


def _pnic(mac: str, place: int) -> Data:
    speed = Data("PhysicalNicLinkInfo", {"speedMb": 10000, "duplex": True})
    spec = Data("PhysicalNicSpec", {"ip": Data("HostIpConfig", {"dhcp": False}), "linkSpeed": speed})
    return Data(
        "PhysicalNic",
        {
            "key": f"key-vim.host.PhysicalNic-vmnic{place}",
            "device": f"vmnic{place}",
            "pci": f"0000:{11 + 8 * place:02x}:00.0",
            "driver": "nvmxnet3",
            "linkSpeed": speed,
            "spec": spec,
            "wakeOnLanSupported": False,
            "mac": mac,
            "vmDirectPathGen2Supported": False,
            "resourcePoolSchedulerAllowed": True,
            "autoNegotiateSupported": False,
        },
    )


def _nic_managers(host: HostSpec) -> Array:
    rows = []
    for kind, chosen in (("management", host.management), ("vmotion", ())):
        prefix = f"{kind}."
        rows.append(
            Data(
                "VirtualNicManagerNetConfig",
                {
                    "nicType": kind,
                    "multiSelectAllowed": True,
                    "candidateVnic": Array("HostVirtualNic", [_vnic(nic, prefix) for nic in host.vnics]),
                    "selectedVnic": Array("string", [f"{prefix}key-vim.host.VirtualNic-{device}" for device in chosen]),
                },
            )
        )
    return Array("VirtualNicManagerNetConfig", rows)


def host_tree(host: HostSpec, release: Release) -> Data:
    """Return what follows from the host and the release alone."""
    tags = [("ServiceTag", host.serial)] if host.serial else []
    known = [
        _identifying("AssetTag", "Asset Tag", " "),
        *(_identifying(key, key, value) for key, value in [*tags, *host.tags]),
    ]
    identity = Array("HostSystemIdentificationInfo", known)
    version, build = host.version or release.version, host.build or release.host_build
    fields = dict(release.about("", esxi=True)) | {
        "fullName": f"VMware ESXi {version} build-{build}",
        "version": version,
        "build": build,
    }
    product = Data("AboutInfo", fields)
    machine: dict[str, Value | None] = {"vendor": host.vendor, "model": host.model, "uuid": host.uuid}
    runtime = Data(
        "HostRuntimeInfo",
        {
            "connectionState": Enum("HostSystemConnectionState", host.connection),
            "powerState": Enum("HostSystemPowerState", host.power),
            "inMaintenanceMode": host.maintenance,
        },
    )
    hardware = Data(
        "HostHardwareInfo",
        {
            "systemInfo": Data(
                "HostSystemInfo",
                machine
                | {
                    "otherIdentifyingInfo": identity,
                    "serialNumber": host.serial if release.knows("6.7") else None,
                },
            ),
            "cpuInfo": Data(
                "HostCpuInfo",
                {
                    "numCpuPackages": Short(host.sockets),
                    "numCpuCores": Short(host.cores),
                    "numCpuThreads": Short(host.threads),
                    "hz": Long(host.mhz * 1_000_000),
                },
            ),
            "memorySize": Long(host.memory),
        },
    )
    short = Data(
        "HostHardwareSummary",
        machine
        | {
            "otherIdentifyingInfo": identity,
            "memorySize": Long(host.memory),
            "cpuModel": host.cpu_model,
            "cpuMhz": host.mhz,
            "numCpuPkgs": Short(host.sockets),
            "numCpuCores": Short(host.cores),
            "numCpuThreads": Short(host.threads),
            "numNics": len(host.pnics),
            "numHBAs": 3,
        },
    )
    config = Data(
        "HostConfigInfo",
        {
            "host": Ref("HostSystem", host.moid),
            "product": product,
            "network": Data(
                "HostNetworkInfo",
                {
                    "pnic": Array("PhysicalNic", [_pnic(mac, place) for place, mac in enumerate(host.pnics)]),
                    "vnic": Array("HostVirtualNic", [_vnic(nic) for nic in host.vnics]),
                },
            ),
            "virtualNicManagerInfo": Data("HostVirtualNicManagerInfo", {"netConfig": _nic_managers(host)}),
        },
    )
    return Data(
        "HostSystem",
        {
            "name": host.name,
            "runtime": runtime,
            "hardware": hardware if host.told else None,
            "config": config if host.told else None,
            "summary": Data(
                "HostListSummary",
                {
                    "host": Ref("HostSystem", host.moid),
                    "hardware": short if host.told else None,
                    "runtime": runtime,
                    "config": Data(
                        "HostConfigSummary",
                        {"name": host.name, "port": 443, "product": product if host.told else None},
                    ),
                    "overallStatus": Enum("ManagedEntityStatus", "green" if host.connection == "connected" else "red"),
                    "managementServerIp": host.manager,
                },
            ),
        },
    )


def datastore_tree(store: DatastoreSpec) -> Data:
    """Return what follows from the datastore alone."""
    return Data(
        "Datastore",
        {
            "name": store.name,
            "summary": Data(
                "DatastoreSummary",
                {
                    "datastore": Ref("Datastore", store.moid),
                    "name": store.name,
                    "url": f"ds:///vmfs/volumes/{store.moid}/",
                    "capacity": Long(store.capacity),
                    "freeSpace": Long(store.free),
                    "accessible": store.accessible,
                    "multipleHostAccess": store.shared,
                    "type": store.type,
                    "maintenanceMode": "normal",
                },
            ),
        },
    )

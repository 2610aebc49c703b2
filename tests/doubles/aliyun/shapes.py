"""How an instance, a disk and a region look in an answer: every field of a real one, lists wrapped twice.

Fields and their spelling are those of ECS 2014-05-26. Pure; called by state.py.
"""

from __future__ import annotations

import uuid
import zlib
from typing import Any

from tests.doubles.aliyun.specs import DiskSpec, InstanceSpec, NicSpec, RegionSpec

_NAMES = {
    "cn-hangzhou": ("华东1（杭州）", "China (Hangzhou)"),
    "cn-beijing": ("华北2（北京）", "China (Beijing)"),
    "cn-shanghai": ("华东2（上海）", "China (Shanghai)"),
    "cn-shenzhen": ("华南1（深圳）", "China (Shenzhen)"),
    "cn-wulanchabu": ("华北6（乌兰察布）", "China (Ulanqab)"),
    "ap-southeast-1": ("新加坡", "Singapore"),
    "eu-central-1": ("德国（法兰克福）", "Germany (Frankfurt)"),
    "us-west-1": ("美国（硅谷）", "US (Silicon Valley)"),
}


def _number(text: str) -> int:
    return zlib.crc32(text.encode())


def serial_of(spec: InstanceSpec) -> str:
    """Return the serial number, which is the UUID that the guest's SMBIOS tells."""
    if spec.serial is not None:
        return spec.serial
    return str(uuid.uuid5(uuid.NAMESPACE_OID, spec.id))


def hostname_of(spec: InstanceSpec) -> str:
    return spec.hostname or f"iZ{spec.id.removeprefix('i-')}Z"


def nics_of(spec: InstanceSpec) -> tuple[NicSpec, ...]:
    """Return the interfaces, with addresses of their own where the test said none."""
    if spec.nics or spec.network == "classic":
        return spec.nics
    number = _number(spec.id)
    return (NicSpec((f"172.{16 + (number >> 16) % 16}.{(number >> 8) % 256}.{number % 254 + 1}",)),)


def mac_of(spec: InstanceSpec, place: int) -> str:
    """Return the MAC address of the interface at a place."""
    if said := nics_of(spec)[place].mac:
        return said
    number = _number(f"{spec.id}/{place}")
    return "00:16:3e:" + ":".join(f"{(number >> shift) & 255:02x}" for shift in (16, 8, 0))


def _nic(spec: InstanceSpec, place: int, nic: NicSpec) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Type": "Secondary" if place else "Primary",
        "MacAddress": mac_of(spec, place),
        "PrimaryIpAddress": nic.ips[0] if nic.ips else "",
        "NetworkInterfaceId": nic.id or f"eni-{spec.id.removeprefix('i-')}{place}",
        "PrivateIpSets": {
            "PrivateIpSet": [
                {"PrivateIpAddress": ip, "Primary": at == 0, "PrivateDnsName": f"{ip.replace('.', '-')}.internal"}
                for at, ip in enumerate(nic.ips)
            ]
        },
    }
    if nic.ipv6:
        found["Ipv6Sets"] = {"Ipv6Set": [{"Ipv6Address": ip, "Primary": False} for ip in nic.ipv6]}
    if nic.prefixes:
        found["Ipv4PrefixSets"] = {"Ipv4PrefixSet": [{"Ipv4Prefix": prefix} for prefix in nic.prefixes]}
    return found


def instance(spec: InstanceSpec) -> dict[str, Any]:
    """Return an instance as DescribeInstances tells it."""
    nics = nics_of(spec)
    vpc = spec.network == "vpc"
    found: dict[str, Any] = {
        "InstanceId": spec.id,
        "InstanceName": spec.name or spec.id,
        "HostName": hostname_of(spec),
        "Description": "",
        "RegionId": spec.region,
        "ZoneId": spec.zone or f"{spec.region}-h",
        "ClusterId": "",
        "Status": spec.status,
        "StoppedMode": spec.stopped_mode,
        "Cpu": spec.cpu,
        "CpuOptions": {
            "CoreCount": max(1, spec.cpu // spec.threads_per_core),
            "ThreadsPerCore": spec.threads_per_core,
            "Numa": "",
            "TopologyType": "",
        },
        "Memory": spec.memory_mib,
        "InstanceType": spec.instance_type,
        "InstanceTypeFamily": spec.instance_type.rpartition(".")[0],
        "GPUAmount": 0,
        "GPUSpec": "",
        "IoOptimized": True,
        "CreditSpecification": "",
        "ImageId": "aliyun_3_x64_20G_alibase_20250117.vhd",
        "OSType": spec.os_type,
        "OSName": spec.os_name,
        "OSNameEn": spec.os_name_en,
        "SerialNumber": serial_of(spec),
        "InstanceNetworkType": spec.network,
        "VlanId": "",
        "InnerIpAddress": {"IpAddress": list(spec.inner_ips)},
        "PublicIpAddress": {"IpAddress": list(spec.public_ips)},
        "RdmaIpAddress": {"IpAddress": []},
        "EipAddress": {
            "IpAddress": spec.eip.ip if spec.eip else "",
            "AllocationId": spec.eip.allocation_id if spec.eip else "",
            "InternetChargeType": "PayByTraffic" if spec.eip else "",
            **({"Bandwidth": 5, "IsSupportUnassociate": True} if spec.eip else {}),
        },
        "VpcAttributes": {
            "VpcId": spec.vpc if vpc else "",
            "VSwitchId": spec.vswitch if vpc else "",
            # the primary interface, and nothing of the others
            "PrivateIpAddress": {"IpAddress": list(nics[0].ips[:1]) if vpc and nics else []},
            "NatIpAddress": "",
        },
        "NetworkInterfaces": {"NetworkInterface": [_nic(spec, place, nic) for place, nic in enumerate(nics)]},
        "SecurityGroupIds": {"SecurityGroupId": ["sg-bp1double000000000000a"]},
        "InternetChargeType": "PayByTraffic",
        "InternetMaxBandwidthIn": -1,
        "InternetMaxBandwidthOut": 5 if spec.public_ips else 0,
        "InstanceChargeType": spec.charge,
        "SpotStrategy": spec.spot,
        "SpotPriceLimit": 0.98 if spec.spot == "SpotWithPriceLimit" else 0.0,
        "SaleCycle": "Month" if spec.charge == "PrePaid" else "",
        "CreationTime": spec.created,
        "StartTime": spec.started,
        "ExpiredTime": spec.expires,
        "AutoReleaseTime": "",
        "DeletionProtection": False,
        "DeviceAvailable": True,
        "Recyclable": False,
        "ResourceGroupId": "",
        "DeploymentSetId": "",
        "HpcClusterId": "",
        "OperationLocks": {"LockReason": []},
        "DedicatedHostAttribute": {"DedicatedHostId": "", "DedicatedHostName": "", "DedicatedHostClusterId": ""},
        "DedicatedInstanceAttribute": {"Affinity": "", "Tenancy": ""},
        "EcsCapacityReservationAttr": {"CapacityReservationId": "", "CapacityReservationPreference": ""},
        "MetadataOptions": {"HttpEndpoint": "", "HttpTokens": ""},
        "HibernationOptions": {"Configured": False},
    }
    if spec.spot != "NoSpot":
        found |= {"SpotDuration": 1, "SpotInterruptionBehavior": "Terminate"}
    if spec.tags is not None:
        found["Tags"] = {"Tag": [{"TagKey": key, "TagValue": value} for key, value in spec.tags.items()]}
    if spec.key_pair is not None:
        found["KeyPairName"] = spec.key_pair
    if spec.local_storage is not None:
        found["LocalStorageAmount"], found["LocalStorageCapacity"] = spec.local_storage
    found |= spec.extra
    return {key: value for key, value in found.items() if key not in spec.absent}


def disk(spec: DiskSpec) -> dict[str, Any]:
    """Return a disk as DescribeDisks tells it: `InstanceId` is empty for one that several instances hold."""
    attached = [
        {
            "InstanceId": instance_id,
            "Device": "/dev/xvda" if spec.type == "system" else "",
            "AttachedTime": spec.created,
        }
        for instance_id in spec.instances
    ]
    found: dict[str, Any] = {
        "DiskId": spec.id,
        "DiskName": spec.name,
        "Description": "",
        "RegionId": spec.region,
        "ZoneId": spec.zone or f"{spec.region}-h",
        "Type": spec.type,
        "Category": spec.category,
        "PerformanceLevel": "PL0" if spec.category == "cloud_essd" else "",
        "Size": spec.size_gib,
        "Status": "In_use" if attached else "Available",
        "InstanceId": spec.instances[0] if len(spec.instances) == 1 and not spec.multi_attach else "",
        "Device": attached[0]["Device"] if attached else "",
        "Attachments": {"Attachment": attached},
        "MountInstances": {"MountInstance": []},
        "MountInstanceNum": 0,
        "MultiAttach": "Enabled" if spec.multi_attach else "Disabled",
        "AttachedTime": spec.created if attached else "",
        "DetachedTime": "",
        "CreationTime": spec.created,
        "ExpiredTime": "2999-09-08T16:00Z",
        "DiskChargeType": spec.charge,
        "DeleteWithInstance": spec.type == "system",
        "DeleteAutoSnapshot": False,
        "EnableAutoSnapshot": False,
        "EnableAutomatedSnapshotPolicy": False,
        "AutoSnapshotPolicyId": "",
        "Encrypted": False,
        "KMSKeyId": "",
        "Portable": spec.type == "data",
        "ProductCode": "",
        "ImageId": "aliyun_3_x64_20G_alibase_20250117.vhd" if spec.type == "system" else "",
        "SourceSnapshotId": "",
        "SerialNumber": spec.id.removeprefix("d-"),
        "BdfId": "",
        "IOPS": 2280,
        "IOPSRead": 0,
        "IOPSWrite": 0,
        "Throughput": 102,
        "ResourceGroupId": "",
        "StorageSetId": "",
        "StorageSetPartitionNumber": 0,
        "OperationLocks": {"OperationLock": []},
        "Tags": {"Tag": []},
    }
    found |= spec.extra
    return {key: value for key, value in found.items() if key not in spec.absent}


def region(spec: RegionSpec, language: str, endpoint: str) -> dict[str, Any]:
    """Return a region as DescribeRegions tells it; its name is Chinese unless asked for in another language."""
    chinese, english = _NAMES.get(spec.id, (spec.id, spec.id))
    name = spec.local_name or (english if language.startswith("en") else chinese)
    return {"RegionId": spec.id, "LocalName": name, "RegionEndpoint": endpoint, "Status": spec.status}

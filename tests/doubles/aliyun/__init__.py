"""A double of Alibaba Cloud: ECS (Regions, Instances, Disks), STS, and an instance's metadata service.

with AliyunDouble(estate()) as aliyun:   # or Cloud(["cn-hangzhou"]), filled by the test
    aliyun.endpoint, aliyun.sts_endpoint, aliyun.metadata_endpoint, aliyun.ca_file, aliyun.credential
    aliyun.cloud, aliyun.user, aliyun.keyring, aliyun.faults, aliyun.limits, aliyun.on, aliyun.requests
"""

from __future__ import annotations

from tests.doubles.aliyun.scenarios import estate, generated
from tests.doubles.aliyun.server import AliyunDouble
from tests.doubles.aliyun.specs import DiskSpec, EipSpec, InstanceSpec, NicSpec, RegionSpec
from tests.doubles.aliyun.state import Cloud

__all__ = [
    "AliyunDouble",
    "Cloud",
    "DiskSpec",
    "EipSpec",
    "InstanceSpec",
    "NicSpec",
    "RegionSpec",
    "estate",
    "generated",
]

"""Clouds to begin with: one of everything that real accounts have, and as many plain instances as a benchmark wants."""

from __future__ import annotations

from tests.doubles.aliyun.specs import EipSpec, NicSpec
from tests.doubles.aliyun.state import Cloud

EIP = "203.0.113.7"
SHARED_CIDR_IP = "172.16.0.10"  # two machines have it, each in a VPC of its own
REGION_NAMES = (
    "cn-hangzhou", "cn-beijing", "cn-shanghai", "cn-shenzhen", "cn-wulanchabu", "ap-southeast-1", "eu-central-1",
    "us-west-1",
)  # fmt: skip


def estate() -> Cloud:
    """Return three regions, one of them empty; cn-hangzhou has more instances than a page that nobody asked a size of."""
    cloud = Cloud(["cn-hangzhou", "cn-beijing", "ap-southeast-1"])
    one, other = "vpc-bp1double000000000000a", "vpc-bp1double000000000000b"
    cloud.create(
        "i-bp1web000000000000001",
        name="web-1",
        vpc=one,
        nics=(NicSpec((SHARED_CIDR_IP,)),),
        eip=EipSpec(EIP),
        tags={"env": "prod", "team": "网站"},
        key_pair="ops",
        charge="PrePaid",
        expires="2027-04-14T16:00Z",
        disk_gib=40,
    )
    cloud.create(  # the same private address in another VPC with the same CIDR
        "i-bp1web000000000000002",
        name="web-2",
        vpc=other,
        vswitch="vsw-bp1double000000000000b",
        nics=(NicSpec((SHARED_CIDR_IP,)),),
        tags={},
        disk_gib=40,
    )
    cloud.create(
        "i-bp1db0000000000000001",
        name="数据库-主（生产）",
        hostname="iZbp1db0000000000000001Z",
        cpu=8,
        memory_mib=65536,
        instance_type="ecs.r7.2xlarge",
        nics=(
            NicSpec(("172.16.1.10", "172.16.1.11"), ipv6=("2001:db8:1::10",)),
            NicSpec(("172.16.2.10",), ipv6=("2001:db8:2::10", "2001:db8:2::11")),
            NicSpec(("10.0.3.10",), prefixes=("10.0.3.32/28",)),
        ),
        charge="PrePaid",
        expires="2026-12-31T16:00Z",
        disk_gib=100,
    )
    cloud.create(
        "i-bp1db0000000000000002",
        name="数据库-备",
        nics=(NicSpec(("172.16.1.20",)), NicSpec(("172.16.2.20",))),
        cpu=8,
        memory_mib=65536,
        disk_gib=100,
    )
    cloud.create(  # of the classic network, from before the time of VPCs: no interfaces, no VPC
        "i-23classic0001",
        name="legacy-app",
        network="classic",
        inner_ips=("10.169.1.23",),
        public_ips=("198.51.100.23",),
        instance_type="ecs.s3.large",
        cpu=4,
        threads_per_core=1,
        serial="",
        created="2014-11-20T07:15Z",
        os_name="CentOS  6.5 64位",
        os_name_en="CentOS  6.5 64 bit",
        disk_gib=20,
    )
    cloud.create(
        "i-bp1spot00000000000001",
        name="render-spot",
        spot="SpotAsPriceGo",
        serial="",
        public_ips=("198.51.100.40",),
        disk_gib=40,
    )
    cloud.create(
        "i-bp1frugal0000000000001",
        name="nightly",
        status="Stopped",
        stopped_mode="StopCharging",
        cpu=2,
        memory_mib=4096,
        disk_gib=40,
    )
    cloud.create("i-bp1parked0000000000001", name="parked", status="Stopped", stopped_mode="KeepCharging", disk_gib=40)
    cloud.create(
        "i-bp1win000000000000001",
        name="财务 Windows",
        hostname="iZbp1win0001Z",
        os_type="windows",
        os_name="Windows Server  2022 数据中心版 64位中文版",
        os_name_en="Windows Server  2022 Datacenter Edition 64bit Chinese Edition",
        disk_gib=60,
    )
    cloud.create(
        "i-bp1local0000000000001",
        name="hadoop-1",
        instance_type="ecs.d1ne.4xlarge",
        cpu=16,
        memory_mib=65536,
        local_storage=(8, 5500),
        disk_gib=40,
    )
    for number in range(1, 4):
        cloud.create(f"i-bp1batch00000000000{number}", name="batch", disk_gib=40)  # names are not unique
    cloud.create("i-2ze1app000000000001", region="cn-beijing", name="app-1", status="Starting", disk_gib=40)
    cloud.create("i-2ze1app000000000002", region="cn-beijing", name="app-2", created="2026-11-21T23:59Z", disk_gib=40)
    cloud.create_disk("d-bp1data00000000000001", size_gib=500, instances=("i-bp1db0000000000000001",))
    cloud.create_disk(
        "d-bp1shared000000000001",
        size_gib=1024,
        multi_attach=True,
        instances=("i-bp1db0000000000000001", "i-bp1db0000000000000002"),
    )
    cloud.create_disk("d-bp1loose00000000000001", size_gib=200)
    return cloud


def generated(regions: int, instances: int, *, disks: int = 2) -> Cloud:
    """Return a cloud of so many regions with so many instances each, and disks for each of those."""
    names = [*REGION_NAMES, *(f"edge-{number}" for number in range(1, regions))][:regions]
    cloud = Cloud(names)
    for at, region in enumerate(names):
        for number in range(instances):
            instance_id = f"i-gen{at:03d}{number:013d}"
            cloud.create(
                instance_id,
                region=region,
                name=f"{region}-{number}",
                vpc=f"vpc-gen{at:03d}{number % 4:013d}",
                nics=(NicSpec((f"10.{at % 256}.{number // 250 % 256}.{number % 250 + 1}",)),),
                tags={"env": "prod" if number % 3 else "test", "owner": f"team-{number % 17}"},
            )
            for place in range(disks):
                cloud.create_disk(
                    f"d-gen{at:03d}{number:012d}{place}",
                    region=region,
                    size_gib=40 if place == 0 else 200,
                    type="system" if place == 0 else "data",
                    instances=(instance_id,),
                )
    return cloud

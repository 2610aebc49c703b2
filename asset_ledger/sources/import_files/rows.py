"""What a row may say: one pydantic model for machines, one for database instances.

The same fields give the validation, the header's names, the template's comments, the JSON Schema and the table in
docs/platforms/import.md. A field that a row leaves blank is None: not reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from asset_ledger.sources.import_files import cells

ASSET_TYPES = {
    "vm": "vm",
    "virtual": "vm",
    "virtual machine": "vm",
    "虚拟机": "vm",
    "云主机": "vm",
    "physical": "physical",
    "bare metal": "physical",
    "物理机": "physical",
    "物理服务器": "physical",
}
PROTOCOLS = {"ssh": "ssh", "winrm": "winrm", "local": "local"}


def _column(
    description: str, *, example: str, aliases: tuple[str, ...] = (), required: bool = False, group: str | None = None
) -> Any:
    """Describe one column. `group`: the one thing that several columns say in different units."""
    extra: dict[str, Any] = {"aliases": list(aliases)}
    if group:
        extra["group"] = group
    if required:
        return Field(description=description, examples=[example], json_schema_extra=extra)
    return Field(default=None, description=description, examples=[example], json_schema_extra=extra)


def _text(read: Callable[[str], Any]) -> tuple[PlainValidator, WithJsonSchema]:
    """Return what turns a text cell into a value by `read`; in JSON Schema the cell is a string."""
    return PlainValidator(read), WithJsonSchema({"type": "string"})


_free = _text(cells.text_up_to())
_port = _text(cells.whole(1, 65_535))
_gb = 1024**3
Text = Annotated[str | None, *_free]
Size = int | None


class HostRow(BaseModel):
    """One machine."""

    model_config = ConfigDict(extra="forbid")

    mgmt_ip: Annotated[str, *_text(cells.address)] = _column(
        "The address by which the machine is managed. It says which machine the row is about.",
        example="192.0.2.10",
        aliases=("管理IP", "管理地址", "management ip"),
        required=True,
    )
    hostname: Annotated[str, *_text(cells.hostname)] = _column(
        "The machine's name, 1 to 253 characters without blank space.",
        example="db-sh-01",
        aliases=("主机名", "主机名称", "host name"),
        required=True,
    )
    asset_type: Annotated[str | None, *_text(cells.choice(ASSET_TYPES))] = _column(
        "vm or physical; 虚拟机 and 物理机 are understood.", example="vm", aliases=("资产类型", "类型")
    )
    protocol: Annotated[str | None, *_text(cells.choice(PROTOCOLS))] = _column(
        "How a probe reaches it: ssh, winrm or local.", example="ssh", aliases=("协议", "连接协议")
    )
    port: Annotated[int | None, *_port] = _column(
        "The port of that protocol, 1 to 65535.", example="22", aliases=("端口", "端口号")
    )
    credential_ref: Annotated[str | None, *_text(cells.credential_ref)] = _column(
        "The name of a credential: env:NAME, file:NAME or vault:PATH. The credential itself is refused and removed.",
        example="env:PROBE_LINUX",
        aliases=("凭据", "凭据引用", "凭证"),
    )
    tags: Annotated[list[str] | None, *_text(cells.tags)] = _column(
        "Tags of at most 64 characters, separated by ; or , or blank space.", example="prod;db", aliases=("标签",)
    )
    cpu_cores: Annotated[int | None, *_text(cells.whole(1, 100_000))] = _column(
        "Logical processors, a whole number.", example="8", aliases=("CPU", "CPU核数", "CPU核心数", "核数")
    )
    memory_bytes: Annotated[Size, *_text(cells.whole(1, cells.LARGEST))] = _column(
        "Memory in bytes.", example="17179869184", aliases=("内存字节", "内存(字节)"), group="memory"
    )
    memory_mb: Annotated[Size, *_text(cells.scaled(1024**2, "MB"))] = _column(
        "Memory in MB of 1,048,576 bytes, instead of memory_bytes.",
        example="16384",
        aliases=("内存MB", "内存(MB)"),
        group="memory",
    )
    memory_gb: Annotated[Size, *_text(cells.scaled(_gb, "GB"))] = _column(
        "Memory in GB of 1,073,741,824 bytes (1024 × 1024 × 1024), instead of memory_bytes; 1.5 is allowed.",
        example="16",
        aliases=("内存GB", "内存(GB)", "内存G"),
        group="memory",
    )
    disk_total_bytes: Annotated[Size, *_text(cells.whole(1, cells.LARGEST))] = _column(
        "All disks together in bytes.", example="214748364800", aliases=("磁盘字节", "磁盘(字节)"), group="disk"
    )
    disk_total_gb: Annotated[Size, *_text(cells.scaled(_gb, "GB"))] = _column(
        "All disks together in GB of 1,073,741,824 bytes, instead of disk_total_bytes.",
        example="200",
        aliases=("磁盘GB", "磁盘(GB)", "磁盘G", "硬盘(GB)", "磁盘总量GB"),
        group="disk",
    )
    os_family: Annotated[str | None, *_text(cells.os_family)] = _column(
        "The operating system's family, such as debian, rhel or windows; kept in lower case.",
        example="debian",
        aliases=("操作系统", "系统类型", "操作系统类型"),
    )
    os_version: Text = _column("The operating system's version.", example="12", aliases=("系统版本", "操作系统版本"))
    os_name: Text = _column(
        "The operating system's full name.",
        example="Debian GNU/Linux 12 (bookworm)",
        aliases=("系统名称", "操作系统名称"),
    )
    serial_number: Annotated[str | None, *_text(cells.serial)] = _column(
        "The serial number; leading zeros are kept.", example="00A1B2C3", aliases=("序列号", "SN")
    )
    vendor: Text = _column("Who made it.", example="Dell Inc.", aliases=("厂商", "品牌", "制造商"))
    model: Text = _column("The product.", example="PowerEdge R750", aliases=("型号", "机型"))
    ip_addresses: Annotated[list[str] | None, *_text(cells.addresses)] = _column(
        "All its addresses, separated by ; or , or blank space. mgmt_ip is added by itself.",
        example="192.0.2.10;198.51.100.10",
        aliases=("IP列表", "IP地址列表", "业务IP"),
    )
    mac_addresses: Annotated[list[str] | None, *_text(cells.macs)] = _column(
        "All its MAC addresses, separated by ; or , or blank space.",
        example="52:54:00:12:34:56",
        aliases=("MAC", "MAC地址", "MAC地址列表"),
    )
    custom_fields: Annotated[dict[str, Any] | None, *_text(cells.custom_fields)] = _column(
        "Fields of your own as a JSON object. Nothing confidential.",
        example='{"owner": "平台组"}',
        aliases=("自定义字段", "扩展字段"),
    )


class InstanceRow(BaseModel):
    """One database instance."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, *_text(cells.text_up_to(253))] = _column(
        "The instance's name.", example="orders", aliases=("实例名", "实例名称", "名称"), required=True
    )
    host: Annotated[str, *_text(cells.instance_host)] = _column(
        "The address or name of the machine it runs on.",
        example="192.0.2.10",
        aliases=("主机", "主机地址"),
        required=True,
    )
    port: Annotated[int | None, *_port] = _column("Its port, 1 to 65535.", example="5432", aliases=("端口", "端口号"))
    db_type: Annotated[str | None, *_text(cells.os_family)] = _column(
        "What it is: postgresql, mysql, oracle, sqlserver …; kept in lower case.",
        example="postgresql",
        aliases=("数据库类型", "类型"),
    )
    custom_fields: Annotated[dict[str, Any] | None, *_text(cells.custom_fields)] = _column(
        "Fields of your own as a JSON object. Nothing confidential.",
        example='{"owner": "平台组"}',
        aliases=("自定义字段", "扩展字段"),
    )


MODELS: dict[str, type[HostRow] | type[InstanceRow]] = {"hosts": HostRow, "instances": InstanceRow}
CUSTOM = "custom."
CUSTOM_DESCRIPTION = "A field of your own, kept as text under NAME. 自定义.NAME is the same, and 备注 is custom.备注."
CUSTOM_MAX_TEXT = 4_096


def kind_of(file_name: str) -> str:
    """Return what a file of this name lists: `instances` for instances_*.csv or .xlsx, else `hosts`."""
    return "instances" if file_name.lower().startswith("instances") else "hosts"

"""Platform `scripted`: a whole platform over a scripted world, registered by the tests of this folder alone.

Its client half reads a world's answers from a file, its parser is pure, proves each reading complete or says what
stands against it, and honours `known`. It differs from a real platform only in where its answers come from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from asset_ledger.domain.errors import ErrorCode, RetryableError
from asset_ledger.domain.inventory import AssetRecord, Item, Proof, TargetFailure, UnchangedRecord
from asset_ledger.domain.normalized import SCHEMA_NAME, Document, canonical_json
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Detection, Health, Platform, ReadOrder, Secrets, SourceConfig

MIB = 1024 * 1024
MISREAD = 1
"""The parser version that takes mebibytes for megabytes: the defect that the scenarios of replay mend."""
RIGHT = 2

UNREACHABLE = ErrorCode("SCRIPTED_UNREACHABLE", "network", True, "a page could not be read", "Read again")
NODE_UNREACHABLE = ErrorCode("SCRIPTED_NODE_UNREACHABLE", "network", True, "a node answers 595", "Look at the node")
CERTIFICATE_CHANGED = ErrorCode(
    "SCRIPTED_CERTIFICATE_CHANGED", "auth", False, "a node shows another certificate", "Verify the node's certificate"
)
AGENT_SILENT = "SCRIPTED_AGENT_SILENT"


class ScriptedConfig(SourceConfig):
    """Where the world's answers lie."""

    answers: Path = Field(description="The file with what the platform answers.")


class ScriptedCollector:
    """Reads the answers of a scope, as a client reads a platform: in order, and no further than the first 500."""

    def __init__(self, config: ScriptedConfig) -> None:
        self._config = config

    def healthcheck(self, order: ReadOrder) -> Health:
        return Health(ok=self._config.answers.exists(), checks={"answers": "there"})

    def detect(self, order: ReadOrder) -> Detection:
        return Detection("1", "scripted")

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        started = datetime.now(UTC)
        every = json.loads(self._config.answers.read_text(encoding="utf-8"))
        responses: list[dict[str, Any]] = []
        for response in every[order.scope]:
            if response["status"] == 500:
                # what came until then is evidence all the same
                yield _record(order.scope, responses, started)
                raise RetryableError(UNREACHABLE, f"{response['path']} answers 500", target=self._config.name)
            responses.append(response)
        yield _record(order.scope, responses, started)


def _record(scope: str, responses: list[dict[str, Any]], at: datetime) -> RawRecord:
    body = json.dumps(responses).encode()
    return RawRecord(
        target=scope,
        media_type="application/json",
        body=body,
        sha256=hashlib.sha256(body).digest(),
        document={"scope": scope, "started_at": at.isoformat(), "duration_ms": 1},
        observed_at=at,
    )


def parse(raw: RawRecord, known: Mapping[bytes, str], *, version: int = RIGHT) -> Iterator[Item]:
    """Yield a failure for each node that could not be read, an item for each machine listed, and the proof."""
    responses = {response["path"]: response for response in json.loads(raw.body)}
    nodes: dict[str, Any] = {}
    for path, response in responses.items():
        if not path.startswith("/nodes/"):
            continue
        node = path.removeprefix("/nodes/")
        if response["status"] == 200:
            nodes[node] = json.loads(response["body"])
        else:
            code = CERTIFICATE_CHANGED if response["status"] == 596 else NODE_UNREACHABLE
            nodes[node] = code
            yield TargetFailure("host", node, None, code, f"{node} answers {response['status']}: {response['body']}")
    listed, missing = _listed(responses)
    for locator, item in listed:
        detail = _detail(item, nodes)
        digest = _record_digest(item, detail, version)
        if known.get(digest) == item["id"]:
            yield UnchangedRecord(item["id"], locator, digest)
        else:
            yield AssetRecord(item["kind"], item["id"], locator, _document(item, detail, version), digest)
    yield _proof(responses, [item for _, item in listed], missing)


def _listed(responses: Mapping[str, Any]) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    found: list[tuple[str, dict[str, Any]]] = []
    missing: list[str] = []
    for path, response in responses.items():
        if not path.startswith("/inventory"):
            continue
        try:
            page = json.loads(response["body"])
        except ValueError:
            missing.append(f"{path} broke off after {len(response['body'])} bytes")
            continue
        found += [(f"{path} {place}", item) for place, item in enumerate(page)]
    return found, missing


def _proof(responses: Mapping[str, Any], items: list[dict[str, Any]], missing: list[str]) -> Proof:
    counted = json.loads(responses["/count"]["body"])
    counts: dict[str, Any] = {}
    for kind in ("cluster", "host", "vm"):
        listed = len({item["id"] for item in items if item["kind"] == kind})
        counts |= {f"{kind}_listed": listed, f"{kind}_counted": counted[kind]}
        if listed != counted[kind]:
            missing.append(f"the list has {listed} of kind {kind}, the count says {counted[kind]}")
    rights = json.loads(responses["/access/permissions"]["body"])
    missing += [
        f"the account lacks VM.Audit on /pool/{pool}"
        for pool in json.loads(responses["/pools"]["body"])
        if "VM.Audit" not in rights.get(f"/pool/{pool}", ())
    ]
    return Proof(counts, tuple(missing))


def _detail(item: Mapping[str, Any], nodes: Mapping[str, Any]) -> Any:
    """Return what the node of a machine knows of it, the name of the reason it does not, or None."""
    if item["kind"] == "cluster":
        return None
    node = nodes.get(str(item["id"] if item["kind"] == "host" else item.get("host")))
    if isinstance(node, ErrorCode):
        return node.code
    if node is None:
        return NODE_UNREACHABLE.code
    if item["kind"] == "host":
        return {"serial": node["serial"], "ips": node["ips"]}
    return node["guests"].get(item["id"], NODE_UNREACHABLE.code)


def _record_digest(item: Mapping[str, Any], detail: Any, version: int) -> bytes:
    text = canonical_json({"version": version, "item": item, "detail": detail})
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _document(item: Mapping[str, Any], detail: Any, version: int) -> Document:
    unknown: dict[str, str] = {}
    identity: dict[str, Any] = {"hostname": item["name"]}
    document: Document = {"schema": SCHEMA_NAME, "kind": item["kind"], "identity": identity, "unknown": unknown}
    document["asset_type"] = {"cluster": "cluster", "host": "physical", "vm": "vm"}[item["kind"]]
    identifiers: list[dict[str, str]] = []
    if item["kind"] != "cluster":
        identity["generation"] = {"created": item["created"]}
        unit = 1_000_000 if version == MISREAD else MIB
        document["hardware"] = {"cpu_count": item["cpus"], "memory_bytes": item["memory_mib"] * unit}
    match item["kind"]:
        case "host":
            document["relations"] = [_relation("member_of", "cluster", item["cluster"])]
            _describe_host(document, identity, identifiers, detail, unknown)
        case "vm":
            if "host" in item:
                document["relations"] = [_relation("runs_on", "host", item["host"])]
            document["runtime"] = {"power_state": item["power"]}
            document["custom_fields"] = {"pool": item["pool"]}
            _describe_vm(document, identity, identifiers, detail, unknown)
    if identifiers:
        document["identifiers"] = identifiers
    return document


def _relation(kind: str, external_kind: str, external_id: str) -> dict[str, str]:
    return {"kind": kind, "external_kind": external_kind, "external_id": external_id}


def _describe_host(
    document: Document,
    identity: dict[str, Any],
    identifiers: list[dict[str, str]],
    detail: Any,
    unknown: dict[str, str],
) -> None:
    if isinstance(detail, str):
        unknown |= dict.fromkeys(("identity.serial_number", "identity.mgmt_ip", "network.ip_addresses"), detail)
        return
    identity["serial_number"] = detail["serial"]
    identifiers.append({"kind": "serial", "value": detail["serial"]})
    _describe_addresses(document, identity, identifiers, detail["ips"])


def _describe_vm(
    document: Document,
    identity: dict[str, Any],
    identifiers: list[dict[str, str]],
    detail: Any,
    unknown: dict[str, str],
) -> None:
    agent_fields = ("identity.mgmt_ip", "network.ip_addresses", "os.family", "os.version")
    if isinstance(detail, str):
        node_fields = ("identity.machine_uuid", "network.mac_addresses", "hardware.disk_total_bytes")
        unknown |= dict.fromkeys((*node_fields, *agent_fields), detail)
        return
    identity["machine_uuid"] = detail["uuid"]
    identity["generation"]["uuid"] = detail["uuid"]
    identifiers.append({"kind": "smbios_uuid", "value": detail["uuid"]})
    identifiers += [{"kind": "mac", "value": mac} for mac in detail["macs"]]
    document["hardware"]["disk_total_bytes"] = detail["disk_gib"] * 1024 * MIB
    document["network"] = {"mac_addresses": detail["macs"]}
    if "error" in detail["agent"]:
        unknown |= dict.fromkeys(agent_fields, AGENT_SILENT)
        return
    family, release = detail["agent"]["os"]
    document["os"] = {"family": family, "version": release}
    _describe_addresses(document, identity, identifiers, detail["agent"]["ips"])


def _describe_addresses(
    document: Document, identity: dict[str, Any], identifiers: list[dict[str, str]], ips: list[str]
) -> None:
    document.setdefault("network", {})["ip_addresses"] = ips
    if ips:
        identity["mgmt_ip"] = ips[0]
    identifiers += [{"kind": "ip", "value": ip} for ip in ips]


def _open(config: ScriptedConfig, secrets: Secrets) -> ScriptedCollector:
    return ScriptedCollector(config)


def platform_of_version(version: int) -> Platform:
    """Return the platform with the parser of a version."""
    return Platform(
        name="scripted",
        title="A scripted world",
        kind="script",
        platform_type="scripted",
        source_type="platform",
        contract="pull",
        config=ScriptedConfig,
        parse=partial(parse, version=version),
        parser_version=version,
        error_codes=(UNREACHABLE, NODE_UNREACHABLE, CERTIFICATE_CHANGED),
        naming_rank=11,
        specs_rank=12,
        scopes={"all": (), "hosts": ("host", "cluster"), "vms": ("vm",)},
        complete_by_nature=True,
        relations=True,
        open=_open,
    )


PLATFORM = platform_of_version(RIGHT)

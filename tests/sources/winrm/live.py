"""A collector against the double of WS-Management, for the tests of the live half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asset_ledger.domain.inventory import TargetFailure
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.winrm import PLATFORM
from asset_ledger.sources.winrm.collector import WinrmCollector
from asset_ledger.sources.winrm.config import WinrmConfig
from tests.doubles.wsman import Account, HostSpec, WsmanDouble
from tests.doubles.wsman.windows import windows
from tests.sources import live
from tests.sources.live import Credentials

USER, PASSWORD = "LAB\\ledger", "canary-correct-horse"
LOCAL, LOCAL_PASSWORD = "probe", "canary-local-horse"


def add(
    double: WsmanDouble, address: str, *, release: Any = "2019", account: Account | None = None, **said: Any
) -> HostSpec:
    """Put a Windows host at an address that the usual accounts can read; `said` goes to HostSpec, or to its classes."""
    ours = {key: said.pop(key) for key in list(said) if key in HostSpec.__dataclass_fields__}
    name = ours.setdefault("name", f"WIN-{'-'.join(address.split('.')[2:])}")
    said |= {"locale": ours["locale"]} if "locale" in ours else {}
    spec = HostSpec(
        address=address,
        release=release,
        **{
            "accounts": {USER: account or PASSWORD, LOCAL: LOCAL_PASSWORD},
            "wmi": windows(release=release, name=name, **said),
            **ours,
        },
    )
    double.add(spec)
    return spec


def target(address: str | None, port: int | None = None, name: str | None = None, **said: Any) -> ProbeTarget:
    return ProbeTarget(f"asset-{address}", address, name, "winrm", port, said.get("reference", "env:WIN"))


def config_of(double: WsmanDouble, **said: Any) -> WinrmConfig:
    """Return the configuration of a source whose hosts are all behind the double."""
    given = {"name": "windows_hosts", "platform": "winrm", "https": double.tls is not None, "default_port": double.port}
    given |= live.trusted(double, said) if double.tls else {}
    return WinrmConfig.model_validate({**given, "connect_timeout_s": 2, "deadline_s": 20, **said})


def fields_of(authentication: str = "ntlm", password: str | None = None) -> dict[str, str]:
    """Return the credential that reads: a local account where Basic is spoken, which knows no other."""
    if authentication == "basic":
        return {"username": LOCAL, "password": password or LOCAL_PASSWORD}
    return {"username": USER, "password": password or PASSWORD}


def collector(double: WsmanDouble, fields: Mapping[str, str] | None = None, **said: Any) -> WinrmCollector:
    login = fields or fields_of(said.get("authentication", "ntlm"))
    return WinrmCollector(config_of(double, **said), Credentials(login))


class Reading(live.Reading):
    platform, whole = PLATFORM, ""

    @property
    def by_target(self) -> dict[str, RawRecord]:
        return {raw.target: raw for raw in self.records}

    @property
    def codes(self) -> dict[str, str | None]:
        """The code that each target failed with, None where it was read."""
        return {raw.target: (raw.document["error"] or {}).get("code") for raw in self.records}

    @property
    def failures(self) -> dict[str, TargetFailure]:
        return {item.external_id: item for item in self.items if isinstance(item, TargetFailure)}

    def documents(self) -> dict[str, dict[str, Any]]:
        return self.kind("machine")


def probe(
    double: WsmanDouble, *targets: ProbeTarget | str, fields: Mapping[str, str] | None = None, **said: Any
) -> Reading:
    """Probe the targets, or addresses, once."""
    wanted = tuple(target(one) if isinstance(one, str) else one for one in targets)
    return Reading.of(collector(double, fields, **said), ReadOrder(targets=wanted))

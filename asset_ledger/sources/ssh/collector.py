"""What is read over SSH, or on this machine, and the one raw record of each.

The live half of platform `ssh`. `probing` has what it shares with other probes: the pool, one connection a host at a
time, the logins.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

from asset_ledger.domain.errors import ErrorCode, TargetError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.platform import Detection, Health, ReadOrder, Secrets
from asset_ledger.sources.probing import Logins, failure_of, no_target, quotable, read_all
from asset_ledger.sources.ssh import errors, local
from asset_ledger.sources.ssh.client import Order, Session, Trace
from asset_ledger.sources.ssh.config import SshConfig
from asset_ledger.sources.ssh.hostkeys import KnownHosts
from asset_ledger.sources.ssh.login import login_of
from asset_ledger.sources.ssh.sections import marked, without_secrets

MEDIA_TYPE = "text/x-probe-sections"


def script() -> bytes:
    """Return the probe script, as it is sent to every host."""
    return Path(__file__).with_name("script.sh").read_bytes()


class SshCollector:
    """Reads hosts over SSH, and this machine without. Nothing is opened before a method is called."""

    def __init__(self, config: SshConfig, credentials: Secrets) -> None:
        self._config = config
        self._logins = Logins(credentials, config.default_credential_ref, errors.CREDENTIAL_INVALID, login_of)

    def healthcheck(self, order: ReadOrder) -> Health:
        """Prove that known_hosts is readable and every credential in use can be used. No host is dialled."""
        chosen = self._with_this_machine(order)
        checks: dict[str, str] = {"targets": str(len(chosen))}
        problems: list[str] = []
        remote = [target for target in chosen if target.protocol != "local"]
        if remote:
            known = KnownHosts(self._config.known_hosts)
            checks["known_hosts"] = f"{known.path}: {len(known)} entries"
            if not len(known) and self._config.host_keys == "verify":
                problems.append(
                    f"{known.path} holds no host key, so every host would be {errors.HOST_KEY_UNKNOWN.code}"
                )
            if self._config.host_keys == "accept_first":
                checks["host_keys"] = errors.HOST_KEY_UNVERIFIED.meaning
        usable, unusable = self._logins.checked(remote)
        checks |= usable
        problems += unusable
        if not chosen:
            problems.append(no_target("ssh"))
        return Health(ok=not problems, checks=checks, problems=tuple(problems))

    def detect(self, order: ReadOrder) -> Detection:
        """Say which client reads, and how many hosts by which transport."""
        chosen = self._with_this_machine(order)
        here = sum(target.protocol == "local" for target in chosen)
        return Detection(
            target_version="",
            driver=f"paramiko {version('paramiko')}",
            capabilities={"ssh_targets": len(chosen) - here, "local_targets": here},
            advice=errors.HOST_KEY_UNVERIFIED.advice if self._config.host_keys == "accept_first" else "",
        )

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        """Yield one raw record a target, as each is done; a failed target's record holds its error.

        At most `parallel` records exist at a time. Closing the iterator ends the running probes.
        Raises PermanentError if known_hosts cannot be read or written.
        """
        known = KnownHosts(self._config.known_hosts, accept_first=self._config.host_keys == "accept_first")
        yield from read_all(
            self._with_this_machine(order),
            partial(self._probe, known),
            default_port=self._config.default_port,
            parallel=self._config.parallel,
            name=self._config.name,
        )

    def _with_this_machine(self, order: ReadOrder) -> list[ProbeTarget]:
        chosen = list(order.targets)
        first = order.shard is None or order.shard.number == 1
        if self._config.this_machine and first and not any(target.protocol == "local" for target in chosen):
            chosen.append(ProbeTarget(None, None, None, "local", None, None))
        return chosen

    def _probe(self, known: KnownHosts, target: ProbeTarget, stop: threading.Event) -> RawRecord:
        nonce = secrets.token_hex(8)
        trace = Trace()
        started_at, began = datetime.now(UTC), monotonic()
        if target.protocol == "local":
            work = partial(local.run, self._config, nonce, script(), trace, stop)
        else:
            work = partial(self._over_ssh, target, known, nonce, trace, stop)
        error = failure_of(work, errors.CONNECTION_LOST)
        spent_ms = round((monotonic() - began) * 1000)
        return self._record(target, nonce, trace, error=error, started_at=started_at, duration_ms=spent_ms)

    def _over_ssh(
        self, target: ProbeTarget, known: KnownHosts, nonce: str, trace: Trace, stop: threading.Event
    ) -> None:
        address = target.mgmt_ip or target.hostname
        if not address:
            raise TargetError(errors.DNS, "the target has neither a management address nor a name")
        login = self._logins.of(self._logins.reference(target))
        port = target.port or self._config.default_port
        order = Order(address, port, login, f"sh -s {nonce}", script())
        Session(self._config, known, stop).run(order, trace)

    def _record(
        self,
        target: ProbeTarget,
        nonce: str,
        trace: Trace,
        *,
        error: dict[str, str] | None,
        started_at: datetime,
        duration_ms: int,
    ) -> RawRecord:
        here = target.protocol == "local"
        output = bytes(trace.output)
        evidence = marked(output, nonce)
        body, redacted = without_secrets(evidence)
        document: dict[str, Any] = {
            "target": asdict(target) | {"credential_ref": None if here else self._logins.reference(target)},
            "transport": "local" if here else "ssh",
            "nonce": nonce,
            "host_key_fingerprint": trace.host_key_fingerprint,
            "host_key_policy": None if here else self._config.host_keys,
            "remote_version": quotable(trace.remote_version) if trace.remote_version else None,
            "started_at": started_at.isoformat(),
            "duration_ms": duration_ms,
            "attempts": trace.attempts,
            "exit_status": trace.exit_status,
            "steps": trace.steps,
            "output_head": quotable(output[:400].decode("utf-8", "replace")) if not evidence else "",
            "stderr_bytes": trace.stderr_bytes,
            "truncated": error is not None and error["code"] == errors.OUTPUT_CAP.code,
            "error": error,
            "cautions": self._cautions(target, trace),
        }
        return RawRecord(
            target=target.mgmt_ip
            or (f"local:{target.hostname or socket.gethostname()}" if here else target.hostname)
            or "unnamed",
            media_type=MEDIA_TYPE,
            body=body,
            sha256=hashlib.sha256(evidence).digest(),
            document=document,
            observed_at=started_at,
            redacted=redacted,
        )

    def _cautions(self, target: ProbeTarget, trace: Trace) -> list[dict[str, str]]:
        if target.protocol == "local" or self._config.host_keys == "verify" or not trace.host_key_fingerprint:
            return []
        what = "was recorded at first sight" if trace.accepted_first else "was checked, but this source accepts unknown"
        code: ErrorCode = errors.HOST_KEY_UNVERIFIED
        return [
            {
                "code": code.code,
                "message": f"{target.mgmt_ip or target.hostname}: host key {trace.host_key_fingerprint} {what}",
            }
        ]

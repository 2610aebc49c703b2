"""One host is asked: the script run over a connection of its own, what it told, and how that went. Many at once.

Used by `collector`. A failure of one host is part of its visit and stops no other; what it means for the reading is
`survey`'s to say.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import count
from time import monotonic

from asset_ledger.domain.errors import LedgerError, TargetError
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.hyperv.answers import Answer, read_answer
from asset_ledger.sources.hyperv.config import HypervConfig, split_host
from asset_ledger.sources.hyperv.evidence import Sight, no_sight, sight_of
from asset_ledger.sources.hyperv.script import Ask, answer_in, quoted, script
from asset_ledger.sources.wsman.client import WsmanClient, context_of
from asset_ledger.sources.wsman.terms import Codes, Identity, Login, Output, Trace

CODES = Codes(
    config=errors.CONFIG_INVALID,
    credential=errors.CREDENTIAL_INVALID,
    auth=errors.AUTH_FAILED,
    permission=errors.PERMISSION_DENIED,
    namespace=errors.PERMISSION_DENIED,
    timeout=errors.TIMEOUT,
    refused=errors.REFUSED,
    dns=errors.DNS,
    lost=errors.CONNECTION_LOST,
    tls=errors.TLS_ERROR,
    deadline=errors.DEADLINE,
    quota=errors.QUOTA,
    no_listener=errors.NO_LISTENER,
    unencrypted=errors.UNENCRYPTED,
    protocol=errors.PROTOCOL_ERROR,
    fault=errors.WSMAN_FAULT,
    kerberos_missing=errors.KERBEROS_MISSING,
)


_POWERSHELLS_OWN = b"#< CLIXML"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host is dialled: by an entry of `hosts`, or as `named`, by which its cluster tells of it."""

    host: str
    port: int
    named: str = ""

    @property
    def node(self) -> str:
        """The name of the node that is looked for there; none where only its address is known."""
        return self.named or ("" if _is_address(self.host) else self.host.partition(".")[0])

    @property
    def said(self) -> str:
        """Name or address and port, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Visit:
    """One run of the script on one host: `answer` where one came, else `error`. They came in the order of `number`."""

    place: Place
    ask: Ask
    number: int
    started_at: datetime
    duration_ms: int
    trace: Trace
    identity: Identity | None = None
    answer: Answer | None = None
    error: LedgerError | None = None

    def sight(self, sweep: int) -> Sight:
        """Return what of it matters for the proof."""
        at, address = self.started_at, self.place.said
        if self.answer is not None:
            return sight_of(self.answer, address=address, sweep=sweep, at=at)
        assert self.error is not None
        code, said = self.error.code, self.error.message
        return no_sight(self.place.node, address=address, sweep=sweep, ask=self.ask, at=at, code=code, message=said)


def places_of(config: HypervConfig) -> list[Place]:
    """Return where the hosts that the source names are dialled, in its order."""
    parts = [split_host(host) for host in config.hosts]
    return [Place(host, port or config.port) for host, port in parts]


class Visitor:
    """Runs the script on hosts, each over one connection that ends with it. Threads share it."""

    def __init__(self, config: HypervConfig, login: Login) -> None:
        """Take the source and its login. Raises a LedgerError where ca_file cannot be used."""
        self._config = config
        self._login = login
        self._context = context_of(config, CODES)
        self._stop = threading.Event()
        self._refused: str | None = None
        self._numbers = count()

    def stop(self) -> None:
        """End what runs: no host is asked anything any more, and shells that are open are given back."""
        self._stop.set()

    def visit(self, asks: Sequence[tuple[Place, Ask]], *, identify: bool = False) -> list[Visit]:
        """Run the script on hosts, at most `max_parallel_nodes` at a time; return a visit each, as they came in.

        With `identify` each is asked first what it is. Only threads of their own wait for hosts, so that whoever is
        interrupted here ends them all in order.
        """
        pool = ThreadPoolExecutor(self._config.max_parallel_nodes, thread_name_prefix=f"hyperv-{self._config.name}")
        try:
            found = list(pool.map(lambda each: self._visit(*each, identify=identify), asks))
        except BaseException:
            self.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return sorted(found, key=lambda visit: visit.number)

    def _visit(self, place: Place, ask: Ask, *, identify: bool) -> Visit:
        trace, started_at, began = Trace(), datetime.now(UTC), monotonic()
        answer: Answer | None = None
        identity: Identity | None = None
        failed: LedgerError | None = None
        try:
            if self._refused is not None:
                said = f"not asked: {self._refused} refused the account, and another attempt could lock it"
                raise TargetError(errors.AUTH_FAILED, said, target=place.said)
            nonce = secrets.token_hex(16)
            with self._client(place, trace) as client:
                if identify:
                    identity = client.identify()
                output = client.powershell(script(nonce, ask))
            answer = _expected(read_answer(_printed(output, nonce, place.said), place.said), place)
        except LedgerError as error:
            failed = TargetError(error.code, error.message, target=place.said)
            if error.code is errors.AUTH_FAILED and self._refused is None:
                self._refused = place.said
        spent_ms = round((monotonic() - began) * 1000)
        return Visit(place, ask, next(self._numbers), started_at, spent_ms, trace, identity, answer, failed)

    def _client(self, place: Place, trace: Trace) -> WsmanClient:
        return WsmanClient(
            self._config,
            CODES,
            self._login,
            address=place.host,
            port=place.port,
            names=(place.named,) if place.named else (),
            stop=self._stop,
            trace=trace,
            context=self._context,
        )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _expected(answer: Answer, place: Place) -> Answer:
    if place.named and answer.name != place.named:
        said = f"what answers there is {answer.name}: correct the DNS, or name the nodes by address in hosts"
        raise TargetError(errors.NODE_UNREACHABLE, said, target=place.said)
    return answer


def _printed(output: Output, nonce: str, target: str) -> bytes:
    """Return the JSON that the script printed; where there is none the error says how PowerShell ended."""
    try:
        return answer_in(output.stdout, nonce, target)
    except LedgerError as error:
        ended = f"{error.message}; PowerShell ended with status {output.exit_status}"
        if output.stderr.strip() and not output.stderr.startswith(_POWERSHELLS_OWN):
            # not PowerShell's: it was not started, or cmd.exe stands between
            ended += f", and what was to start it says: {quoted(output.stderr)}"
        raise type(error)(error.code, ended, target=target) from None

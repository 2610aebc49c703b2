"""The double that tests hold: Hyper-V hosts and clusters behind one double of WS-Management, with their knobs.

A host answers the project's own script and nothing else, as it stands in the package on this day: what it prints of the
world is `printed`, and how it goes over the wire `tests.doubles.wsman`. The address that is dialled names the host.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self, cast

from asset_ledger.sources.hyperv.script import ASKS, script
from asset_ledger.sources.wsman.messages import BOOTSTRAP
from tests.doubles import wsman
from tests.doubles.hyperv.printed import Asked, clixml, printed
from tests.doubles.hyperv.specs import ClusterSpec, HostSpec, VmSpec
from tests.doubles.wsman import Invocation, Result, WsmanDouble

USER = "LAB\\ledger"
PASSWORD = "hyperv-canary-secret"
SWITCHES = ["-NoProfile", "-NonInteractive", "-EncodedCommand"]
_HEAD = re.compile(r"\$nonce = '(?P<nonce>[0-9a-f]{32})'\n\$ask = '(?P<ask>[a-z]+)'\n")


@dataclass
class Trouble:
    """What goes wrong with the next answers of a host.

    `half` prints the first half of the line, `garbled` a line that is no base64, `nothing` none at all, `exit` ends with
    a status and no line, `hang` prints nothing for ever, `stderr` only writes errors, `unstarted` is what cmd.exe says of a
    line that is too long, `replace` prints what is given.
    """

    kind: str
    times: int | None = 1
    text: str = ""


@dataclass
class Motion:
    """Something that is done once a host's answer is made, before anybody can read it."""

    host: str
    action: Callable[[], object]
    times: int = 1


@dataclass
class Run:
    """One run of the script, for the tests to count."""

    host: str
    user: str
    ask: str
    vms: tuple[str, ...] = field(default=())


class HypervDouble:
    """Hyper-V hosts and the clusters they are nodes of, for the length of a `with`."""

    def __init__(
        self,
        *hosts: HostSpec,
        clusters: Iterable[ClusterSpec] = (),
        tls: bool = True,
        authentication: tuple[Literal["ntlm", "basic"], ...] = ("ntlm", "basic"),
        accounts: dict[str, str] | None = None,
        **wire: Any,
    ) -> None:
        self.lock = threading.RLock()
        self.hosts: dict[str, HostSpec] = {}
        self.clusters = list(clusters)
        self.accounts = accounts or {USER: PASSWORD}
        self.runs: list[Run] = []
        self.trouble: dict[str, list[Trouble]] = {}
        self.motions: list[Motion] = []
        self.chunk: int | None = None
        self.unwrapped = False
        self.change_printed: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        self.clock_skew_s = 0.0
        self.delay = 0.0
        """Seconds before an answer is said; `thinking` are those before the script is started."""
        self.thinking = 0.0
        self.running = 0
        self.most_at_once = 0
        self.wsman = WsmanDouble(tls=tls, authentication=authentication, **wire)
        for host in hosts:
            self.add(host)

    def __enter__(self) -> Self:
        self.wsman.__enter__()
        return self

    def __exit__(self, *stopped: Any) -> None:
        self.wsman.__exit__(*stopped)

    @property
    def port(self) -> int:
        port: int = self.wsman.port
        return port

    def now(self) -> str:
        """Return what the hosts' clocks say."""
        at = datetime.now(UTC) + timedelta(seconds=self.clock_skew_s)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def add(self, host: HostSpec) -> HostSpec:
        """Add a host, at an address of its own unless it says one."""
        if not host.address:
            host.address = f"127.0.30.{len(self.hosts) + 1}"
        with self.lock:
            self.hosts[host.name] = host
        self.wsman.add(
            wsman.HostSpec(
                address=host.address,
                accounts=dict(self.accounts),
                name=host.name,
                release=cast("Any", "2012r2" if host.release == "2012" else host.release),
                shell=lambda invocation: self._run(host.name, invocation),
            )
        )
        return host

    def at(self, name: str) -> str:
        """Return a host's address and port, as a source names it."""
        return f"{self.hosts[name].address}:{self.port}"

    def vm(self, name: str) -> VmSpec:
        """Return the one virtual machine of a name."""
        (found,) = (vm for _, vm in self.machines() if vm.name == name)
        return found

    def machines(self) -> Iterator[tuple[str, VmSpec]]:
        """Yield every virtual machine with the name of its host."""
        for host in list(self.hosts.values()):
            for vm in list(host.vms):
                yield host.name, vm

    def move(self, name: str, to: str) -> None:
        """Move a virtual machine to another host, as a live migration that is through."""
        with self.lock:
            vm = self.vm(name)
            self.drop(name)
            self.hosts[to].vms.append(vm)

    def change(self, name: str, **values: Any) -> VmSpec:
        """Change a virtual machine where it is, and return it."""
        with self.lock:
            for host in self.hosts.values():
                for place, vm in enumerate(host.vms):
                    if vm.name == name:
                        host.vms[place] = replace(vm, **values)
                        return host.vms[place]
        raise KeyError(name)

    def drop(self, *names: str) -> None:
        """Delete virtual machines."""
        with self.lock:
            for host in self.hosts.values():
                host.vms = [vm for vm in host.vms if vm.name not in names]

    def after(self, host: str, action: Callable[[], object], times: int = 1) -> Motion:
        """Do something once a host's answer is made."""
        motion = Motion(host, action, times)
        self.motions.append(motion)
        return motion

    def fail(self, host: str, kind: str, times: int | None = 1, text: str = "") -> None:
        """Let the next answers of a host go wrong, all of them with times=None."""
        self.trouble.setdefault(host, []).append(Trouble(kind, times, text))

    def cluster_of(self, host: str) -> ClusterSpec | None:
        """Return the cluster that a host is a node of."""
        return next((cluster for cluster in self.clusters if host in cluster.nodes), None)

    def shells(self) -> list[Any]:
        """Return the shells that are open on any host."""
        return [shell for host in self.hosts.values() for shell in self.wsman.shells(host.address)]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self.lock:
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        try:
            yield
        finally:
            with self.lock:
                self.running -= 1

    def _run(self, name: str, invocation: Invocation) -> Result:
        with self._counted():
            time.sleep(self.thinking)
            if wrong := _not_ours(invocation):
                return Result(stderr=clixml(wrong), exit_status=1)
            asked = _asked(_sent(invocation))
            if asked is None:
                return Result(stderr=clixml("this is not the script of asset_ledger.sources.hyperv"), exit_status=1)
            with self.lock:
                host = self.hosts[name]
                line = printed(self, host, asked)
                self.runs.append(Run(name, invocation.user, asked.ask, tuple(vm.name for vm in host.vms)))
                trouble = self._next_trouble(name)
                due = [motion for motion in self.motions if motion.host == name]
                for motion in due:
                    motion.times -= 1
                    motion.action()
                self.motions = [motion for motion in self.motions if motion.times > 0]
        result = Result(stdout=line, stderr=clixml(), exit_status=0, delay=self.delay, chunk=self.chunk)
        return _troubled(result, trouble) if trouble else result

    def _next_trouble(self, name: str) -> Trouble | None:
        for trouble in self.trouble.get(name, ()):
            if trouble.times is None:
                return trouble
            if trouble.times > 0:
                trouble.times -= 1
                return trouble
        return None


def _not_ours(invocation: Invocation) -> str:
    """Say what is wrong with how the script is started; nothing where it is right."""
    if invocation.command != "powershell.exe":
        return f"{invocation.command}: only powershell.exe is started here"
    switches = " ".join(invocation.arguments).split()[:-1]
    if switches != SWITCHES:
        return f"powershell.exe was started with {' '.join(switches)}"
    if invocation.script != BOOTSTRAP or invocation.stdin is None:
        return "powershell.exe takes its script from standard input"
    if not (invocation.noprofile and invocation.codepage == 65001):
        return "the shell must have no profile and codepage 65001"
    return ""


def _sent(invocation: Invocation) -> str:
    """Return the script that the bootstrap finds on its standard input."""
    return base64.b64decode(invocation.stdin or b"").decode()


def _asked(sent: str) -> Asked | None:
    """Return with which nonce and for what the project's script was sent; None for any other script."""
    found = _HEAD.match(sent)
    if found is None:
        return None
    for ask in ASKS:
        if found["ask"] == ask and script(found["nonce"], ask) == sent:
            return Asked(found["nonce"], ask)
    return None


def _troubled(result: Result, trouble: Trouble) -> Result:
    line = result.stdout
    assert isinstance(line, bytes)
    match trouble.kind:
        case "half":
            return replace(result, stdout=line[: len(line) // 2])
        case "garbled":
            return replace(result, stdout=line.replace(b"A", b"!"))
        case "nothing":
            return replace(result, stdout=b"")
        case "exit":
            return replace(result, stdout=b"", exit_status=1)
        case "stderr":
            return replace(result, stdout=b"", stderr=clixml(trouble.text or "error"), exit_status=1)
        case "unstarted":
            return replace(result, stdout=b"", stderr="The command line is too long.\r\n", exit_status=1)
        case "hang":
            return replace(result, delay=3600.0)
        case "replace":
            return replace(result, stdout=trouble.text.encode())
    raise ValueError(trouble.kind)

"""winrs: shells, commands, their streams. What a command says comes from the host's `shell`. Nothing expires."""

from __future__ import annotations

import base64
import re
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from xml.sax.saxutils import escape

from tests.doubles.wsman.accounts import Principal
from tests.doubles.wsman.envelope import ADDRESSING, NS, SHELL, TRANSFER, Envelope, written
from tests.doubles.wsman.hosts import Host
from tests.doubles.wsman.log import Request
from tests.doubles.wsman.refusals import BAD_XML, NO_RESOURCE, NO_SHELL, TIMED_OUT, TOO_LONG, RefusalError

CMD = f"{SHELL}/cmd"
_CMD_LIMIT = 8_191
_PROCESS_LIMIT = 32_767
_ENCODED = re.compile(r"(?:^|\s)-e(?:c|nc|ncodedcommand)?\s+([A-Za-z0-9+/=]+)\s*$", re.IGNORECASE)
_UNKNOWN = "is not recognized as an internal or external command,\r\noperable program or batch file.\r\n"


@dataclass(frozen=True)
class Invocation:
    """One command as it came. `script` is what -EncodedCommand says, decoded.

    With standard input that is no console (WINRS_CONSOLEMODE_STDIN=FALSE) a command runs once that has ended.
    """

    command: str
    arguments: tuple[str, ...]
    script: str | None
    user: str
    codepage: int
    noprofile: bool
    skip_cmd_shell: bool
    address: str = ""
    stdin: bytes | None = None  # None where it is the console's

    @property
    def line(self) -> str:
        return " ".join((self.command, *self.arguments))


@dataclass(frozen=True)
class Result:
    """What a command says. Text is written in the shell's code page, "?" for what that has not.

    delay: seconds before it says anything; chunk: bytes of standard output a Receive, the others come with the last.
    """

    stdout: str | bytes = b""
    stderr: str | bytes = b""
    exit_status: int = 0
    delay: float = 0.0
    chunk: int | None = None


@dataclass
class Command:
    invocation: Invocation
    codepage: int
    result: Result | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    id: str = field(default_factory=lambda: str(uuid.uuid4()).upper())
    started: float = field(default_factory=time.monotonic)
    sent: int = 0
    done: bool = False
    stdin: bytes = b""

    def run(self, invocation: Invocation, host: Host) -> None:
        result = _run(invocation, host)
        self.stdout, self.stderr = _bytes(result.stdout, self.codepage), _bytes(result.stderr, self.codepage)
        self.started, self.result = time.monotonic(), result


@dataclass
class Shell:
    owner: str
    codepage: int
    noprofile: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()).upper())
    commands: dict[str, Command] = field(default_factory=dict)


def clixml(*progress: str) -> bytes:
    """Return the standard error that PowerShell writes without any error: its progress, as CLIXML."""
    records = "".join(
        f'<Obj S="progress" RefId="{number}"><TN RefId="{number}"><T>System.Management.Automation.PSCustomObject</T>'
        f'<T>System.Object</T></TN><MS><I64 N="SourceId">1</I64><PR N="Record"><AV>{escape(text)}</AV><AI>{number}</AI>'
        "<Nil /><PI>-1</PI><PC>-1</PC><T>Completed</T><SR>-1</SR><SD> </SD></PR></MS></Obj>"
        for number, text in enumerate(progress or ("Preparing modules for first use.",))
    )
    return f'#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">{records}</Objs>'.encode()


def answer(said: Envelope, host: Host, user: Principal, request: Request, stopping: threading.Event) -> bytes:
    """Answer one operation on shells."""
    if said.resource != CMD:
        raise RefusalError(NO_RESOURCE)
    host.may(user, "execute")
    if said.operation == "Create":
        return _create(said, host, user, request)
    request.shell = said.selectors.get("ShellId", "")
    shell = host.shells.get(request.shell)
    if shell is None or shell.owner != user.name:
        raise RefusalError(NO_SHELL)
    match said.operation:
        case "Command":
            return _command(said, host, user, shell)
        case "Receive":
            return _receive(said, host, shell, stopping)
        case "Send":
            return _send(said, host, shell)
        case "Signal":
            element = said.body.find("rsp:Signal", NS)
            with host.lock:
                shell.commands.pop("" if element is None else element.get("CommandId", ""), None)
            return written(f"{SHELL}/SignalResponse", said.message_id, "<rsp:SignalResponse/>")
        case _:
            with host.lock:
                host.shells.pop(shell.id, None)
            return written(f"{TRANSFER}/DeleteResponse", said.message_id, "")


def _create(said: Envelope, host: Host, user: Principal, request: Request) -> bytes:
    if said.body.find("rsp:Shell", NS) is None:
        raise RefusalError(BAD_XML)
    shell = Shell(
        user.name,
        int(said.options.get("WINRS_CODEPAGE", "437")),
        said.options.get("WINRS_NOPROFILE", "FALSE").upper() == "TRUE",
    )
    with host.lock:
        host.room_for_a_shell(user)
        host.shells[shell.id] = shell
    request.shell = shell.id
    selector = f'<w:SelectorSet><w:Selector Name="ShellId">{shell.id}</w:Selector></w:SelectorSet>'
    inner = (
        f"<x:ResourceCreated><a:Address>{ADDRESSING}/role/anonymous</a:Address><a:ReferenceParameters>"
        f"<w:ResourceURI>{CMD}</w:ResourceURI>{selector}</a:ReferenceParameters></x:ResourceCreated>"
        f"<rsp:Shell><rsp:ShellId>{shell.id}</rsp:ShellId><rsp:ResourceUri>{CMD}</rsp:ResourceUri>"
        f"<rsp:Owner>{escape(user.name)}</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP>"
        "<rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut><rsp:InputStreams>stdin</rsp:InputStreams>"
        "<rsp:OutputStreams>stdout stderr</rsp:OutputStreams><rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime>"
        "<rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity></rsp:Shell>"
    )
    return written(f"{TRANSFER}/CreateResponse", said.message_id, inner)


def _command(said: Envelope, host: Host, user: Principal, shell: Shell) -> bytes:
    element = said.body.find("rsp:CommandLine", NS)
    if element is None:
        raise RefusalError(BAD_XML)
    host.operation(user)
    line = [element.findtext("rsp:Command", "", NS), *(one.text or "" for one in element.iterfind("rsp:Arguments", NS))]
    encoded = _ENCODED.search(" ".join(line))
    # from 2012 R2 on everything goes through cmd.exe, whatever is asked
    without_cmd = host.spec.release in ("2003", "2008r2")
    invocation = Invocation(
        line[0],
        tuple(line[1:]),
        base64.b64decode(encoded[1]).decode("utf-16-le") if encoded else None,
        user.name,
        shell.codepage,
        shell.noprofile,
        without_cmd and said.options.get("WINRS_SKIP_CMD_SHELL", "FALSE").upper() == "TRUE",
        host.spec.address,
    )
    command = Command(invocation, shell.codepage)
    if said.options.get("WINRS_CONSOLEMODE_STDIN", "TRUE").upper() == "TRUE":
        command.run(invocation, host)
    with host.lock:
        shell.commands[command.id] = command
    inner = f"<rsp:CommandResponse><rsp:CommandId>{command.id}</rsp:CommandId></rsp:CommandResponse>"
    return written(f"{SHELL}/CommandResponse", said.message_id, inner)


def _run(invocation: Invocation, host: Host) -> Result:
    if not invocation.skip_cmd_shell and len(f"cmd.exe /C {invocation.line}") > _CMD_LIMIT:
        return Result(stderr="The command line is too long.\r\n", exit_status=1)
    if len(invocation.line) > _PROCESS_LIMIT:
        raise RefusalError(TOO_LONG)
    if host.spec.shell is None:
        return Result(stderr=f"'{invocation.command}' {_UNKNOWN}", exit_status=1)
    return host.spec.shell(invocation)


def _bytes(said: str | bytes, codepage: int) -> bytes:
    if isinstance(said, bytes):
        return said
    return said.encode("utf-8" if codepage == 65001 else f"cp{codepage}", "replace")


def _send(said: Envelope, host: Host, shell: Shell) -> bytes:
    for stream in said.body.iterfind("rsp:Send/rsp:Stream", NS):
        command = shell.commands.get(stream.get("CommandId", ""))
        if command is None:
            raise RefusalError(NO_SHELL)
        command.stdin += base64.b64decode(stream.text or "")
        if command.result is None and stream.get("End", "").lower() == "true":
            command.run(replace(command.invocation, stdin=command.stdin), host)
    return written(f"{SHELL}/SendResponse", said.message_id, "<rsp:SendResponse/>")


def _receive(said: Envelope, host: Host, shell: Shell, stopping: threading.Event) -> bytes:
    element = said.body.find("rsp:Receive/rsp:DesiredStream", NS)
    command = shell.commands.get("" if element is None else element.get("CommandId", ""))
    if command is None:
        raise RefusalError(NO_SHELL)
    if command.result is None:  # it reads what is not sent
        stopping.wait(said.timeout)
        raise RefusalError(TIMED_OUT)
    left = command.started + command.result.delay - time.monotonic()
    if left > 0:
        stopping.wait(min(left, said.timeout))
        if left > said.timeout:
            raise RefusalError(TIMED_OUT)
    most = (min(said.max_size, host.spec.max_envelope) - 4_000) * 3 // 4  # in base64 it has to fit
    size = min(command.result.chunk or most, most)
    piece = command.stdout[command.sent : command.sent + size]
    command.sent += len(piece)
    parts = [_stream(command, "stdout", piece)] if piece else []
    if command.sent < len(command.stdout):
        parts.append(f'<rsp:CommandState CommandId="{command.id}" State="{SHELL}/CommandState/Running"/>')
    else:
        if command.stderr and not command.done:
            parts.append(_stream(command, "stderr", command.stderr))
        command.done = True
        parts += [_stream(command, name, b"", last=True) for name in ("stdout", "stderr")]
        exit_status = f"<rsp:ExitCode>{command.result.exit_status}</rsp:ExitCode>"
        state = f'CommandId="{command.id}" State="{SHELL}/CommandState/Done"'
        parts.append(f"<rsp:CommandState {state}>{exit_status}</rsp:CommandState>")
    inner = f"<rsp:ReceiveResponse>{''.join(parts)}</rsp:ReceiveResponse>"
    return written(f"{SHELL}/ReceiveResponse", said.message_id, inner)


def _stream(command: Command, name: str, data: bytes, *, last: bool = False) -> str:
    end = ' End="true"' if last else ""
    return f'<rsp:Stream Name="{name}" CommandId="{command.id}"{end}>{base64.b64encode(data).decode()}</rsp:Stream>'

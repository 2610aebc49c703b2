"""`asset-ledger agent`: the reference agent, on the machine that it reports. It knows no ledger and no database.

What agents have reported is `asset-ledger agents`, on the ledger's side.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.screen import note, print_json, say

if TYPE_CHECKING:
    from asset_ledger.agent.client import Client
    from asset_ledger.agent.update import Fetched

app = typer.Typer(help="The agent of this machine: enrol it, run it, see what it sends.", no_args_is_help=True)
_TRIES = 20

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="Its state folder; else ASSET_LEDGER_AGENT_HOME, /var/lib/asset-ledger-agent."
    ),
]
ManagementIp = Annotated[
    str | None, typer.Option("--management-ip", help="The address by which the ledger is to know this machine.")
]


@app.command()
def enroll(
    server: Annotated[str, typer.Option("--server", metavar="URL", help="The HTTP service: https://HOST[:PORT].")],
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="A file with a user's token (writer), mode 0600; - is stdin.")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="NAME", help="The variable that holds it.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="PEM file with the CA of the server; without it the system's own.")
    ] = None,
    home: Home = None,
) -> None:
    """Make this machine a client of a server. Again on the same machine: the same client, a new token."""
    from asset_ledger.agent.enrolment import enroll as enrol

    folder = _home(home)
    found, again = enrol(server, _user_token(token_file, token_env), folder, folder / "identity.json", ca_file)
    say(found.client_id)
    note(f"{'enrolled again' if again else 'enrolled'} at {found.server}; the token is in {folder / 'identity.json'}")
    note("run it: `asset-ledger agent run`, or as a service: `asset-ledger agent install-unit`")


@app.command()
def run(
    home: Home = None,
    management_ip: ManagementIp = None,
    interval: Annotated[
        float | None,
        typer.Option("--interval", min=0.1, metavar="SECONDS", help="Between heartbeats; else the server says, or 60."),
    ] = None,
    update_to: Annotated[
        Path | None, typer.Option("--update-to", metavar="PATH", help="Put newer agents, once proven, in this place.")
    ] = None,
) -> None:
    """Report this machine until told to end: heartbeats, and the inventory when it changed or is asked for."""
    from asset_ledger.agent.__main__ import become
    from asset_ledger.agent.talk import Options

    become(_home(home), Options(interval, management_ip, update_to))


@app.command()
def collect(management_ip: ManagementIp = None) -> None:
    """Print what would be reported of this machine now. Nothing is sent."""
    import time

    from asset_ledger.agent.collect import collect as read

    print_json(read(now=time.time(), management_ip=management_ip))


@app.command()
def renew(home: Home = None) -> None:
    """Change this agent's token for a new one. A running agent takes it up; the old one holds an hour more."""
    from asset_ledger.agent.enrolment import renew as change

    folder = _home(home)
    found = change(folder / "identity.json")
    say(f"{found.client_id}: the new token is in {folder / 'identity.json'}")


@app.command()
def update(
    home: Home = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="PATH", help="Put it in this place; else it only lies beside.")
    ] = None,
) -> None:
    """Fetch the newest published agent of this platform, prove it by its SHA-256, and print where it lies."""
    from asset_ledger.agent import identity
    from asset_ledger.agent.client import Client
    from asset_ledger.agent.update import put

    folder = _home(home)
    mine = identity.load(folder / "identity.json")
    client = Client(mine.server, mine.ca_file)
    try:
        found = _fetched(client, mine.token, folder)
    finally:
        client.close()
    if found is None:
        note("no newer agent is published for this platform")
        return
    if to is not None:
        put(found, to)
    note(f"agent {found.version}, SHA-256 {found.sha256}")
    say(str(to or found.path))


def _fetched(client: Client, token: str, folder: Path) -> Fetched | None:
    """Fetch, going on where a download broke off; as long as it gets on at all, within reason."""
    import time

    from asset_ledger.agent.client import BackOff
    from asset_ledger.agent.update import fetch
    from asset_ledger.domain.errors import RetryableError

    pauses = BackOff(first_s=1.0, most_s=30.0)
    for left in reversed(range(_TRIES)):
        try:
            return fetch(client, token, folder)
        except RetryableError as error:
            if not left or not any((folder / "updates").glob("*.part")):
                raise
            note(str(error.message))
            time.sleep(pauses.failed())
    return None


@app.command("install-unit")
def install_unit() -> None:
    """Print a systemd unit for this installation. Nothing is written anywhere."""
    import shutil

    from asset_ledger.agent.unit import PROGRAM, unit

    beside = Path(sys.executable).with_name("asset-ledger")
    program = str(beside) if beside.is_file() else shutil.which("asset-ledger") or PROGRAM
    say(unit(program).rstrip("\n"))
    note("write it to /etc/systemd/system/asset-ledger-agent.service, then:")
    note("systemctl daemon-reload && systemctl enable --now asset-ledger-agent")


def _home(named: Path | None) -> Path:
    if named is not None:
        return named.expanduser().absolute()
    if told := os.environ.get("ASSET_LEDGER_AGENT_HOME"):
        return Path(told).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/asset-ledger-agent")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "asset-ledger-agent"


def _user_token(file: Path | None, variable: str | None) -> str:
    """Return a user's token. Raises PermanentError where none is given, or others may read its file."""
    from asset_ledger.agent.identity import private_text
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

    if (file is None) == (variable is None):
        raise PermanentError(
            CONFIG_INVALID, "name a user's token with --token-file or --token-env", target="asset-ledger agent enroll"
        )
    if file is not None:
        found, named = sys.stdin.read() if str(file) == "-" else private_text(file), str(file)
    else:
        found, named = os.environ.get(variable or "", ""), str(variable)
    token = found.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise PermanentError(CONFIG_INVALID, "there is no token in it", target=named)
    return token

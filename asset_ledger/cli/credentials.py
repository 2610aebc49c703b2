"""`asset-ledger credentials`: keep secrets in the encrypted file, and see that references resolve.

A secret is typed hidden, or read from stdin or a file; it is never an argument, where the process list and
the shell's history would show it. The rules are in `asset_ledger.credentials`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asset_ledger.credentials import CredentialStore

app = typer.Typer(
    help="Keep secrets in the encrypted file and check references to them.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # the local variables are the secrets
)


@app.command("set")
def set_entry(
    name: Annotated[str, typer.Argument(help="The entry; sources refer to it as file:NAME.")],
    username: Annotated[str | None, typer.Option(help="Its username; not a secret.")] = None,
    private_key_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, readable=True, help="A private key to keep in it.")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Another secret field (token, passphrase, …); its value is asked for. Repeatable."),
    ] = None,
) -> None:
    """Write an entry, in place of one of the same name. Asks for the password if no other secret is given."""
    names = [_field_name(text) for text in field or []]
    fields: dict[str, str] = {}
    if username is not None:
        fields["username"] = username
    if private_key_file is not None:
        fields["private_key"] = _text_of(private_key_file)
    if password_stdin or not (names or private_key_file):
        fields["password"] = _secret("password", from_stdin=password_stdin)
    for each in names:
        fields[each] = _secret(each, from_stdin=False)
    try:
        replaced = _store().file.set(name, fields)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"file:{name} {'replaced' if replaced else 'set'} ({', '.join(sorted(fields))})")


@app.command("list")
def list_entries(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the entries of the encrypted file: name, date, fields. It needs no key and shows no value."""
    entries = _store().file.names()
    if as_json:
        shown = [
            {
                "name": entry.name,
                "reference": entry.reference,
                "updated_at": entry.updated_at.isoformat(),
                "fields": list(entry.fields),
            }
            for entry in entries
        ]
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    if not entries:
        typer.echo("No entries. Make one: `asset-ledger credentials set NAME`.", err=True)
    width = max((len(entry.reference) for entry in entries), default=0)
    for entry in entries:
        typer.echo(f"{entry.reference:{width}}  {entry.updated_at:%Y-%m-%d %H:%M} UTC  {', '.join(entry.fields)}")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The entry, without file:")]) -> None:
    """Remove an entry from the encrypted file."""
    _store().file.remove(name)
    typer.echo(f"file:{name} removed")


@app.command()
def rotate() -> None:
    """Encrypt every entry anew with the first key of ASSET_LEDGER_CREDENTIALS_KEY."""
    count = _store().file.rotate()
    typer.echo(f"{count} entries now open with the first key; the other keys can go from ASSET_LEDGER_CREDENTIALS_KEY")


@app.command("new-key")
def new_key() -> None:
    """Print a fresh key, and on stderr what to do with it."""
    from asset_ledger.credentials import generate_key

    typer.echo(generate_key())
    typer.echo(
        "Keep it where the service's environment comes from, not beside the file:\n"
        "  ASSET_LEDGER_CREDENTIALS_KEY=<this key>\n"
        "To replace a key: ASSET_LEDGER_CREDENTIALS_KEY=<this key>,<the old key>, then\n"
        "`asset-ledger credentials rotate`, then take the old one away. Nobody can read the file without its key.",
        err=True,
    )


@app.command()
def check(reference: Annotated[str, typer.Argument(help="env:NAME, file:NAME or vault:PATH")]) -> None:
    """Say whether a reference resolves, and to which fields. It shows no value."""
    secret = _store().resolve(reference)
    typer.echo(f"{reference}: {', '.join(sorted(secret))}")


def _store() -> CredentialStore:
    from asset_ledger.credentials import CredentialStore
    from asset_ledger.settings import Settings

    return CredentialStore(Settings.load(os.environ).home, os.environ)


def _field_name(text: str) -> str:
    """Return the name of `--field NAME` or `--field NAME=-`."""
    name, _, value = text.partition("=")
    if value not in ("", "-"):
        raise typer.BadParameter("a value is never taken as an argument: write --field NAME, it is asked for")
    return name


def _secret(field: str, *, from_stdin: bool) -> str:
    """Return a value typed hidden and twice, or the next line of stdin where that is no terminal."""
    if not from_stdin and sys.stdin.isatty():
        return str(typer.prompt(field, hide_input=True, confirmation_prompt=True))
    value = sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise typer.BadParameter(f"stdin has no line for the {field}")
    return value


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not text; a private key is kept in PEM or OpenSSH form") from None

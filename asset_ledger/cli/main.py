"""The `asset-ledger` command: which commands there are, and how an error ends it.

Every command stands in a module of its own, imported when it is called: `--help` reads the list below and is quick.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from asset_ledger.cli.debugging import debugging, set_debugging


class _Command(NamedTuple):
    """Where a command is: `name` in `module` is a function, or a typer app with commands of its own."""

    module: str
    name: str
    help: str


COMMANDS: dict[str, _Command] = {
    "up": _Command("up", "up", "Start everything on this machine: database, main job, Dagster UI, HTTP service."),
    "import": _Command("importing", "import_files", "Import CSV and Excel files, or see what they would change."),
    "probe": _Command("probing", "probe", "Read the machines that the ledger knows, over SSH and WinRM, for today."),
    "assets": _Command("assets", "app", "The machines: list and search them, show one with its history."),
    "changes": _Command("changes", "changes", "What changed across the ledger between days."),
    "export": _Command("exporting", "export", "A mart, or the machines as of a day, as CSV, Parquet or Excel."),
    "marts": _Command("marts", "app", "Tables made for questions: make them, list them, say what is in one."),
    "tags": _Command("tags", "app", "Tags on machines; what a person decides outlives every reading."),
    "instances": _Command("instances", "app", "Database instances."),
    "links": _Command("links", "app", "Which machine each database instance runs on."),
    "duplicates": _Command("duplicates", "app", "Machines that may be one: look, dismiss, merge, part."),
    "decisions": _Command("decisions", "app", "What people decided, and what of it is in force."),
    "sources": _Command("sources", "app", "Where machines come from: list, check, detect, collect, show a reading."),
    "replay": _Command("replaying", "replay", "Derive past days again from kept raw, or say what that would change."),
    "absences": _Command("absences", "app", "Readings that lost too many machines at once: are they missing?"),
    "rebuild": _Command("rebuilding", "rebuild", "Make everything derived again from raw and decisions, or compare."),
    "runs": _Command("runs", "app", "What was read, when, and what failed."),
    "metrics": _Command("metrics", "metrics", "How the readings of the sources went, for Prometheus."),
    "serve": _Command("service", "serve", "Run the HTTP service alone: Terraform's states, for tenants kept apart."),
    "state": _Command("states", "app", "States of Terraform and Pulumi: list, versions, diff, locks, roll back."),
    "findings": _Command("findings", "app", "What is not as declared: drift, missing machines, doubles, orphans."),
    "coverage": _Command("findings", "coverage", "How much of each source the states declare."),
    "impact": _Command("impact", "impact", "If this goes: which machines, databases, resources go with it, and why."),
    "graph": _Command("graph", "app", "What needs what: by which way one thing needs another."),
    "topology": _Command("topology", "topology", "What a thing stands on and what stands on it; --svg draws it."),
    "hooks": _Command("hooks", "app", "Webhooks: who is told of findings, and whether they heard."),
    "notices": _Command("notices", "app", "Messages to people: who is told of what went wrong, and what they heard."),
    "cmdb": _Command("cmdb", "app", "A CMDB beside the ledger: what only one of the two knows."),
    "agents": _Command("agents", "app", "Machines that report by themselves: list, show, compare, end."),
    "agent": _Command("agent", "app", "The agent of this machine: enrol it, run it, see what it sends."),
    "tenants": _Command("tenants", "app", "Tenants of the HTTP service: each sees its own alone."),
    "users": _Command("users", "app", "Users of the HTTP service, and their role in a tenant."),
    "tokens": _Command("tokens", "app", "API tokens of the HTTP service: shown once, kept as a hash."),
    "audit": _Command("audit", "app", "Who asked the HTTP service for what, and what came of it."),
    "retention": _Command("retention", "app", "What is let go of agent history and audit: plan it, or do it."),
    "credentials": _Command("credentials", "app", "Keep secrets in the encrypted file and check references to them."),
    "dagster": _Command("dagster_program", "dagster", "One of Dagster's programs in this installation's environment."),
    "doctor": _Command("doctor", "doctor", "What is wrong with this installation, and what to do about it."),
    "db": _Command("db", "app", "The ledger's database: start, stop, status, URL, schema."),
    "errors": _Command("error_codes", "errors", "Explain an error code, or list all."),
}


class _LazyGroup(TyperGroup):
    """Commands that are imported when called. Their names and one-line helps need no import."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=command.help) for name, command in COMMANDS.items()}
        self._helping = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._helping or cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        return _load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._helping = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._helping = False


def _load(name: str) -> Any:
    command = COMMANDS[name]
    found = getattr(import_module(f"asset_ledger.cli.{command.module}"), command.name)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those may be secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("asset-ledger"))
        except PackageNotFoundError:  # run from a folder, not installed
            typer.echo("not installed")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """The ledger of every machine: what it was on every day, and who said so."""
    set_debugging(debug)


def run() -> None:
    """Run the command line of this process and exit: 0 done, 1 an error, 2 wrong usage, 130 Ctrl-C."""
    from asset_ledger.domain.errors import LedgerError

    set_debugging(False)
    code: int | str | None = 0
    try:
        app(prog_name="asset-ledger")
    except SystemExit as end:
        code = end.code
    except BrokenPipeError:
        code = _quiet(1)
    except LedgerError as error:
        if debugging():
            raise
        _print_error(error)
        code = 1
    except OSError as error:
        if debugging():
            raise
        _print_error(_refused(error))
        code = 1
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _quiet(1)
    sys.exit(code)


def _quiet(code: int) -> int:
    """Point standard output away from a reader that has gone, so that Python's last flush says nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _refused(error: OSError) -> Exception:
    """Return what to say of something that the system refused and nobody expected: where, why, what to do."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

    cause = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return PermanentError(CONFIG_INVALID, f"the system refused: {cause}")
    return PermanentError(
        CONFIG_INVALID,
        f"{cause}; make it writable, or set ASSET_LEDGER_HOME to a folder that is",
        target=os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename),
    )


def _print_error(error: Exception) -> None:
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    typer.secho(text, fg=typer.colors.RED, err=True)


if __name__ == "__main__":
    run()

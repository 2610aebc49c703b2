"""`asset-ledger dagster -- PROGRAM …`: one of Dagster's programs in this installation's environment.

For services that systemd, a container or a person starts: what `up` sets for its children is set here in one place.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from asset_ledger.cli.dagster_run import prepare
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

PROGRAMS = ("dagster", "dagster-webserver", "dagster-daemon", "dagster-celery", "python")


def dagster(
    command: Annotated[
        list[str], typer.Argument(metavar="-- PROGRAM [ARGUMENT...]", help=f"One of {', '.join(PROGRAMS)}.")
    ],
) -> None:
    """Run one of Dagster's programs in this process, with DAGSTER_HOME and all it needs of this installation.

    Its database is made if it is not there; dagster.yaml is brought to this release's, or to what
    ASSET_LEDGER_DAGSTER_CONFIG names.
    """
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.settings import Settings

    program = Path(sys.executable).parent / command[0]
    if command[0] not in PROGRAMS or not program.exists():
        raise PermanentError(
            CONFIG_INVALID, f"it is not one of {', '.join(PROGRAMS)}, or is not installed", target=command[0]
        )
    environment = prepare(Ledger(Settings.load()))
    # the programs that Dagster starts by their names are those beside this one
    environment["PATH"] = os.pathsep.join(filter(None, (str(program.parent), environment.get("PATH"))))
    os.execve(program, [str(program), *command[1:]], environment)  # noqa: S606 - one of the five above

"""A Celery worker as one process that a service manager may stop.

Started by `asset-ledger dagster -- python deploy/celery/worker.py -n NAME`. `dagster-celery worker start` starts
Celery as a child and passes no signal on: SIGTERM would end it alone, and what it left would be killed with the runs at
work. It also leaves a file with the broker's password behind (see `settings/`). This gives Celery the same
configuration and becomes it: at SIGTERM Celery takes nothing new and ends what it is at. What stands after `--` is
Celery's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

SHIPPED = Path(__file__).with_name("worker.yaml")
SETTINGS = Path(__file__).with_name("settings")
CONFIG_VARIABLE = "ASSET_LEDGER_CELERY_WORKER_CONFIG"


def main(arguments: list[str]) -> None:
    """Become `celery worker` with what worker.yaml says; returns only by an error."""
    from dagster_celery.cli import get_worker_name

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--name", help="what the worker is called on this machine")
    parser.add_argument(
        "-y", "--config-yaml", default=str(SHIPPED), help="another worker.yaml than the one beside this"
    )
    parser.add_argument("-q", "--queue", action="append", default=[], help="a queue to take from; up to four")
    parser.add_argument("celery", nargs="*", help="Celery's own options, after --")
    told = parser.parse_args(arguments)
    _demand_broker(told.config_yaml)
    # first: a module of this name that dagster-celery left on the path is another worker's
    folders = [str(SETTINGS), os.environ.get("PYTHONPATH")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
        CONFIG_VARIABLE: str(Path(told.config_yaml).resolve()),
    }
    program = str(Path(sys.executable).with_name("celery"))
    command = [program, "-A", "dagster_celery.app", "worker", "--prefetch-multiplier=1", "--loglevel", "INFO"]
    if told.queue:
        command += ["-Q", ",".join(told.queue)]  # of several -Q Celery takes the last one alone
    command += ["-n", get_worker_name(told.name), *told.celery]
    os.execve(program, command, environment)  # noqa: S606 - it stands beside this Python


def _demand_broker(path: str) -> None:
    """End with what to do where the file names no broker: Celery would dial amqp://guest@localhost, for ever."""
    from dagster import DagsterInvalidConfigError
    from dagster_celery.cli import get_validated_config

    try:
        told = get_validated_config(path)
    except OSError as error:
        sys.exit(f"error: {path} cannot be read: {error.strerror}\nnext:  name a worker.yaml with -y, or leave -y out")
    except DagsterInvalidConfigError as error:
        sys.exit(f"error: {error}\nnext:  write it as deploy/celery/worker.yaml is written")
    if told is None:  # what it says of a variable that is not set
        sys.exit(
            f"error: a variable that {path} takes something from is not set\n"
            "next:  set ASSET_LEDGER_CELERY_BROKER and ASSET_LEDGER_CELERY_BACKEND, as docs/workers.md says"
        )
    if not told.get("broker") or "backend" not in told:
        sys.exit(
            f"error: {path} names no broker under execution: config:\n"
            "next:  wrap it as deploy/celery/worker.yaml is; a flat file is passed over"
        )


if __name__ == "__main__":
    main(sys.argv[1:])

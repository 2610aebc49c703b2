"""What import-linter cannot say: where SQL and sockets stand, that nothing happens at import, what stays unloaded."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "asset_ledger"
SQL = re.compile(
    r"\bSELECT\b.*\bFROM\b|\bINSERT INTO\b|\bDELETE FROM\b|\bUPDATE\s+\S+\s+SET\b"
    r"|\b(CREATE|ALTER|DROP|TRUNCATE)\s+(TEMPORARY\s+)?(TABLE|SCHEMA|INDEX|VIEW|DATABASE)\b",
    re.DOTALL,
)
# what opens a connection or listens; hvac and psycopg have contracts of their own in pyproject.toml
SOCKET_CALLS = {
    "socket.socket",
    "socket.create_connection",
    "socket.create_server",
    "paramiko.SSHClient",
    "paramiko.Transport",
}
SOCKET_MODULES = {
    "urllib.request",
    "http.client",
    "http.server",
    "socketserver",
    "asyncio",
    "smtplib",
    "requests",
    "httpx",
    "hvac",
}
MAY_OPEN_SOCKETS = re.compile(
    r"^(sources/(\w+/(\w+_)?client|https_session|deadlines)\.py|(store|credentials|notify|agent|api)/)"
)
ASKS_FOR_A_FREE_PORT = {"cli/serving.py"}  # binds to loopback and lets go: it talks to nobody
HEAVY = (
    "alembic",
    "apprise",
    "argon2",
    "cryptography",
    "dagster",
    "dbt",
    "fastapi",
    "hvac",
    "lxml",
    "openpyxl",
    "pandas",
    "paramiko",
    "psycopg",
    "pyVmomi",
    "pyarrow",
    "python_calamine",
    "requests_ntlm",
    "spnego",
    "sqlalchemy",
    "winrm",
    "starlette",
    "uvicorn",
    "xlsxwriter",
)


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def docstrings(tree: ast.Module) -> set[ast.AST]:
    return {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


def statements_outside_the_store() -> Iterator[str]:
    for name, tree in modules():
        if name.startswith("store/"):
            continue
        prose = docstrings(tree)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and node not in prose
                and SQL.search(node.value)
            ):
                yield f"{name}:{node.lineno}"


def openers() -> Iterator[tuple[str, str]]:
    """Yield (file, what it uses) for everything that can open a socket."""
    for name, tree in modules():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=attr)) if (
                    f"{module}.{attr}" in SOCKET_CALLS
                ):
                    yield name, f"{module}.{attr}"
                case ast.Import(names=names):
                    yield from ((name, alias.name) for alias in names if alias.name in SOCKET_MODULES)
                case ast.ImportFrom(module=str(module), names=names):
                    if module in SOCKET_MODULES or {f"{module}.{alias.name}" for alias in names} & (
                        SOCKET_CALLS | SOCKET_MODULES
                    ):
                        yield name, module


def test_sql_stands_only_in_the_store() -> None:
    assert list(statements_outside_the_store()) == []


def test_the_search_for_sql_finds_some_in_the_store() -> None:
    assert sum(bool(SQL.search(path.read_text())) for path in (PACKAGE / "store").glob("*.py")) > 5


def test_what_is_repeated_possessively_is_atomic_each_time() -> None:
    """Where a repetition of a group fails in its middle, Python before 3.11.5 (Debian 12's) goes on from there."""
    possessive = re.compile(r"(?<!\\)\)(?:[*+?]|\{[0-9,]+\})\+")
    atomic = re.compile(r"(?<!\\)\)\)(?:[*+?]|\{[0-9,]+\})\+")
    assert possessive.search("(?:ab)*+")
    assert not atomic.search("(?:ab)*+")
    assert atomic.search("(?:(?>ab))*+")
    assert [
        f"{name}:{node.lineno}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if len(possessive.findall(node.value)) != len(atomic.findall(node.value))
    ] == []


def test_sockets_are_opened_only_where_the_design_says() -> None:
    found = list(openers())
    assert any(name == "sources/ssh/client.py" for name, _ in found), "the search itself finds nothing"
    assert [
        f"{name}: {what}"
        for name, what in found
        if not MAY_OPEN_SOCKETS.match(name) and name not in ASKS_FOR_A_FREE_PORT
    ] == []


AT_IMPORT = """
import importlib, json, os, pkgutil, sys

root = sys.argv[1]
standard = os.path.dirname(os.__file__)
seen = []

def ours(frame):
    # who asked: the first frame that is not the standard library's; loading a module is nobody's doing
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return False
        if file.startswith(root):
            return True
        if "site-packages" in file or not file.startswith((standard, "<frozen ", "<string>")):
            return False
        frame = frame.f_back
    return False

def hear(event, arguments):
    if event.startswith(("socket.connect", "socket.bind", "socket.sendto")):
        seen.append(f"{event} {arguments!r}")
    elif event.startswith(("open", "os.", "subprocess.")) and ours(sys._getframe(1)):
        seen.append(f"{event} {arguments!r}")

class Environment(dict):
    def _note(self, key):
        if ours(sys._getframe(2)):
            seen.append(f"environment {key}")
    def __getitem__(self, key):
        self._note(key)
        return super().__getitem__(key)
    def get(self, key, default=None):
        self._note(key)
        return super().get(key, default)
    def __contains__(self, key):
        self._note(key)
        return super().__contains__(key)

import asset_ledger
os.environ = Environment(os.environ)
sys.addaudithook(hear)
names = [
    module.name for module in pkgutil.walk_packages(asset_ledger.__path__, "asset_ledger.")
    if ".migrations" not in module.name
]
for name in names:
    importlib.import_module(name)
print(json.dumps({"modules": len(names), "seen": seen}))
"""


def at_import(package_parent: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", AT_IMPORT, str(package_parent / "asset_ledger")],
        cwd=package_parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_nothing_happens_at_import() -> None:
    answer = at_import(PROJECT)
    assert answer["seen"] == []
    assert isinstance(answer["modules"], int)
    assert answer["modules"] > 60


@pytest.mark.parametrize(
    ("line", "noticed"),
    [
        ("import os; HOME = os.environ.get('HOME')", "environment HOME"),
        ("import os; HOME = os.getenv('HOME')", "environment HOME"),
        ("from pathlib import Path; TEXT = Path(__file__).read_text()", "open "),
        ("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", "socket.connect "),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen "),
    ],
)
def test_what_happens_at_import_would_be_noticed(tmp_path: Path, line: str, noticed: str) -> None:
    (tmp_path / "asset_ledger").mkdir()
    (tmp_path / "asset_ledger" / "__init__.py").write_text("")
    (tmp_path / "asset_ledger" / "busy.py").write_text(line)
    seen = at_import(tmp_path)["seen"]
    assert isinstance(seen, list)
    assert any(str(event).startswith(noticed) for event in seen), seen


@pytest.mark.parametrize(
    "code",
    [
        "from asset_ledger.sources.registry import PLATFORMS, platform; [platform(name) for name in PLATFORMS]",
        "import asset_ledger.sources.config, asset_ledger.sources.error_pages, asset_ledger.settings",
        "import asset_ledger.credentials",
    ],
)
def test_platforms_cost_no_heavy_library(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "asset_ledger" in loaded
    assert sorted(loaded & set(HEAVY)) == []


def test_import_linter_keeps_the_layers() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_file_has_one_job_that_its_first_lines_say() -> None:
    silent = [name for name, tree in modules() if not ast.get_docstring(tree)]
    assert silent == []

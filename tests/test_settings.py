"""Where an installation's things are: the environment's words, the defaults, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.settings import Settings, beside

URL = "postgresql://ledger:hunter2@db.example.com:5432/assets"


def test_without_any_variable_everything_is_beside_sources_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings.load({})
    assert found.sources_file == tmp_path / "sources.yaml"
    assert found.root == tmp_path
    assert found.iac_file == tmp_path / "iac.yaml"
    assert found.home == tmp_path / ".asset_ledger"
    assert found.dagster_home == tmp_path / ".asset_ledger" / "dagster"
    assert found.database_url is None
    assert found.dagster_database_url is None
    assert (found.examples / "inbox").is_dir()


def test_home_goes_with_the_sources_file_wherever_the_program_starts(tmp_path: Path) -> None:
    found = Settings.load({"ASSET_LEDGER_SOURCES": str(tmp_path / "etc" / "sources.yaml")})
    assert found.home == tmp_path / "etc" / ".asset_ledger"


def test_a_relative_path_begins_here_and_a_tilde_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    found = Settings.load({"ASSET_LEDGER_SOURCES": "here.yaml", "ASSET_LEDGER_HOME": "~/ledger"})
    assert found.sources_file == tmp_path / "here.yaml"
    assert found.home == Path("/home/somebody/ledger")


def test_iac_yaml_is_beside_the_sources_file_unless_another_is_named(tmp_path: Path) -> None:
    sources = str(tmp_path / "etc" / "sources.yaml")
    assert Settings.load({"ASSET_LEDGER_SOURCES": sources}).iac_file == tmp_path / "etc" / "iac.yaml"
    named = Settings.load({"ASSET_LEDGER_SOURCES": sources, "ASSET_LEDGER_IAC": str(tmp_path / "rules.yaml")})
    assert named.iac_file == tmp_path / "rules.yaml"
    assert Settings.load({"ASSET_LEDGER_IAC": ""}).named_iac_file is None


def test_dagsters_database_stands_beside_the_ledgers() -> None:
    found = Settings.load({"ASSET_LEDGER_DATABASE_URL": URL})
    assert found.dagster_database_url == f"{URL}_dagster"
    assert beside(f"{URL}?sslmode=require") == f"{URL}_dagster?sslmode=require"


def test_dagsters_database_may_be_anywhere() -> None:
    other = "postgres://d@other/dagster"
    found = Settings.load({"ASSET_LEDGER_DATABASE_URL": URL, "ASSET_LEDGER_DAGSTER_DATABASE_URL": other})
    assert (found.database_url, found.dagster_database_url) == (URL, other)


@pytest.mark.parametrize("name", ["ASSET_LEDGER_DATABASE_URL", "ASSET_LEDGER_DAGSTER_DATABASE_URL"])
@pytest.mark.parametrize(
    "value",
    [
        "mysql://u:hunter2@h/db",
        "postgresql://u:hunter2@h",
        "hunter2",
        "postgresql://u:hunter2@[::1/db",
        "postgresql://u:hunter2@h:port/db",
    ],
)
def test_a_wrong_url_is_named_by_its_variable_and_not_quoted(name: str, value: str) -> None:
    with pytest.raises(PermanentError) as caught:
        Settings.load({name: value})
    assert str(caught.value).startswith(f"CONFIG_INVALID: {name}: ")
    assert "hunter2" not in str(caught.value)


def test_a_blank_variable_is_no_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blank = dict.fromkeys(("ASSET_LEDGER_HOME", "ASSET_LEDGER_SOURCES", "ASSET_LEDGER_DATABASE_URL"), "")
    assert Settings.load(blank) == Settings.load({})


def test_settings_do_not_change_and_do_not_show_the_databases_password() -> None:
    found = Settings.load({"ASSET_LEDGER_DATABASE_URL": URL})
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.home = Path("/")  # type: ignore[misc]
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "password",
    ["hunter2%Pass", "hunter2%", "hunter2%00", "hunter2%FF", "hunter2/x", "12/hunter2", "hunter2#x", "12#hunter2",
     "hunter2?x", "12?hunter2", "p@hunter2", "hunter2[", "hunter2 x"],
)  # fmt: skip
def test_a_password_with_a_sign_that_is_not_encoded_is_refused_and_not_quoted(password: str) -> None:
    with pytest.raises(PermanentError) as caught:
        Settings.load({"ASSET_LEDGER_DATABASE_URL": f"postgresql://x:{password}@127.0.0.1:1/db"})
    assert "percent-encode signs such as % / # @ in the password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("password", ["a%25b%2Fc%23%40", "a:b", "%E5%AF%86", "密码", "a!$&'()*+,;=~"])
def test_a_password_that_is_encoded_is_taken(password: str) -> None:
    url = f"postgresql://x:{password}@127.0.0.1:1/db?sslmode=require&application_name=a@b"
    assert Settings.load({"ASSET_LEDGER_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    "value",
    [
        "redis://127.0.0.1:6379",
        "redis://redis.example.com",
        "redis://:p%40ss@redis.example.com:6379/15",
        "rediss://ledger:hunter2@redis.example.com/0?ssl_ca_certs=/etc/ssl/ours.pem",
        "redis://[::1]:6379/0",
    ],
)
def test_redis_is_named_by_a_url_that_is_not_shown(value: str) -> None:
    found = Settings.load({"ASSET_LEDGER_REDIS_URL": value})
    assert found.redis_url == value
    assert "hunter2" not in repr(found)
    assert Settings.load({"ASSET_LEDGER_REDIS_URL": ""}).redis_url is None


@pytest.mark.parametrize(
    "value",
    [
        "redis.example.com:6379",
        "http://:hunter2@redis.example.com",
        "redis://:hunter2@:6379",
        "redis://:hunter2@host:port",
        "redis://:hunter2@host:0",
        "redis://:hunter2@host/db",
        "redis://:hunter2@host/0/1",
        "redis://:hunter2#x@host",
        "redis://:hunter2@x@host",
        "redis://:hunter2@host/0?socket_timeout=1",
        "rediss://:hunter2@host/0?ssl_cert_reqs=none",
        "rediss://:hunter2@host/0?ssl_ca_certs=/x&ssl_cert_reqs=none",
    ],
)
def test_a_wrong_url_of_redis_is_named_by_its_variable_and_not_quoted(value: str) -> None:
    with pytest.raises(PermanentError) as refused:
        Settings.load({"ASSET_LEDGER_REDIS_URL": value})
    assert refused.value.code.code == "CONFIG_INVALID"
    assert refused.value.target == "ASSET_LEDGER_REDIS_URL"
    assert "hunter2" not in f"{refused.value}{refused.value!r}"

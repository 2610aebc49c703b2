"""sources.yaml: every problem named with its path, all at once, and no value of the file in any message."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings
from asset_ledger.sources.config import load_sources, parse_sources
from asset_ledger.sources.cron import checked_cron
from asset_ledger.sources.import_files.config import ImportConfig
from asset_ledger.sources.ssh.config import SshConfig


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sources.yaml"


def written(file: Path, text: str) -> Path:
    file.write_text(dedent(text), encoding="utf-8")
    return file


def refused(file: Path) -> str:
    with pytest.raises(PermanentError) as caught:
        load_sources(file)
    said = str(caught.value)
    assert said.startswith(f"CONFIG_INVALID: {file}: ")
    assert said.endswith(caught.value.code.advice)
    return said


def source(**fields: object) -> dict[str, object]:
    return {"name": "office", "platform": "import", **fields}


def problems(*entries: object) -> list[str]:
    found, wrong = parse_sources({"sources": list(entries)})
    assert len(found) + len(entries) > 0
    return wrong


def test_the_sources_come_in_the_files_order_with_their_platforms_own_model(file: Path) -> None:
    written(
        file,
        """
        sources:
          - {name: probe, platform: ssh, parallel: 4, owners: [team:infra, ops@example.com]}
          - {name: office, platform: import, zone: shanghai}
        """,
    )
    first, second = load_sources(file)
    assert isinstance(first, SshConfig)
    assert isinstance(second, ImportConfig)
    assert (first.name, first.parallel, first.owners) == ("probe", 4, ("team:infra", "ops@example.com"))
    assert second.zone == "shanghai"


def test_every_problem_is_named_with_its_path_and_all_at_once(file: Path) -> None:
    said = refused(
        written(
            file,
            """
            colour: red
            sources:
              - {name: Probe, platform: ssh, default_port: 70000, parallel: many, colour: red}
              - {name: office, platform: excel}
              - just a text
              - {platform: import}
              - {name: fine, platform: import}
              - {name: fine, platform: ssh}
            """,
        )
    )
    for path in (
        "colour: unknown key",
        "sources[0].name: ",
        "sources[0].default_port: ",
        "sources[0].parallel: ",
        "sources[0].colour: unknown field",
        "sources[1].platform: 'excel' is not a platform; there are agent, aliyun, hyperv, import, pve, ssh, vcenter, winrm",
        "sources[2]: must be a mapping",
        "sources[3].name: Field required",
        "sources[5].name: 'fine' is also the name of sources[4]",
    ):
        assert f"\n  {path}" in said, said
    assert "9 problems:" in said
    assert "sources[4]:" not in said


def test_a_name_is_taken_also_where_its_first_source_is_wrong() -> None:
    wrong = problems(source(max_rows=0), source())
    assert [problem.split(":")[0] for problem in wrong] == ["sources[0].max_rows", "sources[1].name"]


@pytest.mark.parametrize("key", ["password", "api_key", "token", "private_key", "db_pass", "密码"])
def test_a_secret_in_the_file_is_refused_once_and_not_quoted(file: Path, key: str) -> None:
    said = refused(written(file, f"sources:\n  - {{name: probe, platform: ssh, {key}: hunter2}}\n"))
    assert f"sources[0].{key}: a secret does not belong here" in said
    assert said.count(f"sources[0].{key}") == 1
    assert "hunter2" not in said


def test_a_secret_in_the_place_of_a_reference_is_refused_and_not_quoted(file: Path) -> None:
    said = refused(written(file, "sources:\n  - {name: probe, platform: ssh, default_credential_ref: hunter2}\n"))
    assert "sources[0].default_credential_ref" in said
    assert "hunter2" not in said


@given(
    st.sampled_from([*SshConfig.model_fields, "colour"]),
    st.sampled_from(["hunter2", ["hunter2"], {"hunter2": "hunter2"}, [["hunter2"]]]),
)
def test_no_message_quotes_a_value(field: str, value: object) -> None:
    if field != "platform":
        entry = {"name": "probe", "platform": "ssh", field: value}
        _, wrong = parse_sources({"sources": [entry, entry if field != "name" else 1]})
        assert field in ("description", "name", "zone") or "hunter2" not in "\n".join(wrong).replace(".hunter2", "")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sources:\n  - name: a\n   platform: ssh\n", "line 3, column 4"),
        ("sources: [\n", "line 2, column 1"),
        ("sources:\n\t- a\n", "line 2, column 1"),
        ("sources: 'open\n", "line 2, column 1"),
        ("sources: []\nbell: \x07\n", "line 2, column 7"),
    ],
)
def test_what_is_no_yaml_is_placed_by_line_and_column(file: Path, text: str, place: str) -> None:
    file.write_text(text)
    assert f"not valid YAML in {place}: " in refused(file)


def test_a_broken_line_is_not_quoted(file: Path) -> None:
    assert "hunter2" not in refused(written(file, "sources:\n  - password: *hunter2\n"))


def test_a_key_that_stands_twice_is_refused_and_not_silently_dropped(file: Path) -> None:
    said = refused(
        written(
            file,
            """\
            sources:
              - {name: first, platform: import}
            sources:
              - {name: second, platform: import}
            """,
        )
    )
    assert "line 3, column 1: the key `sources` again" in said
    assert "the key `zone` again" in refused(
        written(file, "sources:\n  - name: a\n    platform: import\n    zone: x\n    zone: y\n")
    )


@pytest.mark.parametrize("text", ["", "[]", "a text", "sources:", "sources: {a: 1}", "source: []", "42"])
def test_a_file_without_a_list_of_sources_is_refused(file: Path, text: str) -> None:
    assert "must be a list of sources" in refused(written(file, text))


def test_an_empty_list_is_an_empty_ledger(file: Path) -> None:
    assert load_sources(written(file, "sources: []")) == ()


def test_a_file_that_is_not_there_or_no_text_is_named(file: Path) -> None:
    assert "there is no such file" in refused(file)
    file.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(file)
    file.unlink()
    file.mkdir()
    assert "cannot be read" in refused(file)


def test_relative_paths_begin_at_the_files_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/somebody")
    written(
        file,
        """
        sources:
          - {name: near, platform: import, inbox: drop/here}
          - {name: far, platform: import, inbox: /srv/inbox}
          - {name: home, platform: import, inbox: ~/inbox}
          - {name: probe, platform: ssh}
        """,
    )
    near, far, home, probe = load_sources(file)
    assert isinstance(near, ImportConfig)
    assert near.inbox == file.parent / "drop" / "here"
    assert isinstance(far, ImportConfig)
    assert far.inbox == Path("/srv/inbox")
    assert isinstance(home, ImportConfig)
    assert home.inbox == Path("/home/somebody/inbox")
    assert isinstance(probe, SshConfig)
    assert probe.known_hosts == Path("/home/somebody/.ssh/known_hosts")


def test_a_source_that_is_not_enabled_is_read_from_the_file_and_left_out_of_the_ledger(file: Path) -> None:
    written(
        file,
        """
        sources:
          - {name: office, platform: import}
          - {name: probe, platform: ssh, enabled: false}
        """,
    )
    assert [(one.name, one.enabled) for one in load_sources(file)] == [("office", True), ("probe", False)]
    ledger = Ledger(Settings.load({"ASSET_LEDGER_SOURCES": str(file)}))
    assert [one.name for one in ledger.sources] == ["office"]
    with pytest.raises(PermanentError, match=r"probe: no enabled source has this name; there are: office"):
        ledger.source("probe")


def test_a_source_that_is_not_enabled_is_validated_all_the_same() -> None:
    assert problems(source(enabled=False, max_rows=0)) != []


@pytest.mark.parametrize("name", ["Office", "1st", "a-b", "", "a" * 41, "a\n", "a b", "名", 5, None, True, ["a"]])
def test_a_name_that_cannot_be_part_of_an_asset_key_is_refused(name: object) -> None:
    assert any(problem.startswith("sources[0].name") for problem in problems(source(name=name)))


@pytest.mark.parametrize("owner", ["infra", "team:", "ops@example", "@example.com", ""])
def test_an_owner_that_dagster_would_refuse_is_named_here(owner: str) -> None:
    assert [problem.split(":")[0] for problem in problems(source(owners=["team:a", owner]))] == ["sources[0].owners.1"]


@pytest.mark.parametrize(
    "cron",
    ["30 2 * * *", "*/15 * * * *", "0 8-18/2 * * mon-fri", "0 0 1,15 JAN,jul 0", "  5   4 * *  7 ", "0 0 * * 1-5"],
)
def test_a_cron_expression_is_taken(cron: str) -> None:
    assert problems(source(schedule=cron)) == []
    assert checked_cron(cron) == " ".join(cron.split())


@pytest.mark.parametrize(
    ("cron", "wrong"),
    [
        ("daily", "five fields"),
        ("@daily", "five fields"),
        ("0 2 * *", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("60 2 * * *", "minute '60'"),
        ("0 24 * * *", "hour '24'"),
        ("0 0 0 * *", "day of month '0'"),
        ("0 0 * 13 *", "month '13'"),
        ("0 0 * * 8", "day of week '8'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("5-1 * * * *", "minute '5-1'"),
        ("0 0 * * mon,", "day of week ''"),
        ("٣ 2 * * *", "minute"),
    ],
)
def test_a_cron_expression_that_never_fires_is_refused_with_its_field(cron: str, wrong: str) -> None:
    (problem,) = problems(source(schedule=cron))
    assert problem.startswith("sources[0].schedule: ")
    assert wrong in problem


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda e: (
            st.lists(e, max_size=3)
            | st.dictionaries(
                st.text(max_size=9) | st.sampled_from(["name", "platform", "sources"]) | st.integers(), e, max_size=4
            )
        ),
    )
)
def test_no_file_breaks_the_reader(data: object) -> None:
    found, wrong = parse_sources({"sources": [data, source(), data]})
    assert wrong
    assert all(one.name for one in found)
    parse_sources(data)


def test_a_home_that_nobody_has_is_named(file: Path) -> None:
    said = refused(written(file, "sources:\n  - {name: office, platform: import, inbox: ~no_such_user/inbox}\n"))
    assert "office: Could not determine home directory. Correct" in said


def test_two_sources_may_not_watch_one_inbox() -> None:
    entries = [{"name": name, "platform": "import", "inbox": "drop"} for name in ("one", "two")]

    found, problems = parse_sources({"sources": entries})

    assert [source.name for source in found] == ["one"]
    assert problems == ["sources[1].inbox: sources[0] has the same; give each its own"]


@pytest.mark.parametrize("other", ["./drop", "drop/", "a/../drop", "/srv/ledger/drop"])
def test_one_inbox_written_in_two_ways_is_one_inbox(other: str) -> None:
    entries = [
        {"name": "one", "platform": "import", "inbox": "drop"},
        {"name": "two", "platform": "import", "inbox": other},
    ]
    assert parse_sources({"sources": entries}, Path("/srv/ledger"))[1] == [
        "sources[1].inbox: sources[0] has the same; give each its own"
    ]


@pytest.mark.parametrize("name", ["ledger", "iac", "agent", "marts"])
def test_a_name_that_a_group_across_sources_has_is_refused(name: str) -> None:
    assert problems(source(name=name)) == [
        f"sources[0].name: {name!r} is the name of a group across sources; choose another"
    ]


@pytest.mark.parametrize(
    ("inbox", "wrong"),
    [
        ("/", "the root of the file system"),
        (".", "the folder of sources.yaml itself"),
        ("a/..", "the folder of sources.yaml itself"),
        ("link", "the folder of sources.yaml itself"),
        ("home", "the program's own folder"),
        ("sources.yaml", "this is a file, or below one"),
        ("sources.yaml/inbox", "this is a file, or below one"),
        ("nowhere", "this is a file, or below one"),
    ],
)
def test_an_inbox_that_cannot_work_is_refused(file: Path, inbox: str, wrong: str) -> None:
    (file.parent / "link").symlink_to(".")
    (file.parent / "nowhere").symlink_to("not/there")
    written(
        file, f"sources:\n  - {{name: probe, platform: ssh}}\n  - {{name: office, platform: import, inbox: {inbox}}}\n"
    )
    with pytest.raises(PermanentError, match=r"sources\[1\].inbox: ") as caught:
        load_sources(file, file.parent / "home")
    assert wrong in str(caught.value)


def test_a_tab_is_called_a_tab(file: Path) -> None:
    assert "a tab stands where only spaces may indent" in refused(written(file, "sources:\n\t- a\n"))
    assert "a character stands there that cannot start any token" in refused(written(file, "sources: @x\n"))

"""`asset-ledger topology`: what a thing stands on and what stands on it, as lines, as JSON, as one SVG."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Cli
from tests.store.graphing import World, made, world


@pytest.fixture
def lab(database_url: str) -> Iterator[World]:
    """A cluster with two hosts, machines on them, and on one machine an instance, a resource, and a name of it."""
    with world(database_url) as one:
        for name in ("prod", "host-1", "host-2", "网站-1", "<b>other</b>", "elsewhere"):
            one.machine(name, 1)
        one.on("host-1", "prod", "member_of")
        one.on("host-2", "prod", "member_of")
        one.on("网站-1", "host-1")
        one.on("<b>other</b>", "host-1")
        one.on("elsewhere", "host-2")
        one.run("UPDATE ledger.assets SET asset_type = 'cluster' WHERE id = %s", made("prod"))
        one.instance("orders", "网站-1")
        one.resource("web_vm")
        one.resource("dns")
        one.needs("dns", "web_vm", "value")
        one.join("web_vm", "网站-1")
        yield one


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_machine_is_told_with_what_it_stands_on_and_what_stands_on_it(lab: World, cli: Cli) -> None:
    done = cli("topology", "网站-1")
    assert done.out.splitlines() == [
        "machine 网站-1",
        "  runs on machine host-1",
        "machine host-1",
        "  is a member of machine prod (cluster)",
        "database instance orders (postgresql, 网站-1:5432)",
        "  is confirmed to run on machine 网站-1",
        "resource web_vm (some_type, shop/app, acme)",
        "  declares (known by its id) machine 网站-1",
        "resource dns (some_type, shop/app, acme)",
        "  has an attribute that names resource web_vm (some_type, shop/app, acme)",
        "needs 2 others; 3 need it",
    ]
    assert "host-2" not in done.out
    assert "other" not in done.out.replace("others", "")


def test_one_is_told_as_one(lab: World, cli: Cli) -> None:
    assert cli("topology", "elsewhere", "--depth", "1").out.splitlines()[-1] == "needs 1 other; 0 need it"
    assert cli("topology", "host-2", "--depth", "1").out.splitlines()[-1] == "needs 1 other; 1 needs it"
    left_out = cli("topology", "host-2", "--depth", "1", "--limit", "2")
    assert "  and 1 more hangs together with it" in left_out.out.splitlines()
    assert left_out.err.startswith("1 more is not told: asset-ledger impact host-2")
    picture = cli("topology", "host-2", "--svg", "--depth", "1", "--limit", "2").out
    assert any(text.startswith("1 more is not drawn: ") for text in texts(picture))
    assert "and 1 more hangs together with host-2" in picture


def test_a_picture_is_one_svg_with_the_names_as_text(lab: World, cli: Cli, tmp_path: Path) -> None:
    printed = cli("topology", "host-1", "--svg").out
    names = {"host-1", "prod", "网站-1", "<b>other</b>", "orders", "web_vm", "dns"}
    assert names <= set(texts(printed))
    assert "elsewhere" not in texts(printed)
    assert "<b>" not in printed
    file = tmp_path / "host.svg"
    done = cli("topology", "host-1", "--svg", str(file))
    assert (done.out, file.read_text()) == ("", printed)
    assert "7 drawn, 0 more counted" in done.err


def test_what_a_picture_does_not_hold_is_counted_where_it_hangs(lab: World, cli: Cli) -> None:
    for number in range(40):
        lab.machine(f"vm-{number:02}", 1)
        lab.on(f"vm-{number:02}", "host-2")
    shown = texts(cli("topology", "prod", "--svg", "--limit", "10").out)
    assert any(text.startswith("needs 0 others; 48 need it") for text in shown)
    more = [int(text.split()[1]) for text in shown if text.startswith("and ")]
    assert sum(more) == 49 - 10
    assert any(text.startswith("39 more are not drawn: asset-ledger impact prod") for text in shown)
    told = json.loads(cli("topology", "prod", "--limit", "10", "--json").out)
    assert (len(told["nodes"]), sum(node["more"] for node in told["nodes"])) == (10, 39)


def test_options_that_make_no_sense_are_refused(lab: World, cli: Cli) -> None:
    assert cli("topology", "host-1", "--svg", "--json").code == 2
    assert cli("topology", "host-1", "x.svg").code == 2
    assert "no machine, resource or linked instance" in cli("topology", "nobody").err

"""Who is there, kept in Redis and kept in the table: one life of a client, and several processes that hear it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from asset_ledger.store.agents.clients import retire
from asset_ledger.store.agents.presence import Timing, transitions
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.plain_owner import plainly_owned
from tests.store.agents.presences import TTL, World


@pytest.fixture(params=[pytest.param("redis", marks=pytest.mark.needs("redis-server")), "table"])
def world(request: pytest.FixtureRequest, shared_url: str) -> Iterator[World]:
    redis = request.getfixturevalue("redis_server") if request.param == "redis" else None
    made = World(shared_url, redis)
    yield made
    made.close()


def test_the_first_beat_is_told_and_the_next_are_not(world: World) -> None:
    one, client = world.process(), world.client()
    assert world.status(client) == "offline"
    world.beat(one, client)
    (first,) = world.rows("SELECT * FROM agent.clients WHERE id = %s", client)
    assert (first["status"], str(first["ip_address"])) == ("online", "192.0.2.7")
    assert first["first_connected_at"] == first["last_connected_at"] == first["status_at"] == first["last_seen"]
    for _ in range(3):
        world.beat(one, client)
    assert world.rows("SELECT * FROM agent.clients WHERE id = %s", client) == [first]
    assert world.told(client) == ["client.connect"]
    (row,) = world.rows("SELECT * FROM audit.audit_logs WHERE client_id = %s", client)
    assert (row["user_id"], row["actor"], row["details"]) == (
        world.user,
        f"acme/client {client}",
        {"pod_id": one.pod_id},
    )


def test_who_is_silent_longer_than_a_beat_holds_is_offline_and_not_before(world: World) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL - 10)
    world.sweep(one)
    assert world.status(client) == "online"
    world.pass_by(20)
    world.sweep(one)
    world.sweep(one)
    assert world.status(client) == "offline"
    assert world.told(client) == ["client.connect", "client.disconnect"]
    (row,) = world.rows("SELECT details FROM audit.audit_logs WHERE event_type = 'client.disconnect'")
    (kept,) = world.rows("SELECT last_seen, status_at FROM agent.clients WHERE id = %s", client)
    assert row["details"] == {"last_seen": kept["last_seen"].isoformat(timespec="seconds"), "uncertain_s": TTL}
    assert kept["status_at"] == kept["last_seen"]


def test_a_late_beat_revives(world: World) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL + 1)
    world.sweep(one)
    world.beat(one, client)
    assert world.status(client) == "online"
    assert world.told(client) == ["client.connect", "client.disconnect", "client.connect"]
    (row,) = world.rows("SELECT first_connected_at < last_connected_at AS later FROM agent.clients")
    assert row["later"]


def test_whichever_processes_sweep_a_transition_is_written_once(world: World) -> None:
    several = [world.process() for _ in range(3)]
    clients = [world.client() for _ in range(20)]
    for client in clients:
        for process in several:  # each of them believes that it heard it first
            process.beat(world.tenant, client, world.user, None)
    at_once([process.step for process in several])
    world.listened()
    world.pass_by(TTL + 1)
    at_once([lambda process=process: world.sweep(process) for process in several])
    world.sweep(several[0])
    for client in clients:
        assert world.told(client) == ["client.connect", "client.disconnect"]


def test_a_client_that_moves_is_never_offline_and_not_told_of_again(world: World) -> None:
    one, other, client = world.process(), world.process(), world.client()
    world.listened()
    for turn in range(6):
        world.beat((one, other)[turn % 2], client)
        world.pass_by(60)
        world.sweep(one)
        world.sweep(other)
        assert world.status(client) == "online"
    assert world.told(client) == ["client.connect"]


def test_a_client_whose_process_died_is_offline_after_the_time(world: World) -> None:
    one, other, client, stays = world.process(), world.process(), world.client(), world.client()
    world.beat(one, client)
    world.beat(other, stays)
    world.processes.remove(one)  # without a word
    world.listened()
    world.pass_by(TTL / 2)
    world.beat(other, stays)
    world.sweep(other)
    assert world.status(client) == "online"
    world.pass_by(TTL / 2 + 1)
    world.sweep(other)
    assert (world.status(client), world.status(stays)) == ("offline", "online")


def test_nobody_is_taken_for_gone_by_a_time_in_which_nobody_listened(world: World) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL * 5)
    world.sql("UPDATE agent.presence_sweeps SET swept_at = now() - interval '10 minutes'")  # the service was away
    other = world.process()
    world.sweep(other)
    assert world.status(client) == "online"
    world.beat(other, client)
    assert world.told(client) == ["client.connect"]
    world.listened(TTL + 1)  # one that does not come back by then is gone
    world.pass_by(TTL + 1)
    world.sweep(other)
    assert world.status(client) == "offline"


def test_a_report_keeps_a_silent_client_online_as_long_as_a_beat_would(world: World) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL + 1)
    world.sql("UPDATE agent.clients SET last_seen = now() - make_interval(secs => 60)")
    world.sweep(one)
    assert world.status(client) == "online"
    world.pass_by(61)
    world.sweep(one)
    assert world.status(client) == "offline"


def test_a_beat_that_comes_while_a_sweep_writes_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, client = world.process(), world.process(), world.client()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL + 1)
    real, beats = transitions.gone, []

    def slow(*args: object) -> object:
        beat = threading.Thread(target=world.beat, args=(other, client))
        beats.append(beat)
        beat.start()
        beat.join(0.3)  # in the table it waits for the sweep's end
        return real(*args)  # type: ignore[arg-type]

    for module in ("keeping.transitions", "table"):
        monkeypatch.setattr(f"asset_ledger.store.agents.presence.{module}.gone", slow)
    world.sweep(one)
    for beat in beats:
        beat.join()
    assert beats
    world.sweep(one)
    world.sweep(other)
    assert world.status(client) == "online"


def test_last_seen_of_who_is_there_is_written_now_and_then(world: World) -> None:
    one, client = world.process(timing=Timing(table_s=0.0, note_s=600.0)), world.client()
    world.beat(one, client)
    (known,) = one._gathering.known.values()
    world.pass_by(60)
    world.beat(one, client)
    assert age(world) >= 60
    known.noted_at -= 601
    world.beat(one, client)
    assert age(world) < 30
    assert world.told(client) == ["client.connect"]


def test_one_that_no_place_knows_any_more_goes_offline_in_the_end(world: World) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    world.processes.remove(one)
    world.sql("TRUNCATE agent.presence")
    if world.redis:
        with world.redis.client() as redis:
            redis.flushall()
    other = world.process()
    world.listened()
    world.pass_by(TTL * 2)
    world.sweep(other)
    assert world.status(client) == "online"
    world.pass_by(600)
    world.sweep(other)
    assert world.told(client) == ["client.connect", "client.disconnect"]


def test_a_retired_client_is_not_revived(world: World) -> None:
    one, client = world.process(), world.client()
    with connect(world.database_url) as connection, as_tenant(connection, world.tenant):
        retire(connection, world.tenant, client)
    world.beat(one, client)
    assert (world.status(client), world.told(client)) == ("offline", [])


def test_presence_touches_no_inventory_and_deletes_no_client(world: World) -> None:
    one, client = world.process(), world.client()
    world.sql(
        "INSERT INTO agent.inventory_latest (tenant_id, client_id, hostname, collected_at, received_at, updated_at,"
        " since, collected_date, digest, payload_sha256, raw_data, raw_at)"
        " VALUES (%s, %s, 'web-1', now(), now(), now(), now(), current_date, 'd', 'p', '{}', now())",
        world.tenant,
        client,
    )
    before = world.rows("SELECT *, xmin FROM agent.inventory_latest")
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL + 1)
    world.sweep(one)
    assert world.status(client) == "offline"
    assert world.rows("SELECT *, xmin FROM agent.inventory_latest") == before


def test_who_came_while_the_database_was_away_is_told_when_it_is_back(world: World) -> None:
    one, client = world.process(), world.client()
    pool, world.pool = world.pool, world.pool.__class__("postgresql://nobody@127.0.0.1:1/none", most=1, wait_s=0.2)
    world.pool.start()
    world.beat(one, client)
    world.pool.stop()
    world.pool = pool
    assert world.status(client) == "offline"
    one.step()
    assert world.told(client) == ["client.connect"]


def test_whom_another_process_took_for_gone_while_the_database_was_out_of_reach_is_back_with_it(
    shared_url: str,
) -> None:
    world = World(shared_url)
    cut, other, client, busy = world.process(), world.process(), world.client(), world.client()
    world.listened()
    world.beat(cut, client)
    world.pass_by(60)
    world.beat(cut, busy)  # so that the database was out of reach for less than a beat holds
    pool, world.pool = world.pool, world.pool.__class__("postgresql://nobody@127.0.0.1:1/none", most=1, wait_s=0.2)
    world.pool.start()
    world.beat(cut, client)
    world.pool.stop()
    world.pool = pool
    world.pass_by(TTL / 2 + 1)
    world.sweep(other)
    assert (world.status(client), world.status(busy)) == ("offline", "online")
    cut.step()
    cut.step()
    world.sweep(other)
    assert world.told(client) == ["client.connect", "client.disconnect", "client.connect"]
    assert world.told(busy) == ["client.connect"]
    world.close()


def test_all_that_are_heard_are_looked_at_though_not_all_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asset_ledger.store.agents.presence.keeping._LOOKED_AT", 2)
    one, clients = world.process(), [world.client() for _ in range(5)]
    world.listened()
    for client in clients:
        world.beat(one, client)
    with connect(world.database_url) as connection, as_tenant(connection, world.tenant):
        retire(connection, world.tenant, clients[0])
    world.sql("UPDATE agent.clients SET status = 'offline'")
    for _ in range(6):
        one.keep_now()
    assert [world.status(client) for client in clients] == ["offline"] + ["online"] * 4


def test_beats_of_who_is_known_here_cost_one_statement_for_all_in_the_table_and_none_with_redis(world: World) -> None:
    one = world.process()
    clients = [world.client() for _ in range(30)]
    for client in clients:
        one.beat(world.tenant, client, world.user, None)
    one.step()
    world.lent = 0
    for client in clients:
        one.beat(world.tenant, client, world.user, None)
    one._gathering.flush()
    one.note_arrivals()
    assert world.lent == (0 if world.redis else 1)
    assert len(world.rows("SELECT FROM agent.presence")) == (0 if world.redis else 30)


def test_two_tenants_are_swept_at_once_and_told_apart(world: World) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    mine, world.tenant = world.tenant, second_tenant(world)
    theirs = world.client()
    world.beat(one, theirs)
    world.listened()
    world.pass_by(TTL + 1)
    world.sweep(one)
    found = world.rows("SELECT tenant_id, client_id FROM audit.audit_logs WHERE event_type = 'client.disconnect'")
    assert {tuple(row.values()) for row in found} == {(mine, client), (world.tenant, theirs)}


def test_the_service_may_write_no_beat_but_by_the_owners_function(world: World) -> None:
    import psycopg

    for statement in ("INSERT INTO agent.presence_sweeps VALUES ('table', now(), now())", "DELETE FROM agent.presence"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), world.pool.connection() as connection:
            connection.execute(statement)


def test_it_all_works_for_an_owner_who_is_no_superuser() -> None:
    with plainly_owned() as (owners, _, superusers):
        world = World(superusers, service_url=owners)
        one, client = world.process(), world.client()
        world.beat(one, client)
        world.tenant = second_tenant(world)
        theirs, lost = world.client(), world.client()
        world.beat(one, theirs)
        world.beat(one, lost)
        with world.pool.connection() as connection:
            assert transitions.online(connection) == 3
        world.sql("UPDATE agent.clients SET status = 'offline' WHERE id = %s", theirs)
        one.keep_now()
        world.sql("DELETE FROM agent.presence WHERE client_id = %s", lost)
        world.listened()
        world.pass_by(TTL * 3 + 600)
        world.sweep(one)
        for each, came in ((client, 1), (theirs, 2), (lost, 1)):
            assert world.told(each) == ["client.connect"] * came + ["client.disconnect"]
        world.close()


def age(world: World) -> float:
    (row,) = world.rows("SELECT extract(epoch FROM now() - last_seen)::float8 AS age FROM agent.clients")
    return float(row["age"])


def second_tenant(world: World):
    from asset_ledger.domain.sealing import KeyRing
    from asset_ledger.store.access.people import add_tenant, set_user

    with connect(world.database_url) as connection:
        made = add_tenant(connection, "rival", KeyRing({"k": b"k" * 32}))
        set_user(connection, made, "ann", "writer", password_hash=None, email=None)
    return made


def at_once(works: list) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

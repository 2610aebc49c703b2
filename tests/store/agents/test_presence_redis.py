"""Redis' keys as a plain client sees them, and what becomes of presence while Redis is away and when it is back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from uuid import UUID

import pytest

from asset_ledger.store.agents.presence import BackendAwayError, Timing
from asset_ledger.store.agents.presence.keeping import Presence
from asset_ledger.store.agents.presence.redis import RedisPlace
from tests.redis_server import RedisServer
from tests.sshd import free_port
from tests.store.agents.presences import AT_ONCE, HEARTBEATS, TTL, Process, World

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture
def world(shared_url: str, redis_server: RedisServer) -> Iterator[World]:
    made = World(shared_url, redis_server)
    yield made
    made.close()


def test_the_keys_are_the_seeds(world: World, redis_server: RedisServer) -> None:
    one, client = world.process(), world.client()
    began = one.opened(client, world.user)
    world.beat(one, client)
    with redis_server.client() as redis:
        found = redis.hgetall(f"client:{client}")
        now = redis.time()[0]
        assert {**found, "last_heartbeat": 0, "connected_at": 0} == {
            "status": "online",
            "last_heartbeat": 0,
            "pod_id": one.pod_id,
            "connected_at": 0,
            "ip_address": "192.0.2.7",
        }
        assert 0 <= now - int(found["last_heartbeat"]) < 60
        assert int(found["connected_at"]) <= int(found["last_heartbeat"])
        assert 0 < redis.ttl(f"client:{client}") <= 120
        assert redis.smembers(f"user:{world.user}:clients") == {str(client)}
        assert redis.ttl(f"user:{world.user}:clients") == -1
        assert redis.smembers(f"pod:{one.pod_id}:connections") == {str(client)}
        assert redis.ttl(f"pod:{one.pod_id}:connections") == -1
        session = redis.hgetall(f"session:{client}")
        assert session == {"user_id": str(world.user), "authenticated": "true", "auth_time": f"{began:.3f}"}
        assert 7000 < redis.ttl(f"session:{client}") <= 7200
        assert redis.zrange(HEARTBEATS, 0, -1) == [f"{world.tenant}:{client}"]


def test_every_beat_keeps_the_clients_key_and_its_connected_at(world: World, redis_server: RedisServer) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    with redis_server.client() as redis:
        redis.hset(f"client:{client}", "last_heartbeat", 5)
        connected_at = redis.hget(f"client:{client}", "connected_at")
        redis.expire(f"client:{client}", 10)
        world.beat(one, client)
        assert redis.ttl(f"client:{client}") > 100
        assert redis.hget(f"client:{client}", "last_heartbeat") != "5"
        redis.hset(f"client:{client}", "connected_at", 7)  # it connected long ago, to another process
        other = world.process()
        world.beat(other, client)
        assert redis.hget(f"client:{client}", "connected_at") == "7"
        assert redis.hget(f"client:{client}", "pod_id") == other.pod_id
    assert connected_at != "7"


def test_who_goes_offline_leaves_the_lists(world: World, redis_server: RedisServer) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL + 1)
    world.sweep(one)
    one._gathering._pruned_at -= TTL
    one.step()
    with redis_server.client() as redis:
        left = set(redis.scan_iter("*"))
        assert left <= {"agent:pods", "agent:epoch", "agent:sweep"}, left


def test_a_client_that_moves_is_on_the_list_of_its_new_process_alone(world: World, redis_server: RedisServer) -> None:
    one, other, client = world.process(), world.process(), world.client()
    world.beat(one, client)
    world.beat(other, client)
    with redis_server.client() as redis:
        assert redis.smembers(f"pod:{one.pod_id}:connections") == set()
        assert redis.smembers(f"pod:{other.pod_id}:connections") == {str(client)}


def test_the_list_of_a_process_that_died_is_taken_away_and_that_of_one_that_stops_at_once(
    world: World, redis_server: RedisServer
) -> None:
    one, other, client = world.process(), world.process(), world.client()
    world.beat(one, client)
    world.processes.remove(one)
    world.listened()
    world.pass_by(TTL + 1)
    other.step()
    world.sweep(other)
    with redis_server.client() as redis:
        assert not redis.exists(f"pod:{one.pod_id}:connections")
        assert redis.zrange("agent:pods", 0, -1) == [other.pod_id]
        world.beat(other, client)
        other.stop()
        assert not redis.exists(f"pod:{other.pod_id}:connections")
        assert redis.zrange("agent:pods", 0, -1) == []


def test_an_old_connections_end_takes_no_newer_session_away(world: World, redis_server: RedisServer) -> None:
    one, other, client = world.process(), world.process(), world.client()
    first = one.opened(client, world.user)
    one.step()
    second = other.opened(client, world.user)
    other.step()
    one.closed(client, first - 1)  # an older one, which it had with another process
    one.step()
    with redis_server.client() as redis:
        assert redis.hget(f"session:{client}", "auth_time") == f"{second:.3f}"
        other.closed(client, second)
        other.step()
        assert not redis.exists(f"session:{client}")


def test_while_redis_is_away_nothing_is_refused_nobody_is_offline_and_all_is_back_with_it(
    world: World, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[str] = []
    one = world.process()
    one._gathering._failed = failures.append
    client, quiet = world.client(), world.client()
    one.opened(quiet, world.user)
    world.beat(one, client)
    world.beat(one, quiet)
    world.listened()
    redis_server.kill()
    world.beat(one, client)
    assert failures
    assert set(failures) == {"redis"}
    assert one.standing().redis is False
    # the table has whom Redis knew, who has not beaten since too
    assert {row["client_id"] for row in world.rows("SELECT client_id FROM agent.presence")} == {client, quiet}
    world.listened()
    world.sweep(one)
    redis_server.start()  # empty
    world.beat(one, client)
    assert one.standing().redis is True
    with redis_server.client() as redis:
        assert redis.smembers(f"pod:{one.pod_id}:connections") == {str(client), str(quiet)}
        assert redis.smembers(f"user:{world.user}:clients") == {str(client), str(quiet)}
        assert redis.zcard(HEARTBEATS) == 2
        assert redis.exists(f"session:{quiet}")
        assert 0 < redis.ttl(f"client:{quiet}") <= 120
    world.sweep(one)
    assert [world.status(each) for each in (client, quiet)] == ["online", "online"]
    assert world.told(client) == world.told(quiet) == ["client.connect"]
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in said if "Redis is away" in line]) == 1, said
    assert len([line for line in said if "Redis answers again" in line]) == 1, said


def test_one_who_goes_while_redis_is_away_is_offline_by_the_table(world: World, redis_server: RedisServer) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    redis_server.kill()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL + 1)
    world.sweep(one)
    assert world.told(client) == ["client.connect", "client.disconnect"]


def test_a_redis_that_was_restarted_between_two_beats_is_told_everything_again(
    world: World, redis_server: RedisServer
) -> None:
    one, client, quiet = world.process(), world.client(), world.client()
    world.beat(one, client)
    world.beat(one, quiet)
    with redis_server.client() as redis:
        redis.flushall()  # as one that comes back empty before anybody asks it
        world.beat(one, client)
        assert redis.zcard(HEARTBEATS) == 2
    world.listened()
    world.sweep(one)
    assert world.status(quiet) == "online"


def begins_anew_with_old_beats(world: World, redis_server: RedisServer, process: Process, client: UUID) -> None:
    """Have Redis end and begin between two flushes, with the same epoch and a beat that holds no more."""
    world.beat(process, client)
    world.pass_by(TTL + 1)
    redis_server.remember()
    world.beat(process, client)
    world.sql("UPDATE agent.clients SET last_seen = now() - make_interval(secs => %s)", TTL + 1)
    redis_server.kill()
    redis_server.start()
    with redis_server.client() as redis:
        assert redis.zscore(HEARTBEATS, f"{world.tenant}:{client}") < redis.time()[0] - TTL
    world.listened()


def test_nobody_is_gone_by_a_redis_that_came_back_with_old_beats(world: World, redis_server: RedisServer) -> None:
    one, client = world.process(), world.client()
    begins_anew_with_old_beats(world, redis_server, one, client)
    world.sweep(one)
    assert world.told(client) == ["client.connect"]
    one.step()
    with redis_server.client() as redis:
        assert redis.zscore(HEARTBEATS, f"{world.tenant}:{client}") > redis.time()[0] - TTL
    for later in (0, AT_ONCE.gap_s + 1):
        assert one._gathering.redis is not None
        one._gathering.redis._began_anew_at -= later
        world.sweep(one)
    assert (world.status(client), world.told(client)) == ("online", ["client.connect"])


def test_whom_another_process_took_for_gone_by_old_beats_is_back_with_the_next_sweep(
    world: World, redis_server: RedisServer
) -> None:
    one, client = world.process(), world.client()
    begins_anew_with_old_beats(world, redis_server, one, client)
    other = world.process()  # it knows of no Redis before this one
    world.sweep(other)
    assert world.status(client) == "offline"
    world.sweep(one)
    world.sweep(one)
    assert world.told(client) == ["client.connect", "client.disconnect", "client.connect"]
    one.step()
    world.sweep(other)
    assert world.status(client) == "online"


def test_a_redis_that_does_not_say_which_run_it_is_is_used_all_the_same(
    world: World, redis_server: RedisServer
) -> None:
    with redis_server.client() as redis:
        redis.execute_command("ACL", "SETUSER", "default", "-info")
    one, client = world.process(), world.client()
    world.beat(one, client)
    assert one.standing().redis is True
    world.listened()
    world.pass_by(TTL + 1)
    world.sweep(one)
    assert world.status(client) == "offline"


def test_a_redis_that_was_out_of_reach_is_told_what_it_missed(world: World, redis_server: RedisServer) -> None:
    one, client, late = world.process(), world.client(), world.client()
    world.beat(one, client)
    with redis_server.client() as redis:
        redis.config_set("requirepass", "another")
        redis.client_kill_filter(_type="normal", skipme=True)
        world.beat(one, late)
        assert one.standing().redis is False
        assert redis.zrange(HEARTBEATS, 0, -1) == [f"{world.tenant}:{client}"]
        redis.config_set("requirepass", "")
        one.step()
        assert one.standing().redis is True
        assert redis.zcard(HEARTBEATS) == 2
    assert world.told(late) == ["client.connect"]


def test_a_process_without_redis_beside_those_with_it_makes_nobody_offline(
    world: World, redis_server: RedisServer
) -> None:
    one, cut = world.process(), world.process(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    every = client, theirs, mover, back = [world.client() for _ in range(4)]
    world.listened()
    world.beat(one, client)
    world.beat(one, back)
    world.beat(cut, theirs)
    world.beat(cut, mover)
    for _ in range(4):
        world.pass_by(60)
        world.beat(one, client)
        world.beat(one, mover)  # what the table says of it gets old
        world.beat(cut, theirs)  # Redis never heard of it
        world.beat(cut, back)  # what Redis says of it gets old
        world.sweep(one)
        world.sweep(cut)
        assert [world.status(each) for each in every] == ["online"] * 4
    world.pass_by(TTL + 1)
    world.beat(one, client)
    world.sweep(one)
    assert [world.status(each) for each in every] == ["online"] + ["offline"] * 3
    assert world.told(back) == ["client.connect", "client.disconnect"]


def test_a_sweep_that_dies_in_the_middle_is_finished_by_another(
    world: World, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asset_ledger.store.agents.presence import transitions

    one, other, client = world.process(), world.process(), world.client()
    world.beat(one, client)
    world.listened()
    world.pass_by(TTL + 1)
    with monkeypatch.context() as patched:
        patched.setattr(transitions, "gone", dies)
        with pytest.raises(KeyboardInterrupt):
            world.sweep(one)
    with redis_server.client() as redis:
        assert redis.zrange(HEARTBEATS, 0, -1) == []
        assert redis.zcard("agent:leaving") == 1
    world.sweep(other)
    assert world.told(client) == ["client.connect", "client.disconnect"]


def test_members_that_are_not_ours_are_dropped(world: World, redis_server: RedisServer) -> None:
    one, client = world.process(), world.client()
    world.beat(one, client)
    world.listened()
    with redis_server.client() as redis:
        redis.zadd(HEARTBEATS, {"nonsense": 1, "a:b": 2, "ü": 3})
        world.sweep(one)
        assert redis.zrange(HEARTBEATS, 0, -1) == [f"{world.tenant}:{client}"]
        assert redis.zcard("agent:leaving") == 0


def test_one_process_sweeps_at_a_time(world: World, redis_server: RedisServer) -> None:
    one, other = world.process(), world.process()
    assert one._gathering.redis is not None
    assert other._gathering.redis is not None
    assert [one._gathering.redis.lead(), other._gathering.redis.lead()] == [True, False]
    with redis_server.client() as redis:
        assert 0 < redis.pttl("agent:sweep") <= 5000


def test_thousands_are_written_and_swept_in_batches(world: World, redis_server: RedisServer) -> None:
    one = world.process()
    with world.pool.connection() as connection:
        from asset_ledger.store.tenancy import as_tenant

        with as_tenant(connection, world.tenant):
            rows = connection.execute(
                "INSERT INTO agent.clients (tenant_id, enrolled_by) SELECT %s, 'ann' FROM generate_series(1, 2300)"
                " RETURNING id",
                [world.tenant],
            ).fetchall()
    for (client,) in rows:
        one.beat(world.tenant, client, world.user, None)
    one.step()
    assert one.standing().heard == 2300
    world.listened()
    world.pass_by(TTL + 1)
    world.sweep(one)
    found = world.rows("SELECT event_type, count(*) AS n FROM audit.audit_logs GROUP BY 1 ORDER BY 1")
    assert [tuple(row.values()) for row in found] == [("client.connect", 2300), ("client.disconnect", 2300)]


def test_no_password_is_in_what_is_said(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path_factory.mktemp("redis"), password="geheim-right")
    server.start()
    try:
        place = RedisPlace(server.url, "pod", AT_ONCE, lambda: 0.0)
        assert place.flush([], []) == set()
        wrong = RedisPlace(server.url.replace("right", "wrong"), "pod", AT_ONCE, lambda: 0.0)
        with pytest.raises(BackendAwayError) as refused:
            wrong.flush([], [])
        assert "geheim" not in f"{refused.value!r} {refused.value.__cause__}"
        world = World(database_url)
        one = world.process(redis_url=server.url.replace("right", "wrong"))
        world.beat(one, world.client())
        assert "Redis is away" in caplog.text
        assert "geheim" not in caplog.text
        assert "geheim" not in repr(one.__dict__)
        world.close()
    finally:
        server.kill()


def test_with_its_threads_it_flushes_sweeps_and_ends(world: World, redis_server: RedisServer) -> None:
    from tests.patience import until

    one = Presence(world.lend, redis_server.url, Timing(flush_s=0.01, sweep_s=0.05, table_s=0.0))
    client, late = world.client(), world.client()
    one.start()
    one.beat(world.tenant, client, world.user, None)
    until(lambda: world.status(client) == "online")
    world.listened()
    for known in one._gathering.known.values():  # first: one that is heard here is not offline
        known.beat = known.beat._replace(at=known.beat.at - TTL - 1)
    world.pass_by(TTL + 1)
    world.listened()
    until(lambda: world.status(client) == "offline")
    one.beat(world.tenant, late, world.user, None)
    one.stop()
    with redis_server.client() as redis:
        assert redis.exists(f"client:{late}"), "what was heard last is written at the end"


def dies(*_: object) -> None:
    raise KeyboardInterrupt

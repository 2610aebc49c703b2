"""Where an agent and the platform of its machine do not agree, and the journal of that: `agent.findings`.

An agent and a platform speak of one machine where both are linked to one ledger asset, or to assets that a person
merged. What cannot be told for sure opens nothing, and closes nothing. Called by `pipeline.agent_findings`, inside
`as_tenant` and in this order: `compare`, `candidates`, `ignore`, `write`.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from asset_ledger.domain.iac.rules import AgentKind, Candidate
from asset_ledger.store.database import Connection, rows, run_script
from asset_ledger.store.iac.findings import Told
from asset_ledger.store.iac.standing import HOLDS, readings

SLACK = timedelta(minutes=10)
"""How much later than the platform's word a sign of life has to be: a reading takes a while, and beats hold a while."""
SILENT = timedelta(days=1)
"""After how long without a sign an agent says nothing any more: a machine reports every day, and beats every minute."""
BOOT_SLACK = timedelta(minutes=2)

# What begins with this is what a platform says of a machine that is not there, or does not run.
_NOT_RUNNING = "('stopped', 'suspended', 'paused')"
_SYSTEMS = "('windows', 'darwin', 'freebsd', 'openbsd', 'netbsd', 'dragonfly', 'solaris', 'illumos', 'aix')"


def _system(family: str) -> str:
    """Return SQL for the kind of operating system of a family: distributions of Linux are one to a platform."""
    return f"CASE WHEN lower({family}) IN {_SYSTEMS} THEN lower({family}) WHEN {family} IS NOT NULL THEN 'linux' END"


# Of each client its machine as each platform that may be compared has it: the record that is there, if one is.
_PAIRS = f"""
CREATE TEMPORARY TABLE ag_pair ON COMMIT DROP AS
SELECT DISTINCT ON (c.id, s.source_id) c.id AS client_id, s.source_id, s.name AS source, s.sure, s.why,
       root.id AS asset_id, coalesce(na.hostname, c.hostname) AS name, lp.id AS link_id, lp.external_kind,
       lp.external_id, lp.last_seen_at AS platform_at, lp.since_at AS platform_since, la.since_at AS agent_since,
       np.power_state, np.hostname AS platform_hostname, na.hostname AS agent_hostname,
       {_system("np.os_family")} AS platform_system, {_system("na.os_family")} AS agent_system,
       np.cpu_cores AS platform_cores, na.cpu_cores AS agent_cores, i.received_at AS reported_at,
       least(root.deleted_at, xa.deleted_at, m.deleted_at) AS retired_at,
       -- who is online was heard within the last two minutes
       CASE WHEN c.status = 'online' THEN %(now)s::timestamptz
            ELSE greatest(c.last_seen, c.status_at, i.received_at) END AS alive_at,
       CASE WHEN c.status = 'online' THEN c.last_connected_at END AS online_since,
       i.raw_at AS boot_told_at, b.booted_at,
       CASE WHEN lp.closed_at IS NOT NULL THEN 'replaced' WHEN lp.missing_since IS NOT NULL THEN 'missing'
            WHEN np.power_state IN {_NOT_RUNNING} THEN np.power_state END AS gone,
       CASE WHEN lp.closed_at IS NOT NULL THEN lp.closed_at WHEN lp.missing_since IS NOT NULL THEN lp.missing_since
            WHEN np.power_state IN {_NOT_RUNNING} THEN lp.last_seen_at END AS gone_at,
       e.source AS elsewhere
FROM agent.clients AS c
JOIN ledger.sources AS sa ON sa.name = ANY(%(agents)s::text[])
JOIN ledger.asset_source_links AS la ON la.source_id = sa.id AND la.external_kind = 'machine'
     AND la.external_id = c.id::text AND la.closed_at IS NULL
JOIN ledger.normalized_assets AS na ON na.id = la.normalized_id
JOIN ledger.assets AS xa ON xa.id = la.asset_id
JOIN ledger.assets AS root ON root.id = coalesce(xa.merged_into_asset_id, xa.id)
JOIN ledger.assets AS m ON m.id = root.id OR m.merged_into_asset_id = root.id
JOIN ledger.asset_source_links AS lp ON lp.asset_id = m.id
JOIN fi_source AS s ON s.source_id = lp.source_id
JOIN ledger.normalized_assets AS np ON np.id = lp.normalized_id AND np.document ->> 'kind' = 'vm'
LEFT JOIN agent.inventory_latest AS i ON i.tenant_id = c.tenant_id AND i.client_id = c.id
LEFT JOIN LATERAL (
    SELECT to_timestamp(h.value::bigint) AS booted_at
    FROM jsonb_each_text(CASE WHEN jsonb_typeof(i.raw_data -> 'host') = 'object' THEN i.raw_data -> 'host' END) AS h
    WHERE lower(replace(h.key, '_', '')) = 'boottime' AND h.value ~ '^[0-9]{{9,11}}$' LIMIT 1
) AS b ON true
LEFT JOIN LATERAL (
    -- one that moved to another platform, and was merged by a person, is there
    SELECT x.name AS source FROM ledger.assets AS o
    JOIN ledger.asset_source_links AS l ON l.asset_id = o.id AND l.id <> lp.id AND l.closed_at IS NULL
         AND l.missing_since IS NULL
    JOIN ledger.sources AS x ON x.id = l.source_id AND x.source_type = 'platform'
    JOIN ledger.normalized_assets AS n ON n.id = l.normalized_id
    WHERE (o.id = root.id OR o.merged_into_asset_id = root.id) AND n.power_state = 'running' LIMIT 1
) AS e ON true
WHERE c.tenant_id = %(tenant)s AND c.retired_at IS NULL
ORDER BY c.id, s.source_id, lp.closed_at IS NULL DESC, lp.missing_since IS NULL DESC, lp.last_seen_at DESC, lp.id DESC;

-- Whether it lives although it is gone. What a platform called off may have been started since: only of who was there
-- all the time, or booted before, it is known.
CREATE TEMPORARY TABLE ag_alive ON COMMIT DROP AS
SELECT p.client_id, p.source_id, g.state, g.at, g.state IS NOT NULL AND (
           p.alive_at > g.at + %(slack)s AND p.alive_at >= %(now)s::timestamptz - %(silent)s) AS alive,
       g.state IN {_NOT_RUNNING} AND NOT coalesce(
           p.online_since < g.at OR p.boot_told_at > g.at AND p.booted_at < g.at - %(boot)s, false) AS may_be_started,
       -- a person's word holds whatever was read
       g.state = 'retired' OR p.sure AS sure
FROM ag_pair AS p
CROSS JOIN LATERAL (
    SELECT CASE WHEN p.retired_at IS NOT NULL THEN 'retired' WHEN p.elsewhere IS NULL THEN p.gone END AS state,
           CASE WHEN p.retired_at IS NOT NULL THEN p.retired_at WHEN p.elsewhere IS NULL THEN p.gone_at END AS at
) AS g;

-- A value counts as another only where both spoke of one time: the agent said so before the platform was last read, and
-- reported since the platform began to say what it says.
CREATE TEMPORARY TABLE ag_differs ON COMMIT DROP AS
SELECT p.client_id, p.source_id, v.attribute, v.differs, v.declared, v.observed,
       CASE WHEN p.power_state IS DISTINCT FROM 'running' THEN format('%%s does not say that it runs', p.source)
            WHEN NOT p.sure THEN p.why
            WHEN p.reported_at < %(now)s::timestamptz - %(holds)s OR p.reported_at IS NULL
            THEN 'the agent does not report any more'
            WHEN p.agent_since > p.platform_at THEN format('%%s was not read since the agent said so', p.source)
            WHEN p.reported_at < p.platform_since THEN format('the agent did not report since %%s said so', p.source)
            WHEN v.differs IS NULL THEN format('%%s is not known on both sides', v.attribute) END AS unsure
FROM ag_pair AS p
CROSS JOIN LATERAL (VALUES
    ('hostname', lower(p.platform_hostname) <> lower(p.agent_hostname)
                 -- a name and its full form are the same name
                 AND NOT (split_part(lower(p.platform_hostname), '.', 1) = split_part(lower(p.agent_hostname), '.', 1)
                          AND (strpos(p.platform_hostname, '.') = 0 OR strpos(p.agent_hostname, '.') = 0)),
     to_jsonb(p.platform_hostname), to_jsonb(p.agent_hostname)),
    ('os_family', p.platform_system <> p.agent_system, to_jsonb(p.platform_system), to_jsonb(p.agent_system)),
    ('cpu_cores', p.platform_cores <> p.agent_cores, to_jsonb(p.platform_cores), to_jsonb(p.agent_cores))
) AS v (attribute, differs, declared, observed)
WHERE p.retired_at IS NULL AND p.gone IS DISTINCT FROM 'missing' AND p.gone IS DISTINCT FROM 'replaced';

CREATE TEMPORARY TABLE ag_candidate (
    n integer GENERATED ALWAYS AS IDENTITY, kind text, client_id uuid, attribute text, source_id integer, source text,
    link_id bigint, external_kind text, external_id text, asset_id uuid, name text, declared jsonb, observed jsonb,
    observed_at timestamptz, ignored boolean NOT NULL DEFAULT false
) ON COMMIT DROP;

INSERT INTO ag_candidate (kind, client_id, attribute, source_id, source, link_id, external_kind, external_id, asset_id,
    name, declared, observed, observed_at)
SELECT 'alive_but_gone', p.client_id, '', p.source_id, p.source, p.link_id, p.external_kind, p.external_id, p.asset_id,
       p.name, jsonb_build_object('state', a.state, 'since', a.at), jsonb_build_object('alive_at', p.alive_at), p.alive_at
FROM ag_pair AS p JOIN ag_alive AS a USING (client_id, source_id)
WHERE a.alive AND NOT a.may_be_started AND a.sure
UNION ALL
SELECT 'agent_differs', p.client_id, d.attribute, p.source_id, p.source, p.link_id, p.external_kind, p.external_id,
       p.asset_id, p.name, d.declared, d.observed, p.reported_at
FROM ag_pair AS p JOIN ag_differs AS d USING (client_id, source_id)
WHERE d.differs AND d.unsure IS NULL;
"""

_VERDICTS = """
CREATE TEMPORARY TABLE ag_verdict ON COMMIT DROP AS
SELECT id, n, closes, CASE WHEN closes IS NULL AND n IS NULL THEN coalesce(unsure, 'nobody told of it') END AS unsure
FROM (
    SELECT f.id, CASE WHEN c.ignored THEN NULL ELSE c.n END AS n,
           CASE WHEN k.id IS NULL THEN 'agent_retired'
                WHEN s.source_id IS NULL THEN 'no_longer_compared'
                WHEN p.client_id IS NULL THEN 'no_longer_linked'
                WHEN c.n IS NOT NULL THEN CASE WHEN c.ignored THEN 'ignored' END
                WHEN f.id = ANY(%(ignored)s) THEN 'ignored'
                WHEN f.kind = 'alive_but_gone' THEN CASE
                    WHEN a.state IS NULL THEN CASE WHEN p.gone IS NULL THEN 'seen_again' ELSE 'seen_elsewhere' END
                    WHEN coalesce(p.alive_at, '-infinity') < %(now)s::timestamptz - %(silent)s THEN 'agent_silent' END
                WHEN p.retired_at IS NOT NULL THEN 'retired'
                WHEN d.client_id IS NULL THEN 'missing'
                WHEN NOT d.differs THEN 'agrees' END AS closes,
           CASE WHEN f.kind = 'agent_differs' THEN d.unsure
                WHEN NOT a.sure THEN p.why
                WHEN a.may_be_started THEN format('it may have been started since %%s was read', p.source)
                ELSE format('the agent gave no sign since %%s said so', p.source) END AS unsure
    FROM agent.findings AS f
    LEFT JOIN agent.clients AS k ON k.tenant_id = f.tenant_id AND k.id = f.client_id AND k.retired_at IS NULL
    LEFT JOIN fi_source AS s ON s.source_id = f.source_id
    LEFT JOIN ag_pair AS p ON p.client_id = f.client_id AND p.source_id = f.source_id
    LEFT JOIN ag_alive AS a ON a.client_id = f.client_id AND a.source_id = f.source_id
    LEFT JOIN ag_differs AS d ON d.client_id = f.client_id AND d.source_id = f.source_id AND d.attribute = f.attribute
    LEFT JOIN ag_candidate AS c ON c.kind = f.kind AND c.client_id = f.client_id AND c.source_id = f.source_id
          AND c.attribute = f.attribute
    WHERE f.tenant_id = %(tenant)s AND f.closed_at IS NULL
) AS told;
"""

_WRITE = """
UPDATE agent.findings AS f SET closed_at = %(now)s, closed_because = v.closes, unsure_since = NULL,
       unsure_because = NULL
FROM ag_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.closes IS NOT NULL;

UPDATE agent.findings AS f SET unsure_since = coalesce(f.unsure_since, %(now)s), unsure_because = v.unsure
FROM ag_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.unsure IS NOT NULL;

-- looking again at the same words confirms nothing
UPDATE agent.findings AS f SET
       seen_at = CASE WHEN c.observed_at <= f.observed_at AND f.unsure_since IS NULL THEN f.seen_at ELSE %(now)s END,
       unsure_since = NULL, unsure_because = NULL, source = c.source, link_id = c.link_id,
       external_kind = c.external_kind, external_id = c.external_id, asset_id = c.asset_id, name = c.name,
       declared = c.declared, observed = c.observed, observed_at = c.observed_at
FROM ag_verdict AS v JOIN ag_candidate AS c USING (n)
WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.closes IS NULL;

INSERT INTO agent.findings (tenant_id, kind, client_id, attribute, source_id, source, link_id, external_kind,
    external_id, asset_id, name, declared, observed, observed_at, opened_at, seen_at)
SELECT %(tenant)s, c.kind, c.client_id, c.attribute, c.source_id, c.source, c.link_id, c.external_kind, c.external_id,
       c.asset_id, c.name, c.declared, c.observed, c.observed_at, %(now)s, %(now)s
FROM ag_candidate AS c
WHERE NOT c.ignored AND c.n NOT IN (SELECT n FROM ag_verdict WHERE n IS NOT NULL)
ORDER BY c.n;
"""

# what would be a finding, by its number, and what is one already, by its id
_CANDIDATES = """
SELECT c.n, NULL::uuid AS id, c.kind, c.source, coalesce(c.name, '') AS name, c.external_id, c.attribute
FROM ag_candidate AS c
UNION ALL
SELECT NULL, f.id, f.kind, f.source, coalesce(f.name, ''), f.external_id, f.attribute
FROM agent.findings AS f WHERE f.tenant_id = %(tenant)s AND f.closed_at IS NULL
"""


def compare(
    connection: Connection, tenant_id: UUID, *, agents: Sequence[str], platforms: Sequence[str], now: datetime
) -> None:
    """Compare what the agents of a tenant say with what these platforms' sources say; both are sources by name."""
    readings(connection, [(name, False) for name in platforms], now=now)
    run_script(connection, _PAIRS, _parameters(tenant_id, now) | {"agents": list(agents)})


def candidates(connection: Connection, tenant_id: UUID) -> list[tuple[int | None, UUID | None, Candidate]]:
    """Return what would be a finding, by its number, and what is one already, by its id."""
    return [
        (row.pop("n"), row.pop("id"), Candidate(state="", address="", type="", **row))
        for row in rows(connection, _CANDIDATES, {"tenant": tenant_id})
    ]


def ignore(connection: Connection, numbers: Iterable[int]) -> None:
    """Note which candidates are no findings by what people said."""
    connection.execute("UPDATE ag_candidate SET ignored = true WHERE n = ANY(%s)", [list(numbers)])


def write(connection: Connection, tenant_id: UUID, *, ignored: Iterable[UUID], now: datetime) -> Told:
    """Bring the journal up to date. `ignored` are the open findings that are none by what people said."""
    parameters = _parameters(tenant_id, now) | {"ignored": list(ignored)}
    run_script(connection, _VERDICTS, parameters)
    run_script(connection, _WRITE, parameters)
    found = connection.execute(
        """
        SELECT (SELECT count(*) FROM agent.findings WHERE tenant_id = %(tenant)s AND opened_at = %(now)s),
               count(closes), count(n) FILTER (WHERE closes IS NULL), count(unsure)
        FROM ag_verdict
        """,
        parameters,
    ).fetchone()
    assert found is not None
    return Told(*found)


def compared(connection: Connection) -> int:
    """Return how many machines were compared, after `compare`: of each client one a platform."""
    row = connection.execute("SELECT count(*) FROM ag_pair").fetchone()
    assert row is not None
    return int(row[0])


def alone(connection: Connection, tenant_id: UUID, agents: Sequence[str]) -> int:
    """Return how many machines of a tenant's agents no compared platform has, after `compare`."""
    row = connection.execute(
        """
        SELECT count(*) FROM agent.clients AS c
        JOIN ledger.sources AS s ON s.name = ANY(%(agents)s::text[])
        JOIN ledger.asset_source_links AS l ON l.source_id = s.id AND l.external_kind = 'machine'
             AND l.external_id = c.id::text AND l.closed_at IS NULL
        WHERE c.tenant_id = %(tenant)s AND c.retired_at IS NULL
          AND NOT EXISTS (SELECT FROM ag_pair AS p WHERE p.client_id = c.id)
        """,
        {"tenant": tenant_id, "agents": list(agents)},
    ).fetchone()
    assert row is not None
    return int(row[0])


def open_by_kind(connection: Connection, tenant_id: UUID) -> dict[AgentKind, int]:
    """Return how many findings of a tenant's agents are open, by kind."""
    found = connection.execute(
        "SELECT kind, count(*) FROM agent.findings WHERE tenant_id = %s AND closed_at IS NULL GROUP BY kind",
        [tenant_id],
    )
    return dict(found.fetchall())


def _parameters(tenant_id: UUID, now: datetime) -> dict[str, object]:
    return {
        "tenant": tenant_id,
        "now": now,
        "slack": SLACK,
        "silent": SILENT,
        "boot": BOOT_SLACK,
        "holds": HOLDS,
    }

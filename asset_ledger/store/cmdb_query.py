"""The query of `ledger.cmdb_assets`: every machine and every CI once, joined by what both say of themselves.

Identifiers are quoted, and what a person types is never SQL. Whether the columns are there is `store.cmdb`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from psycopg import sql

from asset_ledger.domain.duplicates import SHARED_BY_AT_MOST, UUID_KINDS

Rule = Literal["serial", "uuid", "hostname", "ip"]
RULES: tuple[Rule, ...] = get_args(Rule)
_ALL = sql.SQL(" UNION ALL ")

# a UUID is written with dashes, braces or neither; and of it and itself with the first three fields turned round the
# lesser: one value for both orders. The braces by their numbers: texts are put in here twice
_BARE = "translate(lower({0}), '- ' || chr(123) || chr(125), '')"
_ONE_ORDER = f"""CASE WHEN length({_BARE}) = 32 THEN least({_BARE} COLLATE "C", (
    substr({_BARE}, 7, 2) || substr({_BARE}, 5, 2) || substr({_BARE}, 3, 2) || substr({_BARE}, 1, 2) ||
    substr({_BARE}, 11, 2) || substr({_BARE}, 9, 2) || substr({_BARE}, 15, 2) || substr({_BARE}, 13, 2) ||
    substr({_BARE}, 17)) COLLATE "C") ELSE lower(btrim({{0}})) END"""

_OF_MACHINES: dict[Rule, str] = {
    "serial": "SELECT asset_id, upper(btrim(value)) FROM ledger.asset_identifiers"
    " WHERE kind = 'serial' AND last_seen_at IS NULL",
    "uuid": f"SELECT asset_id, {_ONE_ORDER.format('value')} FROM ledger.asset_identifiers"  # noqa: S608
    f" WHERE kind = ANY ('{{{','.join(UUID_KINDS)}}}') AND last_seen_at IS NULL",
    "hostname": "SELECT id, lower(rtrim(hostname, '.')) FROM ledger.assets WHERE hostname IS NOT NULL"
    " UNION SELECT asset_id, lower(rtrim(value, '.')) FROM ledger.asset_aliases WHERE kind IN ('hostname', 'fqdn')",
    "ip": "SELECT asset_id, ledger.cmdb_address(value) FROM ledger.asset_identifiers WHERE kind = 'ip' AND last_seen_at IS NULL"
    " UNION SELECT id, host(mgmt_ip) FROM ledger.assets WHERE mgmt_ip IS NOT NULL",
}
_OF_CIS: dict[Rule, str] = {
    "serial": "upper(btrim({0}::text))",
    "uuid": _ONE_ORDER.format("{0}::text"),
    "hostname": "lower(rtrim(btrim({0}::text), '.'))",
    # one address, several in a text, or an array of them; with or without a mask
    "ip": "ledger.cmdb_address(regexp_replace(regexp_split_to_table(lower({0}::text), '[^0-9a-f.:/]+'), '/.*', ''))",
}


def query(key: str, match: Sequence[tuple[Rule, str]], show: Sequence[str], table: sql.Identifier) -> sql.Composed:
    """Return the view's query over a CMDB's table. It has the same columns for every table.

    Rule by rule, the surest first, a machine and a CI are joined that meet each other alone. Who met several is joined by a later rule with one of those, or with none: nobody guesses.
    """
    parts: list[sql.Composable] = [_cis(key, match, show, table), _machines(match)]
    joined: list[sql.Composable] = []
    unsure: list[sql.Composable] = []
    for number, (rule, _) in enumerate(match, 1):
        judged = sql.Identifier(f"judged_{number}")
        parts.append(_judged(number, rule, joined, unsure))
        joined.append(sql.SQL("SELECT asset_id, ci_key, rule FROM {} WHERE alone").format(judged))
        unsure.append(sql.SQL("SELECT asset_id, ci_key FROM {} WHERE NOT alone").format(judged))
    parts.append(sql.SQL("joined AS MATERIALIZED ({})").format(_ALL.join(joined)))
    parts.append(sql.SQL("unsure AS MATERIALIZED ({})").format(sql.SQL(" UNION ").join(unsure)))
    return sql.SQL("WITH {} {}").format(sql.SQL(", ").join(parts), _RESULT)


def _judged(
    number: int, rule: Rule, joined: Sequence[sql.Composable], unsure: Sequence[sql.Composable]
) -> sql.Composable:
    """Return who meets whom by a rule, of those that no rule before has joined; who met several, among those alone."""
    # joins, all of them: a NOT IN of some ten thousand would be looked through row by row
    before = sql.SQL("""
        LEFT JOIN ({joined}) AS jm ON jm.asset_id = m.asset_id
        LEFT JOIN ({joined}) AS jc ON jc.ci_key = c.ci_key
        LEFT JOIN (SELECT DISTINCT asset_id FROM ({unsure}) AS u) AS um ON um.asset_id = m.asset_id
        LEFT JOIN (SELECT DISTINCT ci_key FROM ({unsure}) AS u) AS uc ON uc.ci_key = c.ci_key
        LEFT JOIN (SELECT DISTINCT asset_id, ci_key FROM ({unsure}) AS u) AS met
               ON met.asset_id = m.asset_id AND met.ci_key = c.ci_key""").format(
        joined=_ALL.join(joined), unsure=_ALL.join(unsure)
    )
    still = sql.SQL("""
        AND jm.asset_id IS NULL AND jc.ci_key IS NULL
        AND (um.asset_id IS NULL AND uc.ci_key IS NULL OR met.ci_key IS NOT NULL)""")
    none = sql.SQL("")
    return sql.SQL(
        """{judged} AS MATERIALIZED (
            SELECT asset_id, ci_key, {rule}::text AS rule,
                   count(*) OVER (PARTITION BY asset_id) = 1 AND count(*) OVER (PARTITION BY ci_key) = 1 AS alone
            FROM (
                SELECT DISTINCT m.asset_id, c.ci_key
                FROM machine_words m JOIN ci_words c ON c.number = m.number AND c.value = m.value{before}
                WHERE m.number = {number}{still}
            ) AS pairs
        )"""
    ).format(
        judged=sql.Identifier(f"judged_{number}"),
        number=number,
        rule=rule,
        before=before if joined else none,
        still=still if joined else none,
    )


def _cis(key: str, match: Sequence[tuple[Rule, str]], show: Sequence[str], table: sql.Identifier) -> sql.Composable:
    columns = dict.fromkeys((key, *show, *(column for _, column in match)))
    shown = sql.SQL(", ").join(
        sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier(name)) for name in columns
    )  # fmt: skip
    words = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {number} AS number, ci_key, {value} AS value FROM ci").format(
            number=number, value=sql.SQL(_OF_CIS[rule]).format(sql.Identifier(f"word_{number}"))
        )
        for number, (rule, _) in enumerate(match, 1)
    )
    return sql.SQL(
        """ci AS MATERIALIZED (
            SELECT DISTINCT ON ({key}::text) {key}::text AS ci_key, {words}, jsonb_build_object({shown}) AS ci
            FROM {table} WHERE {key} IS NOT NULL ORDER BY {key}::text
        ), ci_words AS MATERIALIZED ({plenty})"""
    ).format(
        key=sql.Identifier(key),
        words=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier(column), sql.Identifier(f"word_{number}"))
            for number, (_, column) in enumerate(match, 1)
        ),
        shown=shown,
        table=table,
        plenty=_told_of_few(words, "ci_key"),
    )


def _machines(match: Sequence[tuple[Rule, str]]) -> sql.Composable:
    words = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            """SELECT {number} AS number, r.id AS asset_id, w.value FROM ({told}) AS w (asset_id, value)
               JOIN ledger.assets o ON o.id = w.asset_id JOIN machine r ON r.id = coalesce(o.merged_into_asset_id, o.id)"""
        ).format(number=number, told=sql.SQL(_OF_MACHINES[rule]))
        for number, (rule, _) in enumerate(match, 1)
    )
    return sql.SQL(
        """machine AS MATERIALIZED (
            SELECT id, hostname, mgmt_ip, asset_type, platform_type, power_state, missing_since FROM ledger.assets
            WHERE merged_into_asset_id IS NULL AND deleted_at IS NULL AND asset_type IS DISTINCT FROM 'cluster'
        ), machine_words AS MATERIALIZED ({plenty})"""
    ).format(plenty=_told_of_few(words, "asset_id"))


def _told_of_few(words: sql.Composable, of: str) -> sql.Composable:
    """Return words without those that stand at many: a name such as localhost names nobody."""
    return sql.SQL(
        """SELECT number, {of}, value FROM (
               SELECT number, {of}, value, count(*) OVER (PARTITION BY number, value) AS held
               FROM (SELECT DISTINCT number, {of}, value FROM ({words}) AS every WHERE value <> '') AS once
           ) AS counted WHERE held <= {most}"""
    ).format(of=sql.Identifier(of), words=words, most=SHARED_BY_AT_MOST)


_RESULT = sql.SQL("""
SELECT CASE WHEN m.id IS NULL THEN 'only_cmdb' WHEN c.ci_key IS NULL THEN 'only_ledger' ELSE 'both' END AS side,
       j.rule, m.id AS asset_id, m.hostname, m.mgmt_ip, m.asset_type, m.platform_type, m.power_state, m.missing_since,
       c.ci_key, c.ci,
       coalesce(CASE WHEN m.id IS NULL THEN uc.others ELSE um.others END, '{}') AS others
FROM machine m
LEFT JOIN joined j ON j.asset_id = m.id
FULL JOIN ci c ON c.ci_key = j.ci_key
LEFT JOIN (SELECT asset_id, array_agg(ci_key ORDER BY ci_key) AS others FROM unsure GROUP BY asset_id) um
       ON um.asset_id = m.id
LEFT JOIN (SELECT ci_key, array_agg(asset_id::text ORDER BY asset_id) AS others FROM unsure GROUP BY ci_key) uc
       ON uc.ci_key = c.ci_key
""")

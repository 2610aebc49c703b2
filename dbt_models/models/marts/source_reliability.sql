{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    pre_hook="{{ forget_days() }}",
    indexes=[{'columns': ['collected_date', 'source_id', 'scope'], 'unique': true}],
) }}
with readings as (
    select
        i.collected_date, i.source_id, i.scope, count(*) as readings,
        count(*) filter (where i.status = 'derived') as readings_derived,
        count(*) filter (where i.status in ('failed', 'interrupted')) as readings_failed,
        count(*) filter (where i.complete) as readings_complete,
        count(*) filter (where i.absences = 'held') as readings_held,
        max(i.collected_at) filter (where i.status = 'derived') as last_derived_reading_at,
        max(extract(epoch from i.derived_at - i.recorded_at)) filter (where i.status = 'derived') as slowest_derive_seconds
    from {{ ref('stg_ledger__sources') }} as s
    inner join {{ ref('stg_ledger__inventories') }} as i on i.source_id = s.id
    where {{ days_between('i.collected_date') }}
    group by i.collected_date, i.source_id, i.scope
),

-- a replay reads no target anew, and a healthcheck is no reading; what is told beside a target is known by its details
records as materialized (
    select
        r.collected_date, r.source_id, r.scope, r.run_id, r.status, r.error_code, r.duration_ms, r.started_at,
        r.started_at + r.duration_ms * interval '1 millisecond' as ended_at,
        case
            when r.details ? 'part_of' then 'part'
            when r.details ? 'cells' then 'row'
            when r.details ? 'asset_ids' then 'conflict'
            when r.details ? 'former_asset_id' then 'reused id'
            else 'target'
        end as what
    from {{ ref('stg_ledger__sync_target_records') }} as r
    where {{ days_between('r.collected_date') }} and r.mode not in ('replay', 'healthcheck', 'detect')
),

tried as (
    select
        collected_date, source_id, scope,
        count(*) filter (where what = 'target') as targets,
        count(*) filter (where what = 'target' and status = 'ok') as targets_ok,
        count(*) filter (where what = 'target' and status = 'partial') as targets_partial,
        count(*) filter (where what = 'target' and status = 'failed') as targets_failed,
        count(*) filter (where what = 'target' and status = 'skipped') as targets_skipped,
        count(*) filter (where what = 'part') as parts_failed,
        count(*) filter (where what = 'row') as rows_rejected,
        count(*) filter (where what = 'conflict') as conflicts,
        count(*) filter (where what = 'reused id') as ids_reused,
        max(duration_ms) filter (where what = 'target') / 1000.0 as slowest_target_seconds,
        sum(duration_ms) filter (where what = 'target') / 1000.0 as target_seconds
    from records
    group by collected_date, source_id, scope
),

-- from the beginning of the first target of a run to the end of its last one
took as (
    select
        collected_date, source_id, scope, count(*) as runs, sum(extract(epoch from ended_at - started_at)) as run_seconds,
        max(extract(epoch from ended_at - started_at)) as slowest_run_seconds
    from (
        select collected_date, source_id, scope, run_id, min(started_at) as started_at, max(ended_at) as ended_at
        from records
        where what = 'target'
        group by collected_date, source_id, scope, run_id
    ) as run
    group by collected_date, source_id, scope
),

errors as (
    select collected_date, source_id, scope, jsonb_object_agg(error_code, times) as errors
    from (
        select collected_date, source_id, scope, error_code, count(*) as times
        from records
        where error_code is not null
        group by collected_date, source_id, scope, error_code
    ) as each
    group by collected_date, source_id, scope
)

select
    collected_date,
    source_id,
    s.name as source,
    s.platform,
    s.source_type,
    scope,
    coalesce(r.readings, 0) as readings,
    coalesce(r.readings_derived, 0) as readings_derived,
    coalesce(r.readings_failed, 0) as readings_failed,
    coalesce(r.readings_complete, 0) as readings_complete,
    coalesce(r.readings_held, 0) as readings_held,
    round(r.readings_complete::numeric / nullif(r.readings, 0), 4) as completeness,
    coalesce(t.targets, 0) as targets,
    coalesce(t.targets_ok, 0) as targets_ok,
    coalesce(t.targets_partial, 0) as targets_partial,
    coalesce(t.targets_failed, 0) as targets_failed,
    coalesce(t.targets_skipped, 0) as targets_skipped,
    coalesce(t.parts_failed, 0) as parts_failed,
    coalesce(t.rows_rejected, 0) as rows_rejected,
    coalesce(t.conflicts, 0) as conflicts,
    coalesce(t.ids_reused, 0) as ids_reused,
    round(
        (t.targets_ok + t.targets_partial)::numeric / nullif(t.targets - t.targets_skipped, 0), 4
    ) as success_rate,
    coalesce(e.errors, '{}'::jsonb) as errors,
    coalesce(k.runs, 0) as runs,
    round(k.run_seconds, 3) as run_seconds,
    round(k.slowest_run_seconds, 3) as slowest_run_seconds,
    round(t.target_seconds, 3) as target_seconds,
    round(t.slowest_target_seconds, 3) as slowest_target_seconds,
    round(r.slowest_derive_seconds, 3) as slowest_derive_seconds,
    r.last_derived_reading_at
from readings as r
full join tried as t using (collected_date, source_id, scope)
left join took as k using (collected_date, source_id, scope)
left join errors as e using (collected_date, source_id, scope)
inner join {{ ref('stg_ledger__sources') }} as s on s.id = source_id

{#- Machines that the same sources tell of are a row of their own: whom a row may be shown to is known by it, and a machine
    that another tenant's source tells of as well takes no other one out of sight. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    pre_hook="{{ forget_days() }}",
    indexes=[{'columns': ['collected_date']}],
) }}
select
    collected_date,
    source_id,
    platform_type,
    asset_type,
    cluster_asset_id,
    max(cluster) as cluster,
    host_asset_id,
    max(host) as host,
    coalesce(power_state, 'unknown') as power_state,
    count(*) as machines,
    sum(cpu_cores)::bigint as cpu_cores,
    sum(memory_bytes)::bigint as memory_bytes,
    sum(disk_total_bytes)::bigint as disk_total_bytes,
    count(*) filter (where cpu_cores is null) as cpu_cores_unknown,
    count(*) filter (where memory_bytes is null) as memory_bytes_unknown,
    count(*) filter (where disk_total_bytes is null) as disk_total_bytes_unknown,
    count(*) filter (where state = 'carried') as machines_carried,
    source_ids
from {{ ref('daily_specs') }}
where
    {{ days_between('collected_date') }} and state in ('observed', 'carried') and asset_type is distinct from 'cluster'
group by
    collected_date, source_id, platform_type, asset_type, cluster_asset_id, host_asset_id,
    coalesce(power_state, 'unknown'), source_ids

with capacity as (
    select
        collected_date, sum(machines) as machines, sum(cpu_cores) as cpu_cores, sum(memory_bytes) as memory_bytes,
        sum(disk_total_bytes) as disk_total_bytes
    from {{ ref('daily_capacity') }}
    where {{ days_between('collected_date') }}
    group by collected_date
),

specs as (
    select
        collected_date, count(*) as machines, sum(cpu_cores) as cpu_cores, sum(memory_bytes) as memory_bytes,
        sum(disk_total_bytes) as disk_total_bytes
    from {{ ref('daily_specs') }}
    where
        {{ days_between('collected_date') }} and state in ('observed', 'carried')
        and asset_type is distinct from 'cluster'
    group by collected_date
)

select *
from capacity as c
full join specs as s using (collected_date)
where
    (c.machines, c.cpu_cores, c.memory_bytes, c.disk_total_bytes)
    is distinct from (s.machines, s.cpu_cores, s.memory_bytes, s.disk_total_bytes)

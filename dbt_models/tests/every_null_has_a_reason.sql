select d.collected_date, d.asset_id, f.field
from {{ ref('daily_specs') }} as d
cross join lateral (
    values
    ('hostname', d.hostname is null), ('mgmt_ip', d.mgmt_ip is null), ('asset_type', d.asset_type is null),
    ('cpu_cores', d.cpu_cores is null), ('memory_bytes', d.memory_bytes is null),
    ('disk_total_bytes', d.disk_total_bytes is null), ('os_family', d.os_family is null),
    ('os_version', d.os_version is null), ('power_state', d.power_state is null)
) as f (field, is_null)
where {{ days_between('d.collected_date') }} and f.is_null <> (d.unknown ? f.field)

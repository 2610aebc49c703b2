{# What several sources may say of a machine: the column, whose word counts first where they differ (a rank of
   `ledger.sources`, the lower one wins), and what a document calls it. #}
{% macro ranked_fields() -%}
    {{ return([
        ('hostname', 'naming_rank', 'identity.hostname'),
        ('mgmt_ip', 'naming_rank', 'identity.mgmt_ip'),
        ('asset_type', 'naming_rank', 'asset_type'),
        ('cpu_cores', 'specs_rank', 'hardware.cpu_count'),
        ('memory_bytes', 'specs_rank', 'hardware.memory_bytes'),
        ('disk_total_bytes', 'specs_rank', 'hardware.disk_total_bytes'),
        ('os_family', 'os_rank', 'os.family'),
        ('os_version', 'os_rank', 'os.version'),
        ('power_state', 'specs_rank', 'runtime.power_state'),
    ]) }}
{%- endmacro %}

{# Why a document does not know a field: what it says of the path, of its part, or of all of it. #}
{% macro why_unknown(unknown, path) -%}
    coalesce({{ unknown }} ->> '{{ path }}', {{ unknown }} ->> '{{ path.split('.')[0] }}', {{ unknown }} ->> '*')
{%- endmacro %}

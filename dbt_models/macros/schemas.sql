{# A model is in the schema that dbt_project.yml names, and not in one whose name dbt puts together. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}

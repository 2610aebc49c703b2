{# What a mart and its columns mean, as comments in the database: one statement, where dbt's own macro asks which columns
   there are and says the rest in two. A described column that is not there is a mistake, and the mart is not built. #}
{% macro postgres__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- set said = [] -%}
    {%- if same_models() -%}
        {{ return('') }}
    {%- endif -%}
    {%- if for_relation and config.persist_relation_docs() and model.description -%}
        {%- do said.append(alter_relation_comment(relation, model.description)) -%}
    {%- endif -%}
    {%- if for_columns and config.persist_column_docs() -%}
        {%- for column in model.columns.values() -%}
            {%- do said.append(
                "comment on column " ~ relation ~ "." ~ column.name ~ " is " ~ postgres_escape_comment(column.description)
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if said -%}
        {%- do run_query(said | join(";\n")) -%}
    {%- endif -%}
{%- endmacro %}

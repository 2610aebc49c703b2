{# Who is shown which row of a mart; the post-hook of every mart (dbt_project.yml).
   Whoever may look into the ledger itself sees all of it. The service's role sees of its tenant's: where a row says
   `tenant_id`, that tenant's; where it says `source_id`, the source has to be the tenant's (iac.tenant_sources); where it
   says `source_ids`, all of them. What a row says of a machine is made of all sources, of the host it runs on and of what
   people decided, so that such rows are shown only while no other tenant has a source at all. A mart that says none of
   these is a mistake, and is not built.
   Policies are made where they are not as they should be: to make them, everybody who reads would have to be waited for.
   One statement, which looks and makes: each question that dbt asks costs it as much as a small test. #}
{% macro tenants_apart() -%}
    {%- if execute -%}
        {%- set tenant = "(select nullif(current_setting('app.tenant', true), '')::uuid)" -%}
        {%- set mine = "array(select t.source_id from iac.tenant_sources as t where t.tenant_id = " ~ tenant ~ ")" -%}
        {%- set alone = " and (select iac.no_others_sources())" -%}
        {%- set columns = model.columns | list -%}
        {%- if 'tenant_id' in columns -%}
            {%- set seen = "tenant_id = " ~ tenant -%}
        {%- elif 'source_ids' in columns -%}
            {%- set seen = "cardinality(source_ids) > 0 and source_ids <@ " ~ mine ~ alone -%}
        {%- elif 'source_id' in columns -%}
            {%- set seen = "source_id = any (" ~ mine ~ ")" ~ (alone if 'asset_id' in columns else '') -%}
        {%- else -%}
            {{ exceptions.raise_compiler_error(
                this.identifier ~ " says nothing of whom its rows may be shown to: give it tenant_id, source_id or source_ids"
            ) }}
        {%- endif -%}
        {%- set told = local_md5(seen) -%}
        do $tenants_apart$
        begin
            if not (
                select c.relrowsecurity and count(*) filter (where obj_description(p.oid, 'pg_policy') = '{{ told }}') = 2
                from pg_class as c
                left join pg_policy as p on p.polrelid = c.oid
                where c.oid = '{{ this }}'::regclass
                group by c.oid
            ) then
                alter table {{ this }} enable row level security;
                drop policy if exists readers on {{ this }};
                create policy readers on {{ this }} for select
                    using ((select has_schema_privilege('ledger', 'USAGE')));
                comment on policy readers on {{ this }} is '{{ told }}';
                drop policy if exists tenant on {{ this }};
                create policy tenant on {{ this }} for select to asset_ledger_service using ({{ seen }});
                comment on policy tenant on {{ this }} is '{{ told }}';
                grant select on {{ this }} to asset_ledger_service;
            end if;
        end
        $tenants_apart$
    {%- endif -%}
{%- endmacro %}

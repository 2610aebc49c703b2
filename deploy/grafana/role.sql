-- The role that Grafana reads with: the marts of the whole ledger, and nothing else. To be run once by the owner of the
-- ledger's database, whose marts these are, with a password of your own:
--   psql "$(asset-ledger db url)" -v password="'…'" -f deploy/grafana/role.sql
-- USAGE on the schema `ledger` is what the policies of the marts ask for; no table of it is granted.
CREATE ROLE asset_ledger_grafana LOGIN PASSWORD :password;
ALTER ROLE asset_ledger_grafana SET default_transaction_read_only = on;
ALTER ROLE asset_ledger_grafana SET statement_timeout = '30s';
GRANT USAGE ON SCHEMA marts, ledger TO asset_ledger_grafana;
GRANT SELECT ON ALL TABLES IN SCHEMA marts TO asset_ledger_grafana;
-- a mart of now is a new table after every build
ALTER DEFAULT PRIVILEGES IN SCHEMA marts GRANT SELECT ON TABLES TO asset_ledger_grafana;

"""Where the ledger lives: the schema, its migrations and every SQL statement. Knows PostgreSQL, not Dagster."""

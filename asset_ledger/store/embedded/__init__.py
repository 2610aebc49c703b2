"""The PostgreSQL server that a ledger brings along: binaries, cluster, supervisor."""

#!/bin/sh
# Run once by the image of postgres, when it has made an empty database: lets the container `backup` in, which copies the server.
# The image's own pg_hba.conf takes replication from the same container alone: "all" is every database, but not replication.
set -eu
echo "host replication $POSTGRES_USER all scram-sha-256" >>"$PGDATA/pg_hba.conf"

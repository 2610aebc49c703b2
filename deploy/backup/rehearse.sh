#!/bin/sh
# Rehearse a restore: bring the newest backup and the archive up on a scratch server, to an instant of now, and compare
# every table's digest with the live ledger's. What is encrypted must open. Nothing is left behind.
#
#   PGHOST PGPORT PGUSER PGPASSFILE PGDATABASE  the live server, as a superuser, and the ledger's database (default asset_ledger)
#   ASSET_LEDGER_BACKUPS  where backups are
#   ASSET_LEDGER_SCRATCH  where the scratch server is laid (default /var/tmp); it needs as much room as the live one
#   ASSET_LEDGER          the command (default asset-ledger)
#   ASSET_LEDGER_HOME or ASSET_LEDGER_STATE_KEYS, as for the service: the keys are tried
# Run it as the server's user, or as root where only the service's user may read the keys; PG_USER then names the server's.
set -eu
. "$(dirname "$0")/common.sh"
umask 077
command=${ASSET_LEDGER:-asset-ledger}
database=${PGDATABASE:-asset_ledger}

need postgres pg_ctl psql pg_verifybackup
scratch=$(mktemp -d "${ASSET_LEDGER_SCRATCH:-/var/tmp}/asset-ledger-rehearsal.XXXXXX")
end() {
  as_server "$bin/pg_ctl" stop -D "$scratch/data" -m immediate >/dev/null 2>&1 || true
  rm -rf "$scratch"
}
trap end EXIT
trap 'exit 130' INT TERM

point="rehearsal_$(date -u +%Y%m%dT%H%M%SZ)_$$"
say "digesting the live ledger, at $point"
# the rest of the address is in libpq's own variables
ASSET_LEDGER_DATABASE_URL="postgresql:///$database" $command db digests --mark "$point" --json >"$scratch/live.json" ||
  fail "the live ledger cannot be digested; why is above" "the login must be a superuser's, the schema this release's"
await_archive
"$(dirname "$0")/restore.sh" --into "$scratch/data" --point "$point"

# nobody comes in but by a socket in the scratch folder, which is this user's; nothing of this server goes to the archive
mkdir "$scratch/socket"
echo 'local all all trust' >"$scratch/hba.conf"
: >"$scratch/server.conf"
give_to_server "$scratch"
options="-c config_file=$scratch/server.conf -c hba_file=$scratch/hba.conf -c ident_file=$scratch/server.conf"
options="$options -c listen_addresses= -c unix_socket_directories=$scratch/socket -c port=${PGPORT:-5432}"
options="$options -c archive_mode=off -c hot_standby=off -c fsync=off"
as_server "$bin/pg_ctl" start -D "$scratch/data" -w -t "${ASSET_LEDGER_RECOVERY_WAIT_S:-3600}" -l "$scratch/log" -o "$options" >/dev/null || {
  tail -n 20 "$scratch/log" >&2
  fail "the copy does not come up; its log is above" "'recovery ended before configured recovery target' means that the archive has a gap"
}

ASSET_LEDGER_DATABASE_URL="postgresql:///$database?host=$scratch/socket" $command db digests --against "$scratch/live.json" ||
  fail "the restored ledger is not the live one, or the keys at hand do not open it; which is above" \
    "do not rely on these backups until this passes"
say "rehearsed: $(basename "$(newest_backup)") and the archive give the ledger of $point, and its keys are at hand"

# What the scripts beside this share: where backups are, where PostgreSQL's programs are, how an error is said.
# Read by base-backup.sh, restore.sh and rehearse.sh; not run by itself.

backups=${ASSET_LEDGER_BACKUPS:-/var/backups/asset-ledger}
bin=${PG_BIN:-$(pg_config --bindir 2>/dev/null || true)}

say() {
  echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"
}

# fail CAUSE NEXT_STEP
fail() {
  echo "error: $1" >&2
  echo "next:  $2" >&2
  exit 1
}

need() {
  for program; do
    [ -x "$bin/$program" ] ||
      fail "there is no $program in ${bin:-the folder that pg_config names}" \
        "install PostgreSQL's client programs of the server's major, or name their folder in PG_BIN"
  done
}

# PostgreSQL does not run as root: what is root's here is done as the server's user, PG_USER (default postgres).
as_server() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid "${PG_USER:-postgres}" --regid "$(id -g "${PG_USER:-postgres}")" --clear-groups -- "$@"
  else
    "$@"
  fi
}

give_to_server() {
  [ "$(id -u)" != 0 ] || chown -R "${PG_USER:-postgres}" "$@"
}

# The server is the one that libpq's own variables name: PGHOST, PGPORT, PGUSER, PGPASSFILE or PGPASSWORD, PGDATABASE.
ask() {
  "$bin/psql" -XAtqw -v ON_ERROR_STOP=1 -d "${PGDATABASE:-asset_ledger}" -c "$1"
}
PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10}
export PGCONNECT_TIMEOUT

# Wait until the archive has what was written until now: only then is it known to work.
await_archive() {
  segment=$(ask 'SELECT pg_walfile_name(pg_switch_wal() - 1)') ||
    fail "WAL cannot be switched" "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO the login"
  waited=0
  until [ -e "$backups/wal/$segment" ]; do
    [ "$waited" -lt "${ASSET_LEDGER_ARCHIVE_WAIT_S:-120}" ] || {
      why=$(ask "SELECT coalesce('archiving ' || last_failed_wal || ' failed at ' || last_failed_time, 'the server tells of no failure') FROM pg_stat_archiver")
      fail "the WAL archive does not work: $segment has not come to $backups/wal within $waited s; $why" \
        "read archive_command's words in the server's log. Until it works a restore ends at the newest base backup"
    }
    sleep 1
    waited=$((waited + 1))
  done
}

# When a backup ended: its manifest is what pg_basebackup writes last, after the server has said that the backup is over.
ended() {
  date -u -r "$1/backup_manifest" '+%Y-%m-%d %H:%M:%S+00'
}

# Whether a backup ended at an instant or before it, which is in seconds since 1970. Only such a one can be recovered to it.
ended_by() {
  [ -z "$(find "$1/backup_manifest" -newermt "@$2")" ]
}

# finished_backups [INSTANT]: all, or those that ended by then, from the oldest on. A backup counts from the moment it was verified
# and renamed; names sort by time.
finished_backups() {
  for each in "$backups"/base/[0-9]*; do
    [ -f "$each/backup_manifest" ] || continue
    [ -z "${1:-}" ] || ended_by "$each" "$1" || continue
    echo "$each"
  done | sort
}

newest_backup() {
  finished_backups "$@" | tail -n 1
}

# The segment that a backup begins with, from its label.
first_segment() {
  sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]\{24\}\))$/\1/p' "$1/backup_label"
}

# The place in the WAL that a backup needs to be whole, from its manifest.
last_place() {
  sed -n 's/.*"End-LSN": "\([0-9A-F/]*\)".*/\1/p' "$1/backup_manifest" | tail -n 1
}

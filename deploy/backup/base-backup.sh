#!/bin/sh
# Make a base backup of the server, verify it, see that the WAL archive works, and let go of old backups.
#
#   PGHOST PGPORT PGUSER PGPASSFILE PGDATABASE   the server, and a login that may replicate and switch WAL: a superuser's, or
#                              one with REPLICATION, pg_read_all_settings and EXECUTE on pg_switch_wal()
#   ASSET_LEDGER_BACKUPS       where to; base/ and wal/ are in it (default /var/backups/asset-ledger). Not the server's disk
#   ASSET_LEDGER_BACKUPS_KEEP  how many base backups stay (default 7), with all WAL since the oldest of them
#   PG_BIN                     the folder of PostgreSQL's programs, of the server's major
#
# A backup has both databases, the ledger's and Dagster's, and the roles. It does NOT have the keys, without which what is
# encrypted in it is lost: ASSET_LEDGER_CREDENTIALS_KEY, ASSET_LEDGER_STATE_KEYS or the file state_keys. Nor credentials.json,
# sources.yaml, iac.yaml, notices.yaml and agents' binaries. Keep those elsewhere; docs/operations.md says how.
set -eu
. "$(dirname "$0")/common.sh"
keep=${ASSET_LEDGER_BACKUPS_KEEP:-7}
umask 077

case $keep in '' | *[!0-9]* | 0) fail "ASSET_LEDGER_BACKUPS_KEEP is '$keep'" "make it a number above 0" ;; esac
need pg_basebackup pg_verifybackup psql pg_archivecleanup
mkdir -p "$backups/base" || fail "$backups/base cannot be made" "give $backups to the user that this runs as"
exec 9>"$backups/.lock"
flock -n 9 || fail "another backup is being made into $backups" "wait until it is done; if that is usual, make the timer rarer"

mode=$(ask 'SHOW archive_mode') ||
  fail "the server that PGHOST and PGPORT name does not answer, or not this login" "see that it runs, and the password in PGPASSFILE"
[ "$mode" = on ] ||
  fail "archive_mode is $mode: what comes after a backup would be lost" \
    "ALTER SYSTEM SET archive_mode = 'on'; set archive_command to archive-wal.sh; restart the server"

# what a killed run left is not a backup
rm -rf "$backups"/base/.*.part
name=$(date -u +%Y%m%dT%H%M%SZ)
part="$backups/base/.$name.part"
say "base backup $name begins"
# WAL is streamed along, so that a backup can be restored to its own end even if the archive is lost
"$bin/pg_basebackup" -w -D "$part" -X stream -c fast --manifest-checksums=SHA256 || {
  rm -rf "$part"
  fail "pg_basebackup failed; its words are above" \
    "the login needs REPLICATION, pg_hba.conf a line 'replication' for it, max_wal_senders 2 more, the disk room"
}
"$bin/pg_verifybackup" -q "$part" ||
  fail "what is in $part is not what the server sent" "look at the disk of $backups; no older backup was let go of"
mv "$part" "$backups/base/$name"
sync "$backups/base" "$backups/base/$name"
say "base backup $name is verified: $(du -sh "$backups/base/$name" | cut -f1)"

# nothing is let go of while the archive does not work
await_archive

count=$(find "$backups/base" -mindepth 2 -maxdepth 2 -path '*/[0-9]*/backup_manifest' | wc -l)
for each in "$backups"/base/[0-9]*; do
  [ -f "$each/backup_manifest" ] || continue
  if [ "$count" -gt "$keep" ]; then
    rm -rf "$each"
    count=$((count - 1))
    say "let go of $(basename "$each")"
    continue
  fi
  "$bin/pg_archivecleanup" "$backups/wal" "$(first_segment "$each")"
  say "$count backups, the oldest of $(basename "$each"), and all WAL since"
  break
done

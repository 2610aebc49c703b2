#!/bin/sh
# Lay a data directory that PostgreSQL recovers from a base backup and the WAL archive when it is started.
#
#   restore.sh --into DIR [--backup DIR] [--time 'YYYY-MM-DD HH:MM:SS+00' | --point NAME | --end-of-backup]
#
# Without a time: everything that is in the archive. DIR must be empty or not be there. Run it as the server's user, or as root (PG_USER).
# Nothing is started: start the server on DIR as usual. It recovers up to the wanted point and then takes writes.
# The keys are in no backup: put ASSET_LEDGER_CREDENTIALS_KEY, the ring of state keys and credentials.json back yourself.
set -eu
. "$(dirname "$0")/common.sh"
umask 077
into='' backup='' target=''

while [ $# -gt 0 ]; do
  option=$1
  shift
  if [ "$option" = --end-of-backup ]; then
    target="recovery_target = 'immediate'"
    continue
  fi
  [ $# -gt 0 ] || fail "$option lacks its value" "see the first lines of $0"
  case $1 in *\'* | *\\*) fail "$option: quotes and backslashes do not belong in it" "see the first lines of $0" ;; esac
  case $option in
    --into) into=$1 ;;
    --backup) backup=$1 ;;
    --time) target="recovery_target_time = '$1'" ;;
    --point) target="recovery_target_name = '$1'" ;;
    *) fail "$option is no option" "see the first lines of $0" ;;
  esac
  shift
done

[ -n "$into" ] || fail "nobody says where to" "--into DIR, an empty folder on a disk with room"
need postgres pg_verifybackup
backup=${backup:-$(newest_backup)}
[ -n "$backup" ] ||
  fail "there is no finished backup in $backups/base" "name one with --backup, or the right folder in ASSET_LEDGER_BACKUPS"
[ -f "$backup/backup_manifest" ] ||
  fail "$backup is no finished backup: it has no manifest" "name another of $backups/base"
[ -z "$(ls -A "$into" 2>/dev/null)" ] || fail "$into is not empty" "move what is in it away; it may be all that is left"
theirs=$(cat "$backup/PG_VERSION")
ours=$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
[ "$theirs" = "$ours" ] ||
  fail "the backup is of PostgreSQL $theirs, the programs in $bin are of $ours" "name the folder of PostgreSQL $theirs in PG_BIN"
"$bin/pg_verifybackup" -q "$backup" ||
  fail "$backup is damaged" "take an older one with --backup; the WAL since it is kept as well"
# PostgreSQL takes a gap for the archive's end, and would come up without a word about what is missing
gap=$("$(dirname "$0")/wal-gap.sh" "$backups/wal" "$(first_segment "$backup")")
[ -z "$gap" ] || [ "$target" = "recovery_target = 'immediate'" ] ||
  fail "the WAL archive $backups/wal lacks $gap and has later files: recovery would end there" \
    "look for it in the server's pg_wal and in copies of the archive; to do without what came after: --end-of-backup"

say "copying $(basename "$backup")"
mkdir -p "$into"
chmod 700 "$into"
cp -a "$backup/." "$into/"
rm -f "$into/postmaster.pid" "$into/standby.signal"
touch "$into/recovery.signal"
# what an earlier restore left is in every base backup since: its end would end this one early, without a word
sed -i -E '/^# by restore\.sh$/d; /^[[:space:]]*(recovery_target[a-z_]*|recovery_end_command|restore_command)[[:space:]=]/Id' \
  "$into/postgresql.auto.conf"
{
  echo
  echo "# by restore.sh"
  echo "restore_command = 'cp \"$backups/wal/%f\" \"%p\"'"
  echo "recovery_target_action = 'promote'"
  [ -z "$target" ] || echo "$target"
} >>"$into/postgresql.auto.conf"
give_to_server "$into"
say "$into is laid from $(basename "$backup")${target:+, $target}: start the server on it"

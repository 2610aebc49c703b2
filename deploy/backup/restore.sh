#!/bin/sh
# Lay a data directory that PostgreSQL recovers from a base backup and the WAL archive when it is started.
#
#   restore.sh --into DIR [--backup DIR] [--time 'YYYY-MM-DD HH:MM:SS+00' | --point NAME | --end-of-backup]
#
# Without a time: everything that is in the archive. With one: the newest backup that had ended by then, and what was committed up to
# it. A time that names no zone is in UTC, as the names of backups are, whatever the server's zone is. DIR must be empty or not be there.
# Run it as the server's user, or as root (PG_USER).
# Nothing is started: start the server on DIR as usual. It recovers up to the wanted point and then takes writes.
# The keys are in no backup: put ASSET_LEDGER_CREDENTIALS_KEY, the ring of state keys and credentials.json back yourself.
set -eu
. "$(dirname "$0")/common.sh"
umask 077
into='' backup='' target='' instant='' day='[0-9]{4}-[0-9]{2}-[0-9]{2}' clock='[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?'

# Two ends would be the last of them, without a word: a state later than the wanted one.
end_at() {
  [ -z "$target" ] || fail "more than one end is named: $target, $1" "name one"
  target=$1
}

# read_time TEXT: PostgreSQL is given the instant in UTC, so that neither the server's zone nor its reading of dates has a say.
read_time() {
  echo "$1" | grep -Eqx "$day[ T]$clock ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)?" && instant=$(date -u -d "$1" +%s.%N 2>/dev/null) ||
    fail "--time: '$1' is no time" "write it as '2026-11-22 09:30:00+00', with the zone's hours ahead of UTC; without them it is UTC"
  time=$(date -u -d "@$instant" '+%Y-%m-%d %H:%M:%S.%6N+00')
  end_at "recovery_target_time = '$time'"
  case $1 in *Z | *UTC | *:*[+-]*) ;; *) say "--time names no zone, UTC counts: $time" ;; esac
}

while [ $# -gt 0 ]; do
  option=$1
  shift
  if [ "$option" = --end-of-backup ]; then
    end_at "recovery_target = 'immediate'"
    continue
  fi
  [ $# -gt 0 ] || fail "$option lacks its value" "see the first lines of $0"
  case $1 in *\'* | *\\*) fail "$option: quotes and backslashes do not belong in it" "see the first lines of $0" ;; esac
  case $option in
    --into) into=$1 ;;
    --backup) backup=$1 ;;
    --time) read_time "$1" ;;
    --point) end_at "recovery_target_name = '$1'" ;;
    *) fail "$option is no option" "see the first lines of $0" ;;
  esac
  shift
done

[ -n "$into" ] || fail "nobody says where to" "--into DIR, an empty folder on a disk with room"
need postgres pg_verifybackup
[ -n "$(newest_backup)$backup" ] ||
  fail "there is no finished backup in $backups/base" "name one with --backup, or the right folder in ASSET_LEDGER_BACKUPS"
# from a backup of a later time PostgreSQL would come up with that later state, without a word
backup=${backup:-$(newest_backup "$instant")}
[ -n "$backup" ] ||
  fail "no backup in $backups/base had ended by $time; the oldest ended at $(ended "$(finished_backups | head -n 1)")" \
    "take a time after that, or name an older backup with --backup, if a copy of one is elsewhere"
[ -f "$backup/backup_manifest" ] ||
  fail "$backup is no finished backup: it has no manifest" "name another of $backups/base"
[ -z "$instant" ] || ended_by "$backup" "$instant" ||
  fail "$backup ended at $(ended "$backup"), after $time: nothing from before its end can be had from it" \
    "leave --backup out, then the newest that had ended is taken. The end is when backup_manifest was written: copy backups with their times"
[ -z "$(ls -A "$into" 2>/dev/null)" ] || fail "$into is not empty" "move what is in it away; it may be all that is left"
theirs=$(cat "$backup/PG_VERSION")
ours=$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
[ "$theirs" = "$ours" ] ||
  fail "the backup is of PostgreSQL $theirs, the programs in $bin are of $ours" "name the folder of PostgreSQL $theirs in PG_BIN"
"$bin/pg_verifybackup" -q "$backup" ||
  fail "$backup is damaged" "take an older one with --backup; the WAL since it is kept as well"
# PostgreSQL takes a gap for the archive's end, and would come up without a word about what is missing
gap=$("$(dirname "$0")/wal-gap.sh" "$backups/wal" "$(first_segment "$backup")" "$(last_place "$backup")")
[ -z "$gap" ] || [ "$target" = "recovery_target = 'immediate'" ] ||
  fail "the WAL archive $backups/wal lacks $gap and has what came after it: recovery would end there, or take another way" \
    "look for it in the server's pg_wal and in copies of the archive; to do without what came after: --end-of-backup"
# PostgreSQL knows that it has come to a time by a commit after it, and without one does not come up
[ -z "$instant" ] || [ -n "$(find "$backups/wal" -name '????????????????????????' -newermt "@$instant" -print -quit)" ] ||
  fail "no WAL file has come to $backups/wal since $time: the archive ends before it" \
    "if the server runs yet, stop it; if its pg_wal is left, archive what is in it; else leave --time out: all that is in the archive is older"

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
[ -z "$instant" ] ||
  say "should it end with 'recovery ended before configured recovery target was reached', the archive has no commit after that time:" \
    "take recovery_target_time out of $into/postgresql.auto.conf and start it again, it then has the state of that time"

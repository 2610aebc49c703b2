#!/bin/sh
# Print the first file that an archive lacks on the way that recovery takes from a backup on, while it has what came after; nothing
# if none is. Ends with 1, and says why, if no way leads on from the backup.
#
#   wal-gap.sh ARCHIVE FIRST END    the WAL file that the backup begins with, the place in the WAL (high/low) that it ends at
#
# The way is that of recovery_target_timeline = 'latest', PostgreSQL's default: timelines are counted up from the backup's while
# there is a .history of the next; that of the last one says where each timeline before it was left. The file in which one was left
# is read from the next one.
# A name is a timeline, a log and a segment, eight hexadecimal digits each; with segments of 16 MiB, the usual, a log has 256.
set -eu
LC_ALL=C
archive=$1 first=$2 end=$3

number() {
  log=${1#????????}
  echo $((0x${log%????????} * 256 + 0x${log#????????}))
}
name() {
  printf '%08X%08X%08X' "$1" $(($2 / 256)) $(($2 % 256))
}
place() {
  echo $(((0x${1%/*} << 32) + 0x${1#*/}))
}
lacks() {
  echo "$1"
  exit 0
}

timeline=$((0x${first%????????????????}))
expected=$(number "$first")
newest=$timeline
while [ -e "$archive/$(printf %08X $((newest + 1))).history" ]; do newest=$((newest + 1)); done
for each in "$archive"/???????????????????????? "$archive"/????????.history; do
  each=${each##*/}
  each=${each%.history}
  case $each in *[!0-9A-F]*) continue ;; esac
  # recovery would not learn of this timeline
  [ $((0x${each%????????????????})) -le "$newest" ] || lacks "$(printf %08X $((newest + 1))).history"
done

if [ "$newest" != "$timeline" ]; then
  history=$archive/$(printf %08X "$newest").history
  child=''
  while read -r parent left _; do
    case $parent in '' | *[!0-9]*) continue ;; esac
    [ "$parent" -ge "$timeline" ] || continue
    # the first that counts is the backup's own
    [ -n "$child" ] || [ "$parent" != "$timeline" ] || [ "$(place "$left")" -lt "$(place "$end")" ] || child=yes
    [ -n "$child" ] || break
    upto=$(($(place "$left") / 16777216))
    while [ "$expected" -lt "$upto" ]; do
      [ -e "$archive/$(name "$parent" "$expected")" ] || lacks "$(name "$parent" "$expected")"
      expected=$((expected + 1))
    done
    before="${before:-} $parent"
  done <"$history"
  [ -n "$child" ] || {
    echo "error: the backup is of timeline $timeline, which an earlier restore left before the backup's end ($end)" >&2
    echo "next:  name another with --backup: one that ended before the time of that restore, or one made after it" >&2
    exit 1
  }
fi

# without the file in which the last timeline begins, recovery would go on on the one that was left, if that has it
for parent in ${before:-}; do
  [ ! -e "$archive/$(name "$parent" "$expected")" ] || [ -e "$archive/$(name "$newest" "$expected")" ] || lacks "$(name "$newest" "$expected")"
done
for each in "$archive/$(printf %08X "$newest")"????????????????; do
  each=${each##*/}
  case $each in *[!0-9A-F]*) continue ;; esac
  here=$(number "$each")
  [ "$here" -ge "$expected" ] || continue
  [ "$here" -eq "$expected" ] || lacks "$(name "$newest" "$expected")"
  expected=$((expected + 1))
done

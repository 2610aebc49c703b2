#!/bin/sh
# Print the first WAL file that an archive lacks between a file and the newest of the same timeline; nothing if none is.
#
#   wal-gap.sh ARCHIVE FIRST
#
# A name is a timeline, a log and a segment, eight hexadecimal digits each; with segments of 16 MiB, the usual, a log has 256.
set -eu
timeline=$(echo "$2" | cut -c1-8)
number() {
  echo $((0x$(echo "$1" | cut -c9-16) * 256 + 0x$(echo "$1" | cut -c17-24)))
}
expected=$(number "$2")
# shellcheck disable=SC2010 # names are filtered to what WAL files are called
ls "$1" | grep -E "^$timeline[0-9A-F]{16}\$" | sort | while read -r name; do
  here=$(number "$name")
  [ "$here" -ge "$expected" ] || continue
  if [ "$here" -gt "$expected" ]; then
    printf '%s%08X%08X\n' "$timeline" $((expected / 256)) $((expected % 256))
    break
  fi
  expected=$((expected + 1))
done

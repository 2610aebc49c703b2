#!/bin/sh
# PostgreSQL's archive_command: archive_command = '/opt/asset-ledger/deploy/backup/archive-wal.sh "%p" "%f"'
# Puts a WAL file into $ASSET_LEDGER_BACKUPS/wal, whole and on disk, or fails: the server then keeps it and tries again.
# A file of the same name is never written over; the same content twice is no mistake (the server may ask twice).
set -eu
folder="${ASSET_LEDGER_BACKUPS:-/var/backups/asset-ledger}/wal"
from=$1 name=$2

fail() {
  echo "archive-wal: $name: $1" >&2
  exit 1
}

[ -d "$folder" ] || fail "there is no folder $folder: is the backup disk mounted? Make it once, for the server's user"
if [ -e "$folder/$name" ]; then
  cmp -s "$from" "$folder/$name" && exit 0
  fail "$folder has another file of this name: two servers must not share an archive. Give each its own"
fi
part="$folder/.$name.part"
trap 'rm -f "$part"' EXIT
cp "$from" "$part" || fail "it cannot be copied to $folder"
sync "$part" || fail "it cannot be brought onto the disk of $folder"
mv "$part" "$folder/$name"
sync "$folder"

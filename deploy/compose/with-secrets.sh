#!/bin/sh
# Run a command with secrets from files: for every variable NAME_FILE, NAME is what that file holds, without its last newline.
# ASSET_LEDGER_DATABASE_PASSWORD, if there is one, is put into ASSET_LEDGER_DATABASE_URL in the place of the word PASSWORD, and
# ASSET_LEDGER_REDIS_PASSWORD into the URLs of Redis: so a secret's file holds the password alone, signs and all.
set -eu

for name in $(env | sed -n 's/^\(ASSET_LEDGER_[A-Z_]*\)_FILE=.*/\1/p'); do
  eval "file=\$${name}_FILE"
  [ -r "$file" ] || {
    echo "error: $name is to be read from $file, which is not there or closed to uid $(id -u)" >&2
    echo "next:  make the secret's file, readable by that user alone" >&2
    exit 1
  }
  value=$(cat "$file")
  [ -n "$value" ] || {
    echo "error: $file is empty, and $name is to be read from it" >&2
    echo "next:  put the secret into it" >&2
    exit 1
  }
  export "$name=$value"
  unset "${name}_FILE"
done

# every sign that means something in a URL, as %XX
encoded() {
  printf '%s' "$1" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g'
}

filled() { # NAME_OF_THE_URL PASSWORD
  eval "url=\${$1:-}"
  case $url in
    *:PASSWORD@*) export "$1=${url%%:PASSWORD@*}:$(encoded "$2")@${url#*:PASSWORD@}" ;;
  esac
}

if [ -n "${ASSET_LEDGER_DATABASE_PASSWORD:-}" ]; then
  filled ASSET_LEDGER_DATABASE_URL "$ASSET_LEDGER_DATABASE_PASSWORD"
  filled ASSET_LEDGER_DAGSTER_DATABASE_URL "$ASSET_LEDGER_DATABASE_PASSWORD"
  unset ASSET_LEDGER_DATABASE_PASSWORD
fi
if [ -n "${ASSET_LEDGER_REDIS_PASSWORD:-}" ]; then
  for url_of in ASSET_LEDGER_REDIS_URL ASSET_LEDGER_CELERY_BROKER ASSET_LEDGER_CELERY_BACKEND; do
    filled "$url_of" "$ASSET_LEDGER_REDIS_PASSWORD"
  done
  unset ASSET_LEDGER_REDIS_PASSWORD
fi
exec "$@"

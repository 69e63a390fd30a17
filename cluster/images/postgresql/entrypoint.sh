#!/bin/sh
# Makes the database cluster at the first start, then becomes the server. Arguments go to the server.
#   POSTGRES_PASSWORD_FILE  file with the password of the user postgres (needed at the first start)
#   POSTGRES_DB             name of a database to make at the first start
#   TLS_CERT_FILE, TLS_KEY_FILE  switch TLS on and allow nothing else over the network
set -eu
: "${POSTGRES_DB:=postgres}"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD_FILE:?names no file with the password of the user postgres}"
  # Built beside and moved when complete: a start that is killed half-way begins anew.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" \
    --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  if [ "$POSTGRES_DB" != postgres ]; then
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$PGDATA.new" postgres
  fi
  kind=host
  if [ -n "${TLS_CERT_FILE:-}" ]; then kind=hostssl; fi
  printf 'local all all peer\n%s all all all scram-sha-256\n' "$kind" > "$PGDATA.new/pg_hba.conf"
  mv "$PGDATA.new" "$PGDATA"
fi
set -- -D "$PGDATA" -c "listen_addresses=*" "$@"
if [ -n "${TLS_CERT_FILE:-}" ]; then
  set -- "$@" -c ssl=on -c "ssl_cert_file=$TLS_CERT_FILE" -c "ssl_key_file=$TLS_KEY_FILE"
fi
exec postgres "$@"

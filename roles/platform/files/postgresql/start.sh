#!/bin/sh
# Makes the cluster once, then becomes the server. Works with every image that holds PostgreSQL's programs.
set -eu
for programs in /usr/lib/postgresql/*/bin; do
  if [ -d "$programs" ]; then PATH="$programs:$PATH"; fi
done
export PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Built beside and moved when complete: a start that is killed half-way begins anew.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --pwfile=/etc/barberpro/admin/password \
    --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  echo "CREATE DATABASE \"$BARBERPRO_DATABASE\"" | postgres --single -D "$PGDATA.new" postgres
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/barberpro/postgresql/postgresql.conf \
  -c hba_file=/etc/barberpro/postgresql/pg_hba.conf

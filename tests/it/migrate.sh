#!/usr/bin/env bash
# soukctl migrate: what it applies, what it refuses, and that two at once are
# safe.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
it_need initdb psql
soukctl=$top_builddir/ctl/soukctl
[ -x "$soukctl" ] || it_bail "no $soukctl"

it_start_pg
cp -R "$srcdir/sql" "$IT/sql"
chmod -R u+w "$IT/sql"
export SOUK_POSTGRES_MIGRATIONS=$IT/sql
n=$(find "$IT/sql" -name '*.sql' | wc -l)

for f in "$srcdir"/sql/*.sql; do
	it_ok "${f##*/} is installed" grep -q "sql/${f##*/}" "$srcdir/Makefile.am"
done

it_eq "a dry run names every file" "$("$soukctl" migrate --dry-run 2>/dev/null)" \
	"$(ls "$IT/sql")"
it_eq "and changes nothing" "$(it_psql -c "SELECT to_regclass('product') IS NULL")" t
it_match "status of an empty database" "$("$soukctl" migrate status --json)" \
	"^\{\"applied\":0,\"pending\":$n,"

# Eight at once: each file is applied once, all of them succeed.
pids=()
for i in 1 2 3 4 5 6 7 8; do
	"$soukctl" migrate >"$IT/out.$i" 2>"$IT/err.$i" &
	pids+=($!)
done
bad=0
for p in "${pids[@]}"; do wait "$p" || bad=$((bad + 1)); done
it_eq "eight at once all succeed" "$bad" 0
it_eq "each file is applied by one of them" "$(sort "$IT"/out.*)" "$(ls "$IT/sql")"
it_eq "and recorded once" "$(it_psql -c 'SELECT count(*) FROM schema_migration')" "$n"
it_ok "the tables are there" it_psql -c 'SELECT count(*) FROM product, orders, outbox'

it_eq "again: nothing to do" "$("$soukctl" migrate 2>/dev/null)" ""
it_match "which it says" "$("$soukctl" migrate 2>&1)" 'up to date'
it_match "status tells it" "$("$soukctl" migrate status --json)" \
	"^\{\"applied\":$n,\"pending\":0,"

# A file that fails half-way leaves nothing behind.
next=$(printf %04d $((n + 1)))
printf 'CREATE TABLE half(i int);\nINSERT INTO half VALUES (1), (NULL);\nSELECT nonsense;\n' \
	>"$IT/sql/${next}_half.sql"
it_exit "a broken file: a person must act" 100 "$soukctl" migrate
it_match "the error names it and why" "$("$soukctl" migrate 2>&1)" \
	"${next}_half.sql.*nonsense"
it_eq "and leaves nothing" "$(it_psql -c "SELECT to_regclass('half') IS NULL")" t
printf 'CREATE TABLE half(i int);\nCOMMIT;\nCREATE TABLE half2(i int);\n' \
	>"$IT/sql/${next}_half.sql"
it_exit "a file with a COMMIT of its own is refused" 100 "$soukctl" migrate
it_psql -c 'DROP TABLE IF EXISTS half, half2'
printf 'CREATE TABLE half(i int);\n' >"$IT/sql/${next}_half.sql"
it_eq "put right, it is applied" "$("$soukctl" migrate 2>/dev/null)" "${next}_half.sql"

# What does not fit is refused, with words.
echo '-- more' >>"$IT/sql/0001_catalog.sql"
it_exit "a changed file is refused" 100 "$soukctl" migrate
it_match "and named" "$("$soukctl" migrate status 2>&1)" '0001_catalog.sql is not the file'
cp "$srcdir/sql/0001_catalog.sql" "$IT/sql/"
mv "$IT/sql/${next}_half.sql" "$IT/"
it_exit "a database newer than the program is refused" 100 "$soukctl" migrate
it_match "with what to do" "$("$soukctl" migrate 2>&1)" 'install the newer souk'
mv "$IT/${next}_half.sql" "$IT/sql/"
mv "$IT/sql/0002_people.sql" "$IT/"
it_exit "a missing file is refused" 100 "$soukctl" migrate
mv "$IT/0002_people.sql" "$IT/sql/"
touch "$IT/sql/notes.sql"
it_exit "a name that is no migration's is refused" 100 "$soukctl" migrate
rm "$IT/sql/notes.sql"

# Somebody else holds the lock: said, waited for, given up.
PGAPPNAME=other psql -XAtq "$DATABASE_URL" -c BEGIN \
	-c 'SELECT pg_advisory_xact_lock(1936684395, 1935894629)' \
	-c 'SELECT pg_sleep(4)' \
	>"$IT/held" 2>&1 &
holder=$!
it_wait_for 5 eval "[ \$(it_psql -c \"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'\") = 1 ]"
out=$("$soukctl" migrate --wait 1 2>&1)
it_eq "another one at it: try again later" $? 111
it_match "who it is, is said" "$out" 'process [0-9]+ \(other of souk'
wait "$holder"
it_ok "then it goes on" "$soukctl" migrate

# A table in use does not hang it for ever, and a failure changes nothing.
last=$(printf %04d $((n + 2)))
echo 'ALTER TABLE half ADD COLUMN j int;' >"$IT/sql/${last}_more.sql"
psql -XAtq "$DATABASE_URL" -c "BEGIN; LOCK TABLE half; SELECT pg_sleep(5)" \
	>/dev/null 2>&1 &
holder=$!
it_wait_for 5 eval "[ \$(it_psql -c \"SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = relation WHERE relname = 'half'\") = 1 ]"
it_exit "a table in use: try again" 111 "$soukctl" migrate --wait 0
it_ok "waited for, it is applied" "$soukctl" migrate --wait 30
wait "$holder"

it_exit "no such database: a person must act" 100 env \
	DATABASE_URL="$(it_pg_url "$PGPORT_MAIN" | sed s,/souk?,/nosuch?,)" \
	"$soukctl" migrate
it_match "which is told what to do" "$(DATABASE_URL=$(it_pg_url "$PGPORT_MAIN" |
	sed s,/souk?,/nosuch?,) "$soukctl" migrate 2>&1)" 'createdb'
# Through PgBouncer in transaction mode the lock holds too.
if command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; then
	it_port bouncer
	it_mkdir "$IT/bouncer"
	it_psql -U postgres -c 'CREATE DATABASE pooled OWNER souk'
	printf '"souk" ""\n' >"$IT/bouncer/users"
	cat >"$IT/bouncer/ini" <<-INI
		[databases]
		pooled = host=$IT/pg port=$PGPORT_MAIN dbname=pooled
		[pgbouncer]
		listen_addr = 127.0.0.1
		listen_port = $bouncer
		auth_type = trust
		auth_file = $IT/bouncer/users
		pool_mode = transaction
		default_pool_size = 3
		unix_socket_dir =
	INI
	it_spawn pgbouncer INT "${IT_AS[@]+"${IT_AS[@]}"}" \
		"$(command -v pgbouncer || echo /usr/sbin/pgbouncer)" "$IT/bouncer/ini"
	it_wait_for 10 it_open_port "$bouncer" || it_bail "pgbouncer did not start"
	pids=() bad=0
	for i in 1 2 3 4 5 6; do
		DATABASE_URL=postgresql://souk@127.0.0.1:$bouncer/pooled \
			SOUK_POSTGRES_POOLER=transaction \
			SOUK_POSTGRES_MIGRATIONS=$srcdir/sql \
			"$soukctl" migrate >"$IT/pooled.$i" 2>&1 &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || bad=$((bad + 1)); done
	it_eq "six at once through a pooler of three" "$bad" 0
	it_eq "apply each file once" \
		"$(cat "$IT"/pooled.* | grep -c '^[0-9].*sql$')" \
		"$(find "$srcdir/sql" -name '*.sql' | wc -l)"
else
	it_skip "through PgBouncer" "pgbouncer is not installed"
fi

it_stop pg
it_exit "PostgreSQL away: try again" 111 "$soukctl" migrate
it_summary

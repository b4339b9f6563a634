#!/usr/bin/env bash
# Redis's KEYS walks all that it holds while everybody waits: never used. (In
# a script KEYS[1] is its first key, and welcome.)
cd "${srcdir:-.}" || exit 99
found=$(grep -rnE "[\"']KEYS[\"']" --include='*.[ch]' --exclude-dir=tests .)
if [ -n "$found" ]; then
	printf 'KEYS is used:\n%s\n' "$found"
	exit 1
fi

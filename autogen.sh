#!/bin/sh
# Make ./configure out of configure.ac; needed in a git checkout only.
set -e
cd "$(dirname "$0")"
for tool in autoreconf automake pkg-config; do
  command -v "$tool" >/dev/null 2>&1 || {
    echo "autogen.sh: $tool is missing: apt-get install autoconf automake pkg-config" >&2
    exit 1
  }
done
mkdir -p m4 build-aux
exec autoreconf --install --force --warnings=all,no-obsolete

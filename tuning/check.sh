#!/bin/sh
# Looks whether this host suits a node: `ringcask doctor`, with its options. Changes nothing. Exit code: that of
# doctor (0: fine, 1: warnings, 2: errors), 127 if there is no ringcask.
set -u

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
for ringcask in "${RINGCASK:-}" "$HERE/../target/release/ringcask" "$(command -v ringcask)"; do
    if [ -n "$ringcask" ] && [ -x "$ringcask" ]; then
        exec "$ringcask" doctor "$@"
    fi
done
echo "check.sh: no ringcask in PATH; install it, or name it with RINGCASK=/path/to/ringcask" >&2
exit 127

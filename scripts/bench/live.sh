#!/bin/sh
# How long a mounted filesystem is frozen for a live backup while it is written, and whether what comes back is whole:
# live.sh fio [ROUNDS] [MIB_A_SECOND...] | live.sh postgres [ROUNDS] [GIB]. Needs root, fio or PostgreSQL with pgbench and amcheck, and
# icecore in ICECORE.
set -eu
cd "$(dirname "$0")/../.."
ICECORE=${ICECORE:-$PWD/target/release/icecore}
[ -x "$ICECORE" ] || { echo "live: $ICECORE is missing; 'make build' makes it"; exit 1; }
exec python3 scripts/bench/live.py "$ICECORE" "$@"

#!/bin/sh
# What the change tracker costs writers: fio's 4 KiB random writes with and without it, in turns, on a loop device over tmpfs and on
# zram, both extremes; then the time of each program. tracker.sh [ROUNDS] [SECONDS]. Needs root, fio, and icecore in ICECORE.
set -eu
cd "$(dirname "$0")/../.."
ICECORE=${ICECORE:-target/release/icecore}
[ -x "$ICECORE" ] || { echo "tracker: $ICECORE is missing; 'make build' makes it"; exit 1; }
exec python3 scripts/bench/tracker.py "$ICECORE" "${1:-5}" "${2:-4}"

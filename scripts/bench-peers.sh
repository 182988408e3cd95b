#!/usr/bin/env bash
# Measures icecore beside restic, borg and dd | lz4 on one ext4 volume, in one run: bench-peers.sh [GIB] [REPETITIONS] [SEED].
# The repository is on tmpfs, the volume behind a loop device with direct I/O; caches are dropped before every step. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

gib=${1:-${BENCH_GIB:-4}} repetitions=${2:-${BENCH_REPETITIONS:-3}} seed=${3:-${BENCH_SEED:-1}}
[ "$(id -u)" -eq 0 ] || { echo "bench-peers: must run as root: it needs loop devices and drops caches"; exit 1; }
for tool in restic borg lz4 fio losetup mkfs.ext4 python3; do
    command -v "$tool" >/dev/null || { echo "bench-peers: $tool is missing; 'make setup' and scripts/setup.sh peers install it"; exit 1; }
done

work=$(mktemp -d /var/tmp/icecore-bench.XXXXXX)
repositories=$(mktemp -d /dev/shm/icecore-bench.XXXXXX)
cleanup() {
    mountpoint -q "$work/mnt" && umount "$work/mnt"
    losetup -j "$work/base.img" | cut -d: -f1 | xargs -r losetup -d
    losetup -j "$work/changed.img" | cut -d: -f1 | xargs -r losetup -d
    rm -rf "$work" "$repositories"
}
trap cleanup EXIT

echo "bench-peers: making a volume of $gib GiB, 55 % full, seed $seed"
python3 scripts/bench/volume.py make "$work" "$gib" "$seed"
python3 scripts/bench/volume.py change "$work" "$seed"
python3 scripts/bench/compare.py "$work" "$repositories" "$repetitions"

#!/bin/sh
# What backing up a tree of small files costs beside restic and cp -a, in one run: FILES files below WORK, on an ext4 behind a loop
# device; repositories and copies in STORE; caches dropped before each step. Needs root, restic, and target/release/icecore.
set -eu
WORK=${WORK:-/var/tmp/icecore-trees}
STORE=${STORE:-/dev/shm/icecore-trees}
FILES=${FILES:-100000}
REPETITIONS=${REPETITIONS:-3}
here=$(dirname "$0")
for tool in restic mkfs.ext4 python3; do
    command -v "$tool" >/dev/null || { echo "trees: $tool is missing; scripts/setup.sh test peers installs it"; exit 1; }
done
mkdir -p "$WORK/mnt" "$STORE"
cleanup() {
    umount "$WORK/mnt" 2>/dev/null || true
    rm -rf "$WORK" "$STORE"
}
trap cleanup EXIT
truncate -s $((2 + FILES / 100000))G "$WORK/image"
mkfs.ext4 -q -F -m 0 -N $((FILES + FILES / 4 + 10000)) "$WORK/image"
mount -o loop "$WORK/image" "$WORK/mnt"
python3 "$here/trees.py" "$WORK/mnt" "$STORE" "$FILES" "$REPETITIONS"

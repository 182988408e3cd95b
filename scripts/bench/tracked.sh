#!/bin/sh
# What an increment costs when the kernel tracked what was written: tracked.sh peers [GIB] [ROUNDS] [SEED] | tracked.sh sparse [TIB] [ROUNDS].
# 'peers' changes about 1 % of an ext4 volume in each round and backs it up with icecore, restic and borg; 'sparse' writes 1 GiB to an
# ext4 volume of that size. Repositories are on tmpfs; caches are dropped before every step. Needs root, restic and borg.
set -eu
cd "$(dirname "$0")/../.."
for tool in restic borg losetup mkfs.ext4 python3; do
    command -v "$tool" >/dev/null || { echo "tracked: $tool is missing; scripts/setup.sh test peers installs it"; exit 1; }
done
exec python3 scripts/bench/tracked.py "$@"

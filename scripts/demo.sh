#!/usr/bin/env bash
# The main job on real input, in a temporary folder: protect an ext4 volume, change it, protect it again, lose it, get it back.
set -euo pipefail
cd "$(dirname "$0")/.."

icecore=$PWD/target/release/icecore
size_mib=${ICECORE_DEMO_MIB:-512}
work=$(mktemp -d "${TMPDIR:-/tmp}/icecore-demo.XXXXXX")
mount=$work/mnt
export ICECORE_REPO=$work/repository ICECORE_KEY_FILE=$work/key
unset ICECORE_PASSPHRASE

cleanup() {
    mountpoint -q "$mount" 2>/dev/null && umount "$mount"
    rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '$ icecore %s\n' "$*"; "$icecore" "$@"; }

# As root the kernel itself writes the files, through a loop mount; otherwise debugfs writes them into the image.
with_kernel() { [ "$(id -u)" -eq 0 ] && [ -e /dev/loop-control ] && mount -o loop "$volume" "$mount" 2>/dev/null; }

volume=$work/volume.img
mkdir "$mount"

say "A real ext4 volume of $size_mib MiB with real files"
truncate -s "${size_mib}M" "$volume"
# The files that every Debian has: documentation, and enough of the libraries to matter.
source=$work/files
mkdir "$source"
cp -r /usr/share/doc "$source/doc" 2>/dev/null || true
mkdir "$source/lib"
find /usr/lib /usr/bin -xdev -type f -size +64k -size -8M 2>/dev/null | head -80 | xargs -r cp -t "$source/lib" 2>/dev/null || true
mkfs.ext4 -q -F -d "$source" "$volume"
du -sh "$source" | awk '{ print $1 " of files in it" }'

say "Protect it"
run init
run backup "$volume" --volume demo --pace full

say "Change it: a new file, a changed one, a deleted one"
if with_kernel; then
    echo "(through the kernel, loop mounted)"
    head -c 3000000 /dev/urandom >"$mount/new.bin"
    first=$(find "$mount/lib" -type f -print -quit)
    dd if=/dev/urandom of="$first" bs=4k count=16 seek=2 conv=notrunc status=none
    find "$mount/doc" -type f -size +8k -print -quit | xargs -r rm -f
    umount "$mount"
else
    echo "(through debugfs, since this is not root or cannot mount)"
    head -c 3000000 /dev/urandom >"$work/new.bin"
    debugfs -w -R "write $work/new.bin new.bin" "$volume" >/dev/null 2>&1
    debugfs -w -R "rm lib/$(find "$source/lib" -type f -printf '%f' -quit)" "$volume" >/dev/null 2>&1
fi
before=$(sha256sum <"$volume" | cut -d' ' -f1)

say "Protect it again: only what changed is stored"
run backup "$volume" --volume demo --pace full
run points
first_point=$("$icecore" points --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["points"][0]["id"])' 2>/dev/null || true)
if [ -n "$first_point" ]; then
    run diff "$first_point" demo@latest | tail -3
fi

say "Lose it: 64 MiB in the middle are overwritten"
dd if=/dev/urandom of="$volume" bs=1M count=64 seek=$((size_mib / 3)) conv=notrunc status=none
echo "SHA-256 before  $before"
echo "SHA-256 damaged $(sha256sum <"$volume" | cut -d' ' -f1)"

say "Get it back: into a new file, and over the damaged one where it differs"
run restore demo@latest --to "$work/restored.img"
run restore demo@latest --to "$volume" --only-differences --force --verify

say "Proof"
for file in "$work/restored.img" "$volume"; do
    after=$(sha256sum <"$file" | cut -d' ' -f1)
    echo "SHA-256 $(basename "$file") $after"
    [ "$after" = "$before" ] || { echo "NOT EQUAL: the demo failed"; exit 1; }
done
e2fsck -fn "$work/restored.img" >/dev/null 2>&1 && echo "e2fsck finds the restored file system clean"
run check --deep
echo
echo "Both are equal to the volume as it was. Everything is cleaned up now."

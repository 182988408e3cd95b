#!/bin/sh
# What file catalogs cost and how quickly files are found: an ext4 image of FILES small files in FOLDERS folders, POINTS backups with a
# hundred changes between them. Needs root, and 3 GiB in WORK. Prints one line a number.
set -eu
WORK=${WORK:-/var/tmp/icecore-find}
FILES=${FILES:-1000000}
POINTS=${POINTS:-30}
here=$(dirname "$0")
rm -rf "$WORK/auto" "$WORK/off" "$WORK/index"
mkdir -p "$WORK/mount"
if [ ! -e "$WORK/image" ]; then
    truncate -s 4G "$WORK/image"
    mkfs.ext4 -q -F -m 0 -N $((FILES + FILES / 5)) "$WORK/image"
    mount -o loop,noatime "$WORK/image" "$WORK/mount"
    python3 "$here/files.py" fill "$WORK/mount" "$FILES"
    umount "$WORK/mount"
fi
python3 "$here/find.py" "$WORK/image" "$WORK" "$POINTS"

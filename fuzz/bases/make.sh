#!/usr/bin/env bash
# Makes the base images that the fuzz targets lay their bytes over, and the list of where each target may lay them. As root.
#
# Each image is a small file system that was filled by a mount, compressed whole: zeros cost nothing. The dirty ones were shut down
# (xfs_io -c shutdown) while their journal or log held changes. `regions.txt` has lines of: base, target, first byte, length.
# The images differ from run to run (times, UUIDs of the log), so the corpora are written anew after this has run: see CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
mount="$work/mount"
mkdir "$mount"
trap 'mountpoint -q "$mount" && umount "$mount"; rm -rf "$work"' EXIT
rm -f ./*.img.zst
: >regions.txt

image() { echo "$work/$1.img"; }

# repeat WORD BYTES: content that compresses well.
repeat() { python3 -c 'import sys; word = sys.argv[1] + "\n"; sys.stdout.write((word * int(sys.argv[2]))[: int(sys.argv[2])])' "$@"; }

# Files of each kind whose map, names and attributes do not fit into an inode.
fill() {
    local at=$1
    mkdir -p "$at/names" "$at/deep/er/still" "$at/gone"
    for number in $(seq 120); do : >"$at/names/$number-$(printf 'n%.0s' $(seq $((number % 60))))"; done
    for number in $(seq 12); do mkdir "$at/gone/$number"; done
    repeat fragments 300000 >"$at/fragments"
    for number in $(seq 0 2 290); do fallocate -p -o $((number * 1024)) -l 1024 "$at/fragments" 2>/dev/null || true; done
    truncate -s 100M "$at/sparse"
    printf end | dd of="$at/sparse" bs=1 seek=90000000 conv=notrunc status=none
    fallocate -l 20000 "$at/reserved" 2>/dev/null || true
    printf tiny >"$at/tiny"
    repeat large 50000 >"$at/deep/er/still/large"
    ln -s tiny "$at/short"
    ln -s "$(printf 't%.0s' $(seq 700))" "$at/long"
    ln "$at/tiny" "$at/names/another"
    mknod "$at/null" c 1 3
    attributes "$at/tiny" 30
    attributes "$at/names" 500
    attributes "$at/fragments" 700
}

# Attributes of that many bytes in all, set without the tools of another package.
attributes() {
    python3 - "$1" "$2" <<'PYTHON'
import os, struct, sys
path, length = sys.argv[1], int(sys.argv[2])
os.setxattr(path, "user.a", b"v" * length)
os.setxattr(path, "user.b", b"short")
entries = [(1, 6, ~0), (2, 4, 1000), (4, 4, ~0), (16, 6, ~0), (32, 4, ~0)]
os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i & 0xFFFFFFFF) for t, p, i in entries))
PYTHON
}

# What a journal or log then holds: blocks, freed blocks, names, inodes.
change() {
    local at=$1
    rm -r "$at/gone" "$at/names/7-nnnnnnn"
    for number in $(seq 20); do repeat "later $number" $((number * 300)) >"$at/deep/later$number"; done
    mv "$at/deep/er" "$at/deep/moved"
    ln -s "$(printf 's%.0s' $(seq 300))" "$at/deep/link"
    attributes "$at/deep/later3" 600
    fallocate -p -o 4096 -l 8192 "$at/deep/moved/still/large" 2>/dev/null || true
    sync -f "$at"
    rm "$at/deep/later5"
}

# make NAME BYTES MKFS...: a clean image.
make() {
    local name=$1 bytes=$2
    shift 2
    truncate -s "$bytes" "$(image "$name")"
    "$@" "$(image "$name")" >/dev/null
    mount -o loop "$(image "$name")" "$mount"
    fill "$mount"
    umount "$mount"
}

# What mkfs itself fills version 4 of XFS with, which kernels no longer mount.
prototype() {
    local number
    repeat large 50000 >"$work/large"
    printf '/dev/null\n0 0\nd--755 0 0\nnames d--755 0 0\n'
    for number in $(seq 120); do echo "$number-$(printf 'n%.0s' $(seq $((number % 60)))) ---644 0 0 /dev/null"; done
    printf '$\nfragments ---644 0 0 %s\nsparse ---644 0 0 %s\ntiny ---644 0 0 /dev/null\n' "$work/large" "$work/large"
    printf 'null c--644 0 0 1 3\nlong l--777 0 0 %s\nshort l--777 0 0 tiny\n$\n' "$(printf 't%.0s' $(seq 700))"
}

# The same image with changes that only the journal has.
dirty() {
    cp --sparse=always "$(image "$1")" "$(image "$2")"
    mount -o loop "$(image "$2")" "$mount"
    change "$mount"
    xfs_io -x -c 'shutdown -f' "$mount"
    umount "$mount"
}

# Changes that are synced one by one, so that ext4 commits them the fast way.
fast() {
    cp --sparse=always "$(image "$1")" "$(image "$2")"
    mount -o loop "$(image "$2")" "$mount"
    printf first >"$mount/first"
    sync -f "$mount"
    for number in $(seq 12); do
        repeat "fast $number" $((number * 200)) >"$mount/deep/fast$number"
        ln "$mount/deep/fast$number" "$mount/fast link $number"
        sync "$mount/deep/fast$number"
    done
    rm "$mount/fast link 3"
    truncate -s 20000 "$mount/deep/fast4"
    fallocate -p -o 0 -l 1024 "$mount/deep/fast9"
    sync "$mount/deep/fast9" "$mount/deep/fast4"
    xfs_io -x -c shutdown "$mount"
    umount "$mount"
}

# Two disks of 1 MiB: a GPT with two partitions, and an MBR with one, and two logical ones in another.
tables() {
    python3 - "$@" <<'PYTHON'
import struct, sys, zlib
SECTORS = 2048
def mbr(*slots):
    table = b"".join(struct.pack("<B3xB3xII", 0, *slot) for slot in slots)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"
def write(path, sectors):
    disk = bytearray(SECTORS * 512)
    for sector, data in sectors.items():
        disk[sector * 512 : sector * 512 + len(data)] = data
    open(path, "wb").write(disk)
def entry(kind, first, last, name):
    return struct.pack("<16s16sQQQ72s", bytes([kind] * 16), bytes([first % 256] * 16), first, last, 0, name.encode("utf-16-le"))
entries = (entry(1, 64, 263, "first") + entry(2, 300, 699, "second")).ljust(128 * 128, b"\0")
def header(here, other, table):
    def pack(crc):
        places = (here, other, 34, SECTORS - 34)
        return struct.pack("<8sIIII4Q16sQIII", b"EFI PART", 0x10000, 92, crc, 0, *places, b"d" * 16, table, 128, 128, zlib.crc32(entries))
    return pack(zlib.crc32(pack(0)))
last = SECTORS - 1
write(sys.argv[1], {0: mbr((0xEE, 1, last)), 1: header(1, last, 2), 2: entries, last - 32: entries, last: header(last, 1, last - 32)})
chain = {300: mbr((0x83, 20, 100), (5, 300, 200)), 600: mbr((0x83, 10, 100))}
write(sys.argv[2], {0: mbr((0x83, 64, 200), (5, 300, 1500)), **chain})
PYTHON
}

region() { echo "$1 $2 $3 $4" >>regions.txt; }

# ext NAME: where things are in an image of 1 KiB blocks.
ext() {
    local name=$1 path block
    local ask=(debugfs -R)
    place() { "${ask[@]}" "imap $1" "$(image "$name")" 2>/dev/null | sed -n 's/.*located at block \([0-9]*\), offset 0x\([0-9a-f]*\).*/\1 \2/p'; }
    inode() {
        local at offset
        read -r at offset < <(place "$2")
        region "$name" "$1" $((at * 1024 + 16#$offset)) 256
    }
    blocks() { "${ask[@]}" "stat $1" "$(image "$name")" 2>/dev/null | sed -n '/^\(BLOCKS\|EXTENTS\):/,$p' | sed 1d | tr ', ' '\n\n' | sed -n "$2"; }
    region "$name" ext_superblock 1024 2048
    for path in /fragments /sparse /reserved; do
        inode ext_inode_map "$path"
        for block in $(blocks "$path" 's/^(\(ETB[0-9]*\|IND\|DIND\|TIND\)):\([0-9]*\)$/\2/p'); do region "$name" ext_inode_map $((block * 1024)) 1024; done
    done
    for path in / /names; do
        inode ext_directory "$path"
        for block in $(blocks "$path" 's/^([0-9-]*):\([0-9]*\)\(-[0-9]*\)\?$/\1/p' | head -8); do region "$name" ext_directory $((block * 1024)) 1024; done
    done
    for path in /tiny /names /fragments; do
        inode ext_attributes "$path"
        block=$("${ask[@]}" "stat $path" "$(image "$name")" 2>/dev/null | sed -n 's/.*File ACL: \([0-9]*\).*/\1/p')
        [ "$block" -eq 0 ] || region "$name" ext_attributes $((block * 1024)) 1024
    done
}

# The journal: its superblock, and the live part of its ring, or the fast commits behind the ring. Its blocks need not lie together.
journal() {
    local name=$1 target=$2 blocks fast start index wanted
    said() { dumpe2fs "$(image "$name")" 2>/dev/null | sed -n "s/^$1: *//p"; }
    blocks=$(said 'Total journal blocks') fast=$(said 'Fast commit length') start=$(said 'Journal start')
    local ring=$((blocks - ${fast:-0}))
    wanted=(0)
    if [ "$target" = ext_fast_commit ]; then
        for index in $(seq "$ring" $((blocks - 1))); do wanted+=("$index"); done
    else
        for index in $(seq 0 63); do wanted+=($(((start - 1 + index) % (ring - 1) + 1))); done
    fi
    for index in "${wanted[@]}"; do echo "bmap <8> $index"; done | debugfs -f /dev/stdin "$(image "$name")" 2>/dev/null | grep -x '[0-9]*' |
        while read -r index; do region "$name" "$target" $((index * 1024)) 1024; done
}

# xfs NAME: the same for XFS in blocks of 1 KiB whose groups are a power of two long, so that block numbers are places.
xfs() {
    local name=$1 path number start count
    local -A numbers
    for path in / fragments sparse names tiny long; do
        numbers[$path]=$(xfs_db -r -c "path /${path#/}" -c inode "$(image "$name")" 2>/dev/null | sed -n 's/.* \([0-9]*\)$/\1/p')
    done
    core() { region "$name" "$1" $(($(xfs_db -r -c "inode $2" -c daddr "$(image "$name")" | sed -n 's/.* \([0-9]*\)$/\1/p') * 512)) 512; }
    forks() {
        xfs_db -r -c "inode $2" -c "bmap $3" "$(image "$name")" | sed -n 's/.*startblock \([0-9]*\) .*count \([0-9]*\).*/\1 \2/p' | head -8 |
            while read -r start count; do region "$name" "$1" $((start * 1024)) $((count * 1024)); done
    }
    region "$name" xfs_superblock 0 2048
    for path in fragments sparse; do
        number=${numbers[$path]}
        core xfs_inode_map "$number"
        for start in $(xfs_db -r -c "inode $number" -c 'p u3.bmbt.ptrs' "$(image "$name")" | tr ' ' '\n' | sed -n 's/.*:\([0-9]*\)$/\1/p'); do
            region "$name" xfs_inode_map $((start * 1024)) 1024
        done
    done
    for path in / names; do core xfs_directory "${numbers[$path]}" && forks xfs_directory "${numbers[$path]}" -d; done
    for path in tiny names fragments; do core xfs_directory "${numbers[$path]}" && forks xfs_directory "${numbers[$path]}" -a; done
    core xfs_directory "${numbers[long]}" && forks xfs_directory "${numbers[long]}" -d
}

# The log from the tail that its last record names.
xfs_log() {
    local name=$1 start tail
    start=$(xfs_db -r -c 'sb 0' -c 'p logstart' "$(image "$name")" 2>/dev/null | sed 's/.*= //')
    tail=$(python3 - "$(image "$name")" $((start * 1024)) <<'PYTHON'
import struct, sys
with open(sys.argv[1], "rb") as image:
    image.seek(int(sys.argv[2]))
    log = image.read(4 << 20)
heads = [log[at : at + 32] for at in range(0, len(log), 512) if log[at : at + 4] == b"\xfe\xed\xba\xbe"]
print(max(struct.unpack(">QQ", head[16:32]) for head in heads)[1] & 0xFFFFFFFF)
PYTHON
    )
    region "$name" xfs_log $((start * 1024 + tail * 512)) $((128 * 1024))
}

ext4=(mkfs.ext4 -q -F -b 1024 -I 256 -N 256 -J size=1 -m 0 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard)
make ext4 4M "${ext4[@]}" -O inline_data,fast_commit
make ext4_plain 4M "${ext4[@]}" -O ^metadata_csum,^64bit,^uninit_bg
make ext2 2M mkfs.ext2 -q -F -b 1024 -I 256 -N 256 -m 0
dirty ext4 ext4_dirty
dirty ext4_plain ext4_plain_dirty
fast ext4 ext4_fast
xfs=(mkfs.xfs -q --unsupported -f -b size=1024 -d agcount=2)
make xfs 32M "${xfs[@]}" -l size=4m
dirty xfs xfs_dirty
prototype >"$work/prototype"
truncate -s 32M "$(image xfs_4)"
"${xfs[@]}" -m crc=0 -l size=4m -p "$work/prototype" "$(image xfs_4)" >/dev/null

tables "$(image gpt)" "$(image mbr)"

for name in ext4 ext4_plain ext2; do ext "$name"; done
for name in ext4_dirty ext4_plain_dirty; do journal "$name" ext_journal; done
journal ext4_fast ext_fast_commit
for name in xfs xfs_4; do xfs "$name"; done
for name in xfs_dirty; do xfs_log "$name"; done
region gpt partition_table 0 $((40 * 512))
region gpt partition_table $((1048576 - 40 * 512)) $((40 * 512))
for sector in 0 300 600; do region mbr partition_table $((sector * 512)) 512; done

for name in ext4 ext4_plain ext2 ext4_dirty ext4_plain_dirty ext4_fast xfs xfs_4 xfs_dirty gpt mbr; do
    zstd -q -19 --long=24 "$(image "$name")" -o "$name.img.zst"
done
ls -l ./*.img.zst

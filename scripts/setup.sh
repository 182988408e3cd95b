#!/usr/bin/env bash
# Installs the Debian packages that building, testing or measuring needs: setup.sh build|test|vm|peers ...
set -euo pipefail

# A C compiler is all that aws-lc-sys and zstd-sys ask for, and clang compiles the tracker's programs; everything else is Rust.
build=(gcc libc6-dev make clang)
# Real file systems on loop devices, a second opinion on LZ4, load on a live volume, object store servers for Python,
# a database that scatters its files, and what asks thin pools.
test=(e2fsprogs xfsprogs btrfs-progs fio python3-venv util-linux mount lz4 postgresql thin-provisioning-tools)
# An emulated machine with device-mapper; its kernel is downloaded, not installed.
vm=(qemu-system-x86 busybox-static kmod cpio dmsetup thin-provisioning-tools)
# What the side-by-side benchmark runs against, and on.
peers=(restic borgbackup lz4 postgresql openssl)

wanted=()
for group in "$@"; do
    case "$group" in
        build) wanted+=("${build[@]}") ;;
        test) wanted+=("${test[@]}") ;;
        vm) wanted+=("${vm[@]}") ;;
        peers) wanted+=("${peers[@]}") ;;
        *) echo "setup: no group '$group'; there are: build test vm peers" >&2; exit 2 ;;
    esac
done
if [ ${#wanted[@]} -eq 0 ]; then
    echo "setup: name at least one group: build test vm peers" >&2
    exit 2
fi

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is no Debian; install what these packages hold there: ${wanted[*]}"
    exit 0
fi

# dpkg-query fails for a name that it has never heard of, and then says nothing about it: exactly what "missing" means here.
have=$(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
    grep -qx "installed $package" <<<"$have" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "setup: missing ${missing[*]}; tests that need them are skipped. As root:"
    echo "    apt-get install --no-install-recommends ${missing[*]}"
    exit 0
fi

echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"

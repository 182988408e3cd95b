#!/usr/bin/env bash
# Runs tests/vm in an emulated machine with Debian's kernel, which has device-mapper: build, boot, run, and the tests' exit code.
#
#   test-vm.sh [arguments of the test binary]
#
# What is downloaded and unpacked lies in target/vm; nothing is installed. The machine sees the host's files read-only (9p), writes to
# its own memory and to three empty disks, and ends with the tests. It is emulated, not accelerated: ten times slower, and everywhere
# the same. Its kernel's log is target/vm/kernel.log. The exit code is 77 when there is no kernel, or no machine, to run them on.
set -euo pipefail
cd "$(dirname "$0")/.."

vm=$PWD/target/vm
# Far more than it takes on two busy cores; a machine that hangs must end.
seconds=${ICECORE_VM_SECONDS:-900}
accelerator=${ICECORE_VM_ACCELERATOR:-tcg,thread=multi}
arguments=("$@")

for program in qemu-system-x86_64 busybox cpio depmod dmsetup thin_delta; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null && continue
    echo "test-vm: NOT run: $program is missing; as root run: scripts/setup.sh test vm" >&2
    exit 77
done

# The newest kernel of this Debian, unpacked beside the last one.
fetch_kernel() {
    local package
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
    [ -n "$package" ] || { echo "test-vm: NOT run: apt knows no linux-image-amd64; run: apt-get update" >&2; exit 77; }
    kernel=$vm/$package
    release=${package#linux-image-}
    if [ ! -e "$kernel/whole" ]; then
        rm -rf "$kernel" && mkdir -p "$kernel/package"
        (cd "$kernel/package" && apt-get download -qq "$package" 2>/dev/null) ||
            { echo "test-vm: NOT run: apt cannot download $package; run: apt-get update" >&2; exit 77; }
        dpkg-deb -x "$kernel"/package/*.deb "$kernel"
        rm -r "$kernel/package"
        PATH=$PATH:/usr/sbin depmod -b "$kernel" "$release"
        touch "$kernel/whole"
    fi
}

# busybox, and the few modules that are needed until the host's files are there.
make_initramfs() {
    local root=$vm/initramfs module
    rm -rf "$root" && mkdir -p "$root"/{bin,proc,sys,dev,host,modules}
    cp "$(command -v busybox)" "$root/bin/busybox"
    cp scripts/vm/init "$root/init" && chmod +x "$root/init"
    for module in virtio_pci 9pnet_virtio 9p; do
        PATH=$PATH:/usr/sbin modprobe -d "$kernel" -S "$release" --show-depends "$module"
    done | awk '!seen[$2]++ { print $2 }' >"$vm/modules"
    xargs -a "$vm/modules" cp -t "$root/modules"
    sed 's|.*/||' "$vm/modules" >"$root/modules/order"
    write_script >"$root/tests"
    printf '%s\n' "$PWD" "$(dirname "$binary")" >"$root/needed"
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$vm/initramfs.gz"
}

# What is run inside. The tests find their binary, and the kernel's modules, where they lie on the host.
write_script() {
    printf '%q ' cd "$PWD"
    printf '\n'
    printf 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp CI=true ICECORE_VM=1 DM_DISABLE_UDEV=1 RUST_BACKTRACE=1\n'
    # For tests that need one more module.
    printf 'printf %%s %q >/run/kernel\n' "$kernel"
    printf 'for module in dm-mod dm-thin-pool dm-flakey dm-snapshot loop ext4 virtio_blk nvme; do modprobe -d %q "$module" || exit 90; done\n' "$kernel"
    printf '%q ' exec "$binary" --test-threads=1 --nocapture ${arguments[@]+"${arguments[@]}"}
    printf '\n'
}

build() {
    binary=$(cargo test --locked --features testkit --no-run --test vm --message-format=json |
        sed -n 's/.*"name":"vm".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
    [ -x "$binary" ] || { echo "test-vm: cargo built no test binary" >&2; exit 1; }
}

boot() {
    mkdir -p "$vm/disks"
    local disk
    for disk in sectors512 sectors4096 nvme; do
        rm -f "$vm/disks/$disk" && truncate -s 1G "$vm/disks/$disk"
    done
    : >"$vm/verdict"
    local drive="format=raw,if=none,cache=unsafe,discard=unmap"
    timeout --kill-after=10 "$seconds" qemu-system-x86_64 \
        -M q35 -accel "$accelerator" -cpu max -smp 2 -m 2048 -nodefaults -no-reboot -display none \
        -kernel "$kernel/boot/vmlinuz-$release" -initrd "$vm/initramfs.gz" \
        -append "console=ttyS0 panic=-1 quiet loglevel=5 mitigations=off" \
        -serial "file:$vm/kernel.log" -serial stdio -serial "file:$vm/verdict" \
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
        -drive "id=a,file=$vm/disks/sectors512,$drive" -device virtio-blk-pci,drive=a,serial=sectors512 \
        -drive "id=b,file=$vm/disks/sectors4096,$drive" \
        -device virtio-blk-pci,drive=b,serial=sectors4096,logical_block_size=4096,physical_block_size=4096 \
        -drive "id=c,file=$vm/disks/nvme,$drive" -device nvme,drive=c,serial=nvme </dev/null
    rm -rf "$vm/disks"
}

mkdir -p "$vm"
build
fetch_kernel
make_initramfs
began=$SECONDS
boot || echo "test-vm: the machine was ended after $seconds s" >&2
verdict=$(tr -d '\r\n' <"$vm/verdict")
echo "test-vm: $((SECONDS - began)) s inside the machine"
case "$verdict" in
    0) ;;
    '') echo "test-vm: the machine gave no verdict; the end of $vm/kernel.log:" >&2; tail -n 20 "$vm/kernel.log" >&2; exit 1 ;;
    *) echo "test-vm: failed: $verdict; the kernel's log is $vm/kernel.log" >&2; exit 1 ;;
esac

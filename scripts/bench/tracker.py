"""Measures writers with and without the change tracker, and the programs' own time. Started by tracker.sh."""

import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

ICECORE, ROUNDS, SECONDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SIZE = 512 << 20
STATS = "/proc/sys/kernel/bpf_stats_enabled"
BPF_OBJ_GET = 7
CALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def fio(device, depth):
    """Writes a second."""
    said = run("fio", "--name=w", f"--filename={device}", "--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=io_uring",
               f"--iodepth={depth}", "--time_based", f"--runtime={SECONDS}", "--output-format=json")
    return json.loads(said)["jobs"][0]["write"]["iops"]


class Loop:
    name, depth = "loop over tmpfs", 16

    def __enter__(self):
        self.image = tempfile.NamedTemporaryFile(dir="/dev/shm")
        self.image.truncate(SIZE)
        self.device = run("losetup", "--find", "--show", self.image.name).strip()
        return self

    def __exit__(self, *_):
        run("losetup", "--detach", self.device)
        self.image.close()


class Zram:
    name, depth = "zram", 8

    def __enter__(self):
        with open("/sys/class/zram-control/hot_add") as there:
            self.number = there.read().strip()
        with open(f"/sys/block/zram{self.number}/disksize", "w") as there:
            there.write(str(SIZE))
        self.device = f"/dev/zram{self.number}"
        return self

    def __exit__(self, *_):
        with open("/sys/class/zram-control/hot_remove", "w") as there:
            there.write(self.number)


class Tracker:
    """A tracker of its own in a private BPF file system."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(dir="/var/tmp")
        self.bpffs, self.state = f"{self.folder}/bpf", f"{self.folder}/state"
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", self.bpffs], capture_output=True)

    def track(self, *words):
        return run(ICECORE, "track", "--bpffs", self.bpffs, "--tracker-state", self.state, *words)

    def times(self):
        """Nanoseconds and runs of each program since it was loaded."""
        pins = f"{self.bpffs}/icecore/current"
        names = sorted(name for name in os.listdir(pins) if name.startswith("program_"))
        return {name[len("program_"):]: shown(f"{pins}/{name}") for name in names}


def shown(pin):
    """What the kernel shows of a pinned program."""
    path = ctypes.create_string_buffer(pin.encode())
    attributes = (ctypes.c_uint64 * 2)(ctypes.addressof(path), 0)
    fd = ctypes.CDLL(None, use_errno=True).syscall(CALL, BPF_OBJ_GET, ctypes.byref(attributes), 16)
    if fd < 0:
        raise OSError(ctypes.get_errno(), pin)
    with open(f"/proc/self/fdinfo/{fd}") as there:
        fields = dict(line.split(":", 1) for line in there)
    os.close(fd)
    return int(fields["run_time_ns"]), int(fields["run_cnt"]), int(fields["recursion_misses"])


def in_turns(kind):
    """Writes a second alone, attached but not tracked, and tracked, each round in this order."""
    rows = []
    with kind() as disk, kind() as other:
        fio(disk.device, disk.depth)
        for _ in range(ROUNDS):
            alone = fio(disk.device, disk.depth)
            with Tracker() as tracker:
                tracker.track("add", other.device)
                beside = fio(disk.device, disk.depth)
                tracker.track("add", disk.device)
                tracked = fio(disk.device, disk.depth)
                tracker.track("remove", "--all")
            rows.append((alone, beside, tracked))
            print(f"{disk.name}: alone {alone:.0f}, another disk tracked {beside:.0f}, tracked {tracked:.0f} writes/s", flush=True)
    for name, index in (("another disk tracked", 1), ("tracked", 2)):
        ratios = [row[index] / row[0] for row in rows]
        print(f"{kind.name}, {name}: {statistics.median(ratios):.3f} of alone (median of {ROUNDS}; {min(ratios):.3f} to {max(ratios):.3f})")


def programs(kind):
    """The programs' own time, by the kernel's clock around each run, which is part of it."""
    with kind() as disk, Tracker() as tracker:
        tracker.track("add", disk.device)
        before = tracker.times()
        with open(STATS, "w") as there:
            there.write("1")
        try:
            writes = fio(disk.device, disk.depth) * SECONDS
        finally:
            with open(STATS, "w") as there:
                there.write("0")
        total = 0
        for name, (time, runs, misses) in tracker.times().items():
            time, runs = time - before[name][0], runs - before[name][1]
            total += time
            if runs:
                print(f"{kind.name}: {name} {time / runs:.0f} ns a run, {runs} runs, {misses} skipped")
        print(f"{kind.name}: {total / writes:.0f} ns a write in all")
        tracker.track("remove", "--all")


for kind in (Loop, Zram):
    in_turns(kind)
    programs(kind)

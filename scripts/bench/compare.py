"""Runs every tool's steps in turn, several times, and prints medians and ratios. compare.py WORK REPOSITORIES REPETITIONS"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

WORK, REPOSITORIES, REPETITIONS = sys.argv[1], sys.argv[2], int(sys.argv[3])
ICECORE = os.path.abspath("target/release/icecore")
KEYS = {
    "ICECORE_KEY_FILE": f"{REPOSITORIES}/icecore.key", "RESTIC_PASSWORD": "x", "BORG_PASSPHRASE": "x",
    "BORG_BASE_DIR": f"{WORK}/borg", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
}
STEPS = ["init", "full", "nothing changed", "1 % changed", "1 % changed, list", "restore"]


def icecore(codec):
    backup = f"{ICECORE} backup $DEV --volume v --pace full --codec {codec} --repo $REPO"
    return {
        "init": f"{ICECORE} init $REPO --codec {codec}", "full": backup, "nothing changed": backup, "1 % changed": backup,
        "1 % changed, list": f"{backup} --changed $LIST", "restore": f"{ICECORE} restore v@latest --repo $REPO --to $OUT",
    }


RESTIC = "restic -q --no-cache -r $REPO/r"
BORG = "borg create -C lz4 --stdin-name v $REPO/r::$(date +%s%N) - < $DEV"
TOOLS = {
    "icecore": icecore("zstd"),
    "icecore lz4": icecore("lz4"),
    "restic": {
        "init": f"{RESTIC} init", "full": f"{RESTIC} backup --stdin --stdin-filename v < $DEV",
        "nothing changed": f"{RESTIC} backup --stdin --stdin-filename v < $DEV",
        "1 % changed": f"{RESTIC} backup --stdin --stdin-filename v < $DEV",
        "restore": f"{RESTIC} restore latest --sparse --target $OUT.d && mv $OUT.d/v $OUT || "
                   f"{{ {RESTIC} restore latest --target $OUT.d && mv $OUT.d/v $OUT; }}",
    },
    "borg": {
        "init": "borg init -e repokey-blake2 $REPO/r", "full": BORG, "nothing changed": BORG, "1 % changed": BORG,
        "restore": "borg extract --stdout $REPO/r::$(borg list --last 1 --short $REPO/r) > $OUT",
    },
    "dd | lz4": {
        "full": "dd if=$DEV bs=1M iflag=direct status=none | lz4 -1 -c > $REPO/full.lz4",
        "1 % changed": "dd if=$DEV bs=1M iflag=direct status=none | lz4 -1 -c > $REPO/new.lz4",
        "restore": "lz4 -dc $REPO/new.lz4 > $OUT",
    },
}


def sh(command):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout.strip()


def used(path):
    return int(sh(f"du -s -B1 {path} | cut -f1"))


def measure(command, env):
    """Wall seconds, CPU seconds and peak RSS in MiB of a command and all its children."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("3")
    start = time.monotonic()
    process = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"bench-peers: '{command}' failed: {errors.decode()[-500:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def run_tool(name, steps, base, changed, rows):
    repository = f"{REPOSITORIES}/{name.replace(' ', '').replace('|', '-')}"
    shutil.rmtree(repository, ignore_errors=True)
    os.makedirs(repository)
    for step in STEPS:
        if step not in steps:
            continue
        out = f"{WORK}/restored.img"
        for leftover in (out, f"{out}.d"):
            shutil.rmtree(leftover, ignore_errors=True)
            if os.path.exists(leftover):
                os.unlink(leftover)
        # The list names what changed since the base: a repository that has only the base is made for it.
        target = repository
        if step == "1 % changed, list":
            target = f"{repository}-list"
        env = dict(os.environ, **KEYS, DEV=base if step in ("full", "nothing changed") else changed, REPO=target, OUT=out,
                   LIST=f"{WORK}/changed.list")
        before = used(target)
        wall, cpu, rss = measure(steps[step], env)
        row = rows.setdefault((name, step), {"wall": [], "cpu": [], "rss": [], "added": []})
        for key, value in zip(("wall", "cpu", "rss", "added"), (wall, cpu, rss, (used(target) - before) / 2**20)):
            row[key].append(value)
        if step == "nothing changed" and "1 % changed, list" in steps:
            shutil.copytree(repository, f"{repository}-list", dirs_exist_ok=True)
        if step == "restore":
            if subprocess.run(["cmp", "-s", out, f"{WORK}/changed.img"], check=False).returncode:
                sys.exit(f"bench-peers: what {name} restored is not what was backed up")
            os.unlink(out)
    shutil.rmtree(f"{repository}-list", ignore_errors=True)
    row = rows.setdefault((name, "repository MiB"), {"wall": []})
    row["wall"].append(used(repository) / 2**20)
    shutil.rmtree(repository)


def fio(base):
    """What fio's io_uring engine reads from the same device, in seconds for the whole of it."""
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("3")
    result = sh(f"fio --name=x --filename={base} --readonly --rw=read --bs=256k --iodepth=16 --ioengine=io_uring --fixedbufs=1 "
                "--registerfiles=1 --nonvectored=1 --direct=1 --output-format=json")
    return json.loads(result)["jobs"][0]["read"]["runtime"] / 1000


def median(row, key):
    return statistics.median(row[key])


def report(rows, scans):
    print(f"\nmedians of {REPETITIONS}, every restore compared byte for byte with its source")
    print(f"{'step':20} {'tool':12} {'wall s':>8} {'cpu s':>8} {'RSS MiB':>8} {'added MiB':>10} {'peer/icecore wall':>18} {'cpu':>6}")
    for step in STEPS[1:]:
        for name in TOOLS:
            row = rows.get((name, step))
            if not row:
                continue
            own = rows.get(("icecore", step))
            print(f"{step:20} {name:12} {median(row, 'wall'):8.2f} {median(row, 'cpu'):8.2f} {median(row, 'rss'):8.0f} "
                  f"{median(row, 'added'):10.1f} {median(row, 'wall') / median(own, 'wall'):18.2f} "
                  f"{median(row, 'cpu') / median(own, 'cpu'):6.2f}")
    peer = min(median(rows[name, "1 % changed"], "wall") for name in ("restic", "borg"))
    print(f"change list: {peer / median(rows['icecore', '1 % changed, list'], 'wall'):.1f} times as fast as the fastest peer without one")
    print(f"fio reads the device in {statistics.median(scans):.2f} s: an unchanged scan reaches "
          f"{100 * statistics.median(scans) / median(rows['icecore', 'nothing changed'], 'wall'):.0f} % of that")
    for name in TOOLS:
        print(f"repository of {name:12} {median(rows[name, 'repository MiB'], 'wall'):8.1f} MiB")


def main():
    attach = "losetup -f --show -r --direct-io=on"
    base, changed = sh(f"{attach} {WORK}/base.img"), sh(f"{attach} {WORK}/changed.img")
    rows, scans = {}, []
    for repetition in range(REPETITIONS):
        scans.append(fio(base))
        for name, steps in TOOLS.items():
            print(f"repetition {repetition + 1}: {name}", flush=True)
            run_tool(name, steps, base, changed, rows)
    report(rows, scans)


main()

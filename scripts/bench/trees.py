"""Makes a tree of small files, and times full and incremental backups of it. trees.py TREE STORE FILES REPETITIONS"""
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

TREE, STORE, FILES, REPETITIONS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ICECORE = os.path.abspath("target/release/icecore")
A_FOLDER = 200
MEAN_BYTES = 3000
# A file that was written less than two seconds before a backup is read again by the next one.
SETTLE_SECONDS = 3


def fill():
    dice = random.Random(1)
    for folder in range(FILES // A_FOLDER):
        place = f"{TREE}/{folder % 50:02d}/{folder:05d}"
        os.makedirs(place)
        for number in range(A_FOLDER):
            write(f"{place}/{dice.randrange(10 ** 6):06d}-{number:03d}.txt", dice)
    os.sync()


def write(path, dice):
    length = int(dice.expovariate(1 / MEAN_BYTES))
    with open(path, "wb") as file:
        file.write(dice.randbytes(length // 2) + b"a" * (length - length // 2))


def change(seed):
    """One file in a hundred is written anew."""
    dice = random.Random(seed)
    folders = FILES // A_FOLDER
    for _ in range(FILES // 100):
        folder = dice.randrange(folders)
        place = f"{TREE}/{folder % 50:02d}/{folder:05d}"
        write(f"{place}/{dice.choice(sorted(os.listdir(place)))}", dice)
    os.sync()


def icecore(engine):
    backup = f"{ICECORE} -q backup --files {TREE} --volume v --pace full --engine {engine}"
    return {"init": f"{ICECORE} -q init", "full": backup, "nothing changed": backup, "1 % changed": backup}


RESTIC = f"restic -q --no-cache backup {TREE}"
TOOLS = {
    "icecore uring": icecore("uring"),
    "icecore pread": icecore("pread"),
    "restic": {"init": "restic -q --no-cache init", "full": RESTIC, "nothing changed": RESTIC, "1 % changed": RESTIC},
    "cp -a": {"full": f"cp -a {TREE} $COPY"},
}


def measure(command, env):
    """Wall seconds, CPU seconds and peak RSS in MiB."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("3")
    start = time.monotonic()
    process = subprocess.Popen(["sh", "-c", f"exec {command}"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"trees: '{command}' failed: {errors.decode()[-500:]}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def run(tool, steps, seed, rows):
    place = f"{STORE}/{tool.replace(' ', '')}"
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    env = dict(os.environ, ICECORE_REPO=f"{place}/repository", ICECORE_KEY_FILE=f"{place}/key", RESTIC_PASSWORD="x",
               RESTIC_REPOSITORY=f"{place}/repository", COPY=f"{place}/copy")
    for step, command in steps.items():
        if step == "1 % changed":
            change(seed)
            time.sleep(SETTLE_SECONDS)
        found = measure(command, env)
        if step != "init":
            rows.setdefault((step, tool), []).append(found)
    used = int(subprocess.run(["du", "-s", "-B1", place], capture_output=True, text=True, check=True).stdout.split()[0])
    rows.setdefault(("space MiB", tool), []).append((used / 2**20, 0, 0))
    shutil.rmtree(place)


def main():
    fill()
    time.sleep(SETTLE_SECONDS)
    rows = {}
    for repetition in range(REPETITIONS):
        for tool, steps in TOOLS.items():
            print(f"repetition {repetition + 1}: {tool}", flush=True)
            run(tool, steps, 100 * repetition + len(tool), rows)
    print(f"\n{FILES} files, medians of {REPETITIONS}")
    print(f"{'step':16} {'tool':14} {'wall s':>8} {'files/s':>9} {'cpu s':>8} {'RSS MiB':>8}")
    for (step, tool), found in sorted(rows.items()):
        wall, cpu, rss = (statistics.median(values) for values in zip(*found))
        if step == "space MiB":
            print(f"{step:16} {tool:14} {wall:8.0f}")
        else:
            print(f"{step:16} {tool:14} {wall:8.2f} {FILES / wall:9.0f} {cpu:8.2f} {rss:8.0f}")


main()

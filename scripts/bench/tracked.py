"""Times increments of a tracked volume. Started by tracked.sh."""
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import volume

ICECORE = os.path.abspath("target/release/icecore")
DEFAULTS = ["8" if sys.argv[1] == "peers" else "1", "3", "1"]
KIND, SIZE, ROUNDS, SEED = sys.argv[1], *(int(word) for word in (sys.argv[2:] + DEFAULTS[len(sys.argv) - 2:])[:3])


def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, **more).stdout.strip()


class Scene:
    """A loop device with direct I/O, repositories on tmpfs, and a tracker of its own."""

    def __init__(self, image):
        self.work = os.path.dirname(image)
        self.store = tempfile.mkdtemp(dir="/dev/shm", prefix="icecore-tracked.")
        self.device = run("losetup", "--find", "--show", "--direct-io=on", image)
        self.mount = f"{self.work}/mnt"
        os.makedirs(self.mount, exist_ok=True)
        self.tracking = f"--bpffs {self.work}/bpf --tracker-state {self.work}/tracking"
        self.env = dict(os.environ, ICECORE_REPO=f"{self.store}/icecore", ICECORE_KEY_FILE=f"{self.store}/key", RESTIC_PASSWORD="x",
                        RESTIC_REPOSITORY=f"{self.store}/restic", BORG_REPO=f"{self.store}/borg", BORG_PASSPHRASE="x",
                        BORG_BASE_DIR=f"{self.store}/borg-base", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.mount], capture_output=True)
        subprocess.run(f"{ICECORE} track --bpffs {self.work}/bpf --tracker-state {self.work}/tracking remove --all", shell=True,
                       capture_output=True)
        subprocess.run(["umount", "--lazy", f"{self.work}/bpf"], capture_output=True)
        subprocess.run(["losetup", "--detach", self.device], capture_output=True)
        shutil.rmtree(self.store)
        shutil.rmtree(self.work)

    def mounted(self, act):
        run("mount", "-o", "noatime", self.device, self.mount)
        try:
            act(self.mount)
        finally:
            run("umount", self.mount)

    def measure(self, command):
        """Wall seconds, CPU seconds, peak RSS in MiB, and what was said."""
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as caches:
            caches.write("3")
        start = time.monotonic()
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(["bash", "-o", "pipefail", "-c", f"exec {command}"], env=self.env, stdout=said, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - start
            if status:
                errors.seek(0)
                sys.exit(f"tracked: '{command}' failed: {errors.read().decode()[-500:]}")
            said.seek(0)
            return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said.read()


def icecore(scene, more=""):
    return f"{ICECORE} backup {scene.device} --volume v --pace full --json --track={scene.device} {scene.tracking} {more}"


def told(said):
    point = json.loads(said)["point"]
    return f"{point['change_source']}, {point['listed_bytes'] or 0} bytes said, {point['read_bytes']} read"


def same(scene):
    """The newest point is the device, byte for byte."""
    out = f"{scene.work}/restored"
    run(*f"{ICECORE} restore v@latest --to {out}".split(), env=scene.env)
    run("cmp", out, scene.device)
    os.unlink(out)


def peers():
    work = tempfile.mkdtemp(dir="/var/tmp", prefix="icecore-tracked.")
    # In a process of its own: memory that this one had would be counted as its children's.
    run(sys.executable, f"{os.path.dirname(__file__)}/volume.py", "make", work, str(SIZE), str(SEED))
    with Scene(f"{work}/base.img") as scene:
        run(ICECORE, "init", env=scene.env)
        run("restic", "-q", "init", env=scene.env)
        run("borg", "init", "-e", "repokey-blake2", env=scene.env)
        commands = {
            "icecore": icecore(scene),
            "restic": f"restic -q --no-cache backup --stdin --stdin-filename v < {scene.device}",
            "borg": f"borg create -C lz4 --stdin-name v ::$(date +%s%N) - < {scene.device}",
        }
        full = {name: scene.measure(command)[0] for name, command in commands.items()}
        print("full: " + ", ".join(f"{name} {wall:.2f} s" for name, wall in full.items()), flush=True)
        rounds = []
        for number in range(ROUNDS):
            scene.mounted(lambda mount: volume.mutate(mount, random.Random(SEED + 10 + number)))
            took = {name: scene.measure(command) for name, command in commands.items()}
            rounds.append({name: row[0] for name, row in took.items()})
            print(f"round {number + 1}: " + ", ".join(f"{name} {row[0]:.2f} s ({row[1]:.2f} s CPU, {row[2]:.0f} MiB)"
                                                     for name, row in took.items()) + f"; {told(took['icecore'][3])}", flush=True)
        same(scene)
        median = {name: statistics.median(row[name] for row in rounds) for name in commands}
        fastest = min(median["restic"], median["borg"])
        print(f"medians: icecore {median['icecore']:.2f} s, restic {median['restic']:.2f} s, borg {median['borg']:.2f} s; "
              f"{fastest / median['icecore']:.0f} times as fast as the fastest peer, {full['icecore'] / median['icecore']:.0f} times as its own full")


def sparse():
    work = tempfile.mkdtemp(dir="/var/tmp", prefix="icecore-tracked.")
    image = f"{work}/base.img"
    with open(image, "wb") as out:
        out.truncate(SIZE << 40)
    run("mkfs.ext4", "-q", "-F", image)
    with Scene(image) as scene:
        run(ICECORE, "init", env=scene.env)
        backup = icecore(scene, "--allocated auto")
        wall, _, rss, said = scene.measure(backup)
        print(f"full: {wall:.2f} s, {rss:.0f} MiB; {told(said)}", flush=True)
        for number in range(ROUNDS):
            scene.mounted(lambda mount: written(mount, number))
            wall, cpu, rss, said = scene.measure(backup)
            print(f"1 GiB written: {wall:.2f} s ({cpu:.2f} s CPU), {rss:.0f} MiB; {told(said)}", flush=True)


def written(mount, number):
    dice = random.Random(number)
    for part in range(64):
        with open(f"{mount}/{number}-{part}", "wb") as out:
            out.write(dice.randbytes(16 << 20))


if KIND == "peers":
    peers()
elif KIND == "sparse":
    sparse()
else:
    sys.exit("tracked: say peers or sparse")

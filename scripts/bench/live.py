"""Live backups of a mounted ext4 under load, each one restored and examined. Started by live.sh."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ICECORE, KIND, ROUNDS = sys.argv[1], sys.argv[2], int((sys.argv + ["", "20"])[3] or 20)
POSTGRES = "/usr/lib/postgresql"


def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, **more).stdout


class Volume:
    """An ext4 behind a loop device with direct I/O, and a repository on tmpfs."""

    def __init__(self, gib):
        self.work = pathlib.Path(tempfile.mkdtemp(dir="/var/tmp", prefix="icecore-live."))
        self.store = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm", prefix="icecore-live."))
        self.mount, self.bpffs = self.work / "mnt", self.work / "bpf"
        self.mount.mkdir()
        with open(self.work / "disk.img", "wb") as image:
            image.truncate(gib << 30)
        self.device = run("losetup", "--find", "--show", "--direct-io=on", str(self.work / "disk.img")).strip()
        run("mkfs.ext4", "-q", self.device)
        run("mount", self.device, str(self.mount))
        self.tracking = ["--bpffs", str(self.bpffs), "--tracker-state", str(self.work / "tracking")]
        self.env = dict(os.environ, ICECORE_REPO=str(self.store / "repository"), ICECORE_KEY_FILE=str(self.store / "key"))
        run(ICECORE, "init", env=self.env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for words in ([ICECORE, "track", "remove", self.device, *self.tracking], ["umount", str(self.mount)], ["losetup", "--detach", self.device],
                      ["umount", "--lazy", str(self.bpffs)]):
            subprocess.run(words, capture_output=True)
        shutil.rmtree(self.work)
        shutil.rmtree(self.store)

    def backup(self):
        words = [ICECORE, "backup", self.device, "--volume", "v", "--live", "--freeze", str(self.mount), "--pace", "full", "--json",
                 "--freeze-journal", str(self.work / "journal"), *self.tracking]
        done = subprocess.run(words, capture_output=True, text=True, env=self.env)
        if done.returncode not in (0, 3):
            sys.exit(f"live: {done.stderr}")
        return json.loads(done.stdout)

    def restored(self):
        """The newest point as an image, examined by e2fsck."""
        image = self.work / "restored.img"
        image.unlink(missing_ok=True)
        run(ICECORE, "restore", "v@latest", "--to", str(image), env=self.env)
        # What was frozen has nothing to replay: it is clean as it is.
        run("e2fsck", "-fn", str(image))
        return image

    def other(self):
        place = self.work / "other"
        place.mkdir(exist_ok=True)
        return place


def told(number, report):
    point, live = report["point"], report["live"]
    print(f"{number}: {point['consistency']}, frozen {live['frozen_ms']:.1f} ms, {live['rounds']} rounds, "
          f"{point['read_bytes'] >> 20} MiB read in {point['duration_ms']} ms", flush=True)


def shown(name, reports):
    frozen = sorted(report["live"]["frozen_ms"] for report in reports if not report["live"]["not_converged"])
    if not frozen:
        print(f"{name}: none of {len(reports)} converged", flush=True)
        return
    print(f"{name}: {len(frozen)} of {len(reports)} converged; frozen for {statistics.median(frozen):.1f} ms (median), "
          f"{frozen[min(len(frozen) - 1, len(frozen) * 99 // 100)]:.1f} ms (p99), {frozen[-1]:.1f} ms (longest)", flush=True)


def under_fio(rates):
    with Volume(4) as volume:
        fill = ["fio", "--name=p", f"--directory={volume.mount}", "--size=1g", "--bs=1m", "--rw=write", "--direct=1", "--end_fsync=1"]
        run(*fill)
        told("full", volume.backup())
        for rate in rates:
            writer = subprocess.Popen(["fio", "--name=p", f"--directory={volume.mount}", "--size=1g", "--rw=randwrite", "--bs=64k", "--direct=1",
                                       "--time_based", "--runtime=7200", f"--rate={rate}m", "--thread"], stdout=subprocess.DEVNULL)
            time.sleep(2)
            reports = []
            for number in range(ROUNDS):
                reports.append(volume.backup())
                told(number, reports[-1])
                if not reports[-1]["live"]["not_converged"]:
                    volume.restored()
            writer.terminate()
            writer.wait()
            shown(f"{rate} MiB/s of random 64 KiB writes", reports)


class Cluster:
    """A PostgreSQL cluster of its own, run by an unprivileged user."""

    def __init__(self, data, port):
        self.data, self.port = data, port
        self.bin = sorted(pathlib.Path(POSTGRES).glob("*/bin"))[-1]

    def call(self, name, *words):
        return run("runuser", "-u", "postgres", "--", str(self.bin / name), *words, cwd="/")

    def control(self, *words):
        self.call("pg_ctl", "-D", str(self.data), "-w", "-s", *words)

    def start(self):
        options = f"-p {self.port} -k /tmp -c listen_addresses='' -c shared_buffers=128MB -c max_wal_size=512MB"
        self.control("-l", f"/tmp/icecore-live-{self.port}.log", "-o", options, "start")

    def reach(self):
        return ["-h", "/tmp", "-p", str(self.port)]


def under_postgres(gib):
    with Volume(gib) as volume:
        data = volume.mount / "data"
        data.mkdir()
        shutil.chown(data, "postgres", "postgres")
        volume.work.chmod(0o755)
        cluster = Cluster(data, 54321)
        cluster.call("initdb", "-D", str(data), "-k", "-A", "trust", "--no-sync")
        cluster.start()
        writer = None
        try:
            cluster.call("createdb", *cluster.reach(), "bench")
            cluster.call("pgbench", *cluster.reach(), "-q", "-i", "-s", str(gib * 12), "bench")
            cluster.call("psql", *cluster.reach(), "-qc", "create extension amcheck", "bench")
            told("full", volume.backup())
            words = ["runuser", "-u", "postgres", "--", str(cluster.bin / "pgbench"), *cluster.reach(), "-c", "8", "-T", "7200", "bench"]
            writer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
            reports = []
            for number in range(ROUNDS):
                time.sleep(2)
                reports.append(volume.backup())
                told(number, reports[-1])
                if not reports[-1]["live"]["not_converged"]:
                    examine(volume)
            shown("pgbench, 8 clients", reports)
        finally:
            if writer:
                writer.terminate()
                writer.wait()
            cluster.control("-m", "immediate", "stop")


def examine(volume):
    """Starts PostgreSQL on what was restored; amcheck reads each heap and each index, and the sums of pgbench must agree."""
    run("mount", "-o", "loop", str(volume.restored()), str(volume.other()))
    copy = Cluster(volume.other() / "data", 54322)
    (copy.data / "postmaster.pid").unlink()
    try:
        copy.start()
        try:
            copy.call("pg_amcheck", *copy.reach(), "--heapallindexed", "bench")
            sums = "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), " \
                   "(select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers)"
            said = copy.call("psql", *copy.reach(), "-Atc", sums, "bench").strip()
            if said != "t|t":
                sys.exit(f"live: the restored database contradicts itself: {said}")
        finally:
            copy.control("-m", "immediate", "stop")
    finally:
        run("umount", str(volume.other()))


if KIND == "fio":
    under_fio(sys.argv[4:] or ["10", "50", "100"])
elif KIND == "postgres":
    under_postgres(int((sys.argv + ["", "", "1"])[4] or 1))
else:
    sys.exit("live: say fio or postgres")

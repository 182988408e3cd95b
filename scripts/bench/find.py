"""Backs a volume up many times with and without file catalogs, searches, and prints numbers. find.py IMAGE WORK POINTS"""
import json
import os
import statistics
import subprocess
import sys
import time

IMAGE, WORK, POINTS = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), int(sys.argv[3])
ICECORE = os.path.abspath(os.environ.get("ICECORE", "target/release/icecore"))
HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = {**os.environ, "ICECORE_KEY_FILE": f"{WORK}/key", "ICECORE_CACHE_DIR": f"{WORK}/index"}
SEARCHES = {"part of a name": "invoice-budget-01", "pattern": "*-contract-00*.pdf", "two letters": "w-", "two letters, none": "zq"}


def run(*arguments):
    """Output, wall seconds and peak RSS in MiB of a command."""
    begin = time.monotonic()
    process = subprocess.Popen([ICECORE, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{arguments}: {err.decode()}")
    return out, time.monotonic() - begin, usage.ru_maxrss / 1024


def change(number):
    mount = f"{WORK}/mount"
    os.makedirs(mount, exist_ok=True)
    subprocess.run(["mount", "-o", "loop,noatime", IMAGE, mount], check=True)
    subprocess.run([sys.executable, f"{HERE}/files.py", "change", mount, str(number)], check=True)
    subprocess.run(["umount", mount], check=True)


def backup(catalog):
    out, wall, rss = run("backup", IMAGE, "--volume", "v", "--pace", "full", "--catalog", catalog, "--json", "--repo", f"{WORK}/{catalog}")
    return json.loads(out), wall, rss


def say(what, *values):
    print(f"{what}: " + ", ".join(values), flush=True)


def back_up_all():
    reports, walls, plain, rss = [], [], [], []
    for catalog in ("auto", "off"):
        run("init", f"{WORK}/{catalog}")
    for number in range(POINTS):
        if number:
            change(number)
        with open(IMAGE, "rb") as image:
            while image.read(1 << 24):
                pass
        plain.append(backup("off")[1])
        report, wall, peak = backup("auto")
        reports.append(report), walls.append(wall), rss.append(peak)
    stored = [report["point"]["catalog"]["stored_bytes"] for report in reports]
    names = reports[-1]["point"]["catalog"]["names"]
    say("paths", str(names))
    say("catalog stored, first", f"{stored[0]} bytes", f"{stored[0] / names:.2f} a path")
    say("catalog stored, increments, median", f"{statistics.median(stored[1:]):.0f} bytes")
    say("inodes parsed, increments, median", f"{statistics.median(r['catalog']['parsed_inodes'] for r in reports[1:]):.0f}")
    say("first backup", f"{walls[0]:.2f} s", f"without catalog {plain[0]:.2f} s")
    say("increments, median", f"{statistics.median(walls[1:]):.2f} s", f"without catalog {statistics.median(plain[1:]):.2f} s")
    say("peak memory of backups", f"{max(rss):.0f} MiB")
    return names


def search(names):
    repository = ["--repo", f"{WORK}/auto"]
    _, wall, rss = run("find", "zzzzzz", *repository)
    size = sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(f"{WORK}/index") for file in files)
    say("index filled", f"{wall:.1f} s", f"{size} bytes", f"{size / names:.0f} a path", f"{rss:.0f} MiB")
    listing = [run("points", *repository)[1] for _ in range(5)]
    say("points, for comparison", f"{statistics.median(listing) * 1000:.0f} ms")
    point = json.loads(run("points", "--json", *repository)[0])["points"][POINTS // 2]["id"]
    for what, pattern in SEARCHES.items():
        for where, scope in {"one point": ["--point", point], "newest": [], "all": ["--all"]}.items():
            runs = [run("find", pattern, *scope, *repository) for _ in range(5)]
            found = runs[0][0].count(b"\n")
            say(f"find, {what} ({pattern}), {where}", f"{statistics.median(wall for _, wall, _ in runs) * 1000:.0f} ms",
                f"{found} found", f"{max(rss for _, _, rss in runs):.0f} MiB")


if __name__ == "__main__":
    search(back_up_all())

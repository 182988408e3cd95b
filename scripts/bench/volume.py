"""Makes the benchmark volume from local data, and a changed copy with the true list of changes.

volume.py make WORK GIB SEED     WORK/base.img: ext4, 55 % full: real files, database-like pages, incompressible files, logs, duplicates
volume.py change WORK SEED       WORK/changed.img: about 1 % changed, through the kernel; WORK/changed.list: 'offset length' lines
"""
import os
import random
import shutil
import subprocess
import sys

PAGE = 8192


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Mounted:
    """The image mounted through a loop device, for as long as the block lasts."""

    def __init__(self, work, image):
        self.mount, self.image = f"{work}/mnt", image
        os.makedirs(self.mount, exist_ok=True)

    def __enter__(self):
        run("mount", "-o", "loop,noatime", self.image, self.mount)
        return self.mount

    def __exit__(self, *_):
        run("umount", self.mount)


def real_files(target, quota, rng):
    files = []
    for root, _, names in os.walk("/usr"):
        files += [os.path.join(root, name) for name in names]
    files = sorted(path for path in files if os.path.isfile(path) and not os.path.islink(path))
    rng.shuffle(files)
    kept, used = [], 0
    for number, path in enumerate(files):
        if used >= quota:
            break
        size = os.path.getsize(path)
        if size < 64 << 20:
            folder = f"{target}/{number // 500}"
            os.makedirs(folder, exist_ok=True)
            shutil.copyfile(path, f"{folder}/{number}-{os.path.basename(path)[:80]}")
            kept.append(f"{folder}/{number}-{os.path.basename(path)[:80]}")
            used += size
    return kept


def pages(path, quota, rng):
    """Pages as a database keeps them: a header, rows that look alike, free space."""
    with open(path, "wb") as out:
        for number in range(quota // PAGE):
            rows = b"".join(
                b"%010d|customer-%06d|%-24s|%08.2f|" % (number * 40 + row, rng.randrange(10**6), b"active", rng.random() * 1e4)
                for row in range(rng.randrange(60, 110))
            )
            out.write((b"%08x" % rng.getrandbits(32) + rows)[:PAGE].ljust(PAGE, b"\0"))


def logs(path, quota, rng):
    with open(path, "wb") as out:
        time, written = 1_700_000_000, 0
        while written < quota:
            time += rng.randrange(3)
            line = b"%d INFO pod-%d req=%012x GET /api/v1/%s status=200 dur=%dus\n" % (
                time, rng.randrange(40), rng.getrandbits(48), rng.choice([b"users", b"orders", b"items"]), rng.randrange(90000))
            written += out.write(line)


def make(work, gib, seed):
    image, rng = f"{work}/base.img", random.Random(seed)
    with open(image, "wb") as out:
        out.truncate(gib << 30)
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image)
    fill = (gib << 30) * 55 // 100
    with Mounted(work, image) as mount:
        kept = real_files(f"{mount}/real", fill * 40 // 100, rng)
        pages(f"{mount}/pages.db", fill * 23 // 100, rng)
        os.makedirs(f"{mount}/media")
        left = fill * 16 // 100
        while left > 0:
            size = min(left, rng.choice([1, 3, 8, 20, 64]) << 20)
            with open(f"{mount}/media/{left}.bin", "wb") as out:
                out.write(rng.randbytes(size))
            left -= size
        logs(f"{mount}/app.log", fill * 14 // 100, rng)
        quota = fill * 5 // 100
        os.makedirs(f"{mount}/copies")
        for number, path in enumerate(kept):
            if quota <= 0:
                break
            quota -= os.path.getsize(path)
            shutil.copyfile(path, f"{mount}/copies/{number}")


def change(work, seed):
    base, image = f"{work}/base.img", f"{work}/changed.img"
    run("cp", "--sparse=always", base, image)
    with Mounted(work, image) as mount:
        mutate(mount, random.Random(seed + 1))
    write_changes(base, image, f"{work}/changed.list")


def mutate(mount, rng):
    """Rows of pages are updated, a log grows, files come."""
    size = os.path.getsize(f"{mount}/pages.db")
    with open(f"{mount}/pages.db", "r+b") as out:
        for _ in range(size // PAGE // 50):
            out.seek(rng.randrange(size // PAGE) * PAGE + rng.randrange(4000))
            out.write(b"updated-%012x" % rng.getrandbits(48))
    with open(f"{mount}/app.log", "ab") as out:
        out.write(b"appended\n" * 100_000)
    for number in range(20):
        with open(f"{mount}/new-{number}", "wb") as out:
            out.write(rng.randbytes(rng.randrange(4096, 400_000)))


def write_changes(base, image, path, granule=65536):
    """Runs of changed 64 KiB blocks, as a storage driver would report them."""
    with open(base, "rb") as a, open(image, "rb") as b, open(path, "w") as out:
        offset, start = 0, None
        while True:
            x, y = a.read(granule), b.read(granule)
            if x != y and start is None:
                start = offset
            if (x == y or not y) and start is not None:
                out.write(f"{start} {offset - start}\n")
                start = None
            if not y:
                return
            offset += len(y)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        change(sys.argv[2], int(sys.argv[3]))

"""Makes a tree of many small files in FOLDERS folders, and changes it. files.py fill MOUNT FILES | files.py change MOUNT ROUND"""
import os
import random
import sys

FOLDERS = int(os.environ.get("FOLDERS", "2000"))
WORDS = ("report invoice letter notes photo scan draft budget contract backup summary minutes agenda receipt order ticket profile "
         "config module library header source object package archive journal index catalog snapshot volume extent bitmap inode").split()
ENDINGS = "txt pdf jpg conf log c h rs py json xml html dat db tmp".split()


def folder(number):
    return f"{number % 40:02d}-{WORDS[number % 40 % len(WORDS)]}/{number:04d}"


def fill(mount, files):
    dice = random.Random(1)
    for number in range(FOLDERS):
        place = os.path.join(mount, folder(number))
        os.makedirs(place)
        for file in range(files // FOLDERS):
            name = f"{dice.choice(WORDS)}-{dice.choice(WORDS)}-{dice.randrange(10 ** 6):06d}-{file:03d}.{dice.choice(ENDINGS)}"
            handle = os.open(os.path.join(place, name), os.O_WRONLY | os.O_CREAT, 0o644)
            if dice.random() < 0.02:
                os.write(handle, dice.randbytes(dice.randrange(1, 4096)))
            os.close(handle)


def change(mount, number):
    """About a hundred changes: forty files made, twenty written, twenty renamed, twenty removed."""
    dice = random.Random(1_000 + number)
    for step in range(100):
        place = os.path.join(mount, folder(dice.randrange(FOLDERS)))
        path = os.path.join(place, dice.choice(sorted(os.listdir(place))))
        if step < 40:
            with open(os.path.join(place, f"new-{number:03d}-{step:03d}.{dice.choice(ENDINGS)}"), "wb") as file:
                file.write(dice.randbytes(1_000))
        elif step < 60:
            with open(path, "ab") as file:
                file.write(b"more")
        elif step < 80:
            os.rename(path, f"{path}.{number}")
        else:
            os.remove(path)


if __name__ == "__main__":
    {"fill": fill, "change": change}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))

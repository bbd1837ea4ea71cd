"""A volume of 10^15 voxels: every layout opens in its reader and reads a box of 100^3 at the far corner.

Printed for each: seconds to open, seconds to read, blocks that were fetched and those that the box touches, and the daemon's
memory after it. A box costs at most 1.2 times its blocks, and the memory does not grow with the volume.
`volume.h5` is read a second time over a mount with the kernel's own read-ahead, which is what an ordinary user gets.
"""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

from mounts import Demo, Mount
from oracle import Oracle
from registry import available

EDGE = 100
MOST_FETCHES = 1.2
MEMORY = "64M"
MOST_RESIDENT = (64 + 64) << 20
FIND_LIMIT_S = 5
KERNELS_READ_AHEAD = "128K"


def resident(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no VmRSS")


def fetched_blocks(mount):
    stats = json.loads((mount.path / ".dvidfs" / "stats.json").read_text())
    return stats["counters"]["dvid_fetched_blocks"]


# Programs read these trees chunk by chunk, larger ones than a block.
CHUNK_OF = {"volume-c256.zarr": 256}


def check(mount, oracle, name, nth, reader):
    """The nth reader on one instance; the line that is printed, and whether it is right."""
    volume = oracle.volume(name)
    level = volume.levels[0]
    # A box of its own for each, at the far edge: none finds blocks that another one has fetched.
    begin = [n - EDGE for n in level.shape]
    begin[2] -= nth * 512
    at = tuple(slice(b, b + EDGE) for b in begin)
    want = oracle.raw(volume, level, tuple(b + o for b, o in zip(begin, level.origin)), tuple(b + EDGE + o for b, o in zip(begin, level.origin)), False)
    chunk = [CHUNK_OF.get(reader.layout, side) for side in level.block]
    covered = [range(b // c * (c // side), min(-(-(b + EDGE) // c) * (c // side), -(-n // side))) for b, c, side, n in zip(begin, chunk, level.block, level.shape)]
    touched = math.prod(map(len, covered))
    before, start = fetched_blocks(mount), time.monotonic()
    opened = reader.read(mount.path / name, 0)
    opening = time.monotonic() - start
    got = opened.read(at)
    reading = time.monotonic() - start - opening
    fetches, memory = fetched_blocks(mount) - before, resident(mount.process.pid)
    right = got.shape == want.shape and bool((got == want).all())
    good = right and fetches <= MOST_FETCHES * touched and memory <= MOST_RESIDENT
    line = f"{reader.name:<16}{reader.layout:<20}{name:<14}open {opening:6.2f} s  read {reading:6.2f} s  blocks {fetches:>4} of {touched:>3}  memory {memory >> 20:>4} MiB"
    return f"{line}  {'right' if right else 'WRONG'}{'' if good else '  FAILED'}", good


def find_streams(mount):
    """`find` over one array's directory: names come at once and memory stays, however many there are."""
    before = resident(mount.process.pid)
    words = ["timeout", str(FIND_LIMIT_S), "find", str(mount.path / "grayscale" / "volume.zarr" / "s0"), "-maxdepth", "3"]
    start = time.monotonic()
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    first = child.stdout.readline()
    delay, names = time.monotonic() - start, bool(first)
    for names, _ in enumerate(child.stdout, 2):
        pass
    child.wait()
    grown = resident(mount.process.pid) - before
    good = names > 10_000 and delay < 2 and grown < 8 << 20
    print(f"find: {names} names in {FIND_LIMIT_S} s at most, the first after {delay:.2f} s, memory grew by {grown >> 20} MiB{'' if good else '  FAILED'}")
    return good


def check_layouts(mount, oracle, layouts=None):
    """Every reader of these layouts on each instance, all if none are named; the number of failures."""
    failures = 0
    for name in ("grayscale", "segmentation"):
        shown = json.loads((mount.path / name / "attrs.json").read_text())
        print(f"{name}: shape {shown['shape']}, left out: {shown['layouts_left_out'] or 'nothing'}")
        for nth, reader in enumerate(available()):
            wanted = reader.layout in shown["layouts"] and (layouts is None or reader.layout in layouts)
            if wanted and not reader.whole and reader.reads(oracle.volume(name)):
                line, good = check(mount, oracle, name, nth, reader)
                failures += not good
                print(line, flush=True)
    return failures


def main():
    options = ("--settle", "0", "--memory", MEMORY, "--no-prefetch")
    with Demo("large") as demo:
        oracle = Oracle(demo.url)
        with Mount(demo.url, options) as mount:
            failures = check_layouts(mount, oracle) + (not find_streams(mount))
        with Mount(demo.url, (*options, "--read-ahead", KERNELS_READ_AHEAD)) as mount:
            print(f"--read-ahead {KERNELS_READ_AHEAD}")
            failures += check_layouts(mount, oracle, ("volume.h5",))
    print(f"petavoxel: {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

"""Mounts nodes and runs the reader tests of both environments over them; prints the table of cells.

`matrix.py --demo` does it over the demo server. A cell counts when every voxel of its instance was compared.
"""

import argparse
import collections
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from mounts import Demo, Mount, ROOT, scratch, waiting
from oracle import Oracle
from web import Web

HERE = Path(__file__).resolve().parent
# The tests read volumes of a few MB; a suite that takes longer than this hangs.
SUITE_SECONDS = int(os.environ.get("DVIDFS_TEST_SUITE_SECONDS", "1500"))
# By environment: one of them has what steers a browser.
SUITES = {
    "zarr2": ("test_mount.py", "test_layouts.py", "test_boxes.py", "test_copies.py"),
    "zarr3": ("test_mount.py", "test_layouts.py", "test_boxes.py", "test_copies.py", "test_pictures.py", "test_neuroglancer.py"),
}


def environments():
    """The Python of each environment: {name: path}."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return {name: target / f"venv-{name}" / "bin" / "python" for name in ("zarr2", "zarr3")}


def nodes_of(url):
    """(label, url, open) of each node of the repo that holds the node of `url`.

    A tag that begins another one is left out: DVID itself finds it ambiguous.
    """
    origin, uuid = url.rsplit("/", 1)
    repo = Web(origin).get_json(f"/api/repo/{uuid}/info")
    for n, node in enumerate(sorted(repo["DAG"]["Nodes"].values(), key=lambda node: node["VersionID"])):
        if any(other != node["UUID"] and other.startswith(node["UUID"]) for other in repo["DAG"]["Nodes"]):
            continue
        state = "locked" if node["Locked"] else "open"
        yield f"{n}-{state}{'-' + node['Branch'] if node['Branch'] else ''}", f"{origin}/{node['UUID']}", not node["Locked"]


def run(entries, options=(), source="demo"):
    """Mounts each of `entries` ({label, url, …}) and runs both suites over all of them. Returns the number of failures."""
    home, failures, cells = scratch("dvidfs-matrix-"), 0, []
    entries[0]["boxes"] = boxes_of(entries[0]["url"])
    with contextlib.ExitStack() as stack:
        mounts = []
        for entry in entries:
            mount = stack.enter_context(Mount(entry["url"], [*options, *box_words(entry.get("boxes", {}))]))
            mounts.append(mount)
            entry["mount"] = str(mount.path)
        state = home / "mounts.json"
        state.write_text(json.dumps(entries))
        for name, python in environments().items():
            found = home / f"cells-{name}.json"
            print(f"--- {source}, {name}", flush=True)
            failures += suite(python, SUITES[name], {"DVIDFS_MATRIX": str(state), "DVIDFS_CELLS": str(found)}) != 0
            if found.exists():
                cells += json.loads(found.read_text())
        for entry, mount in zip(entries, mounts):
            failures += not at_rest(entry["label"], mount)
    print_table(source, cells)
    return failures


def boxes_of(url):
    """Boxes that are aligned with nothing, {name: [instance, scale, begin, end]}: of an image, of labels at their coarsest
    scale, and of four channels, left of the origin where there is such an instance."""
    oracle, boxes = Oracle(url), {}
    volumes = [volume for volume in map(oracle.volume, oracle.instances()) if volume and not volume.lossy]
    for name, typename in (("part", "uint8blk"), ("coarse labels", "labelmap"), ("colours", "rgba8blk")):
        found = [volume for volume in volumes if volume.typename == typename]
        volume = min(found, key=lambda volume: min(volume.levels[0].data[0]))
        level = volume.levels[-1 if typename == "labelmap" else 0]
        begin, end = ([c + d for c, d in zip(corner, inward)] for corner, inward in zip(level.data, ((1, 2, 3), (-3, -1, -2))))
        boxes[name] = [volume.name, level.scale, begin, end]
    return boxes


def box_words(boxes):
    """`--box` for each of {name: [instance, scale, begin, end]}."""
    for name, (instance, scale, begin, end) in boxes.items():
        ranges = ",".join(f"{b}:{e}" for b, e in zip(begin, end))
        yield from ("--box", f"{name}={instance}:{ranges}@{scale}")


def suite(python, files, environment):
    """Runs the tests by one interpreter; its lines are printed as they are."""
    words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--maxfail=40", *(str(HERE / name) for name in files)]
    try:
        return subprocess.run(words, env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"}, timeout=SUITE_SECONDS).returncode
    except subprocess.TimeoutExpired:
        print(f"FAILED: the suite did not end in {SUITE_SECONDS} s")
        return 1


def at_rest(label, mount):
    """After the readers: the daemon lives, and no request is left unanswered."""
    end = time.monotonic() + 2
    while waiting(mount.connection) and time.monotonic() < end:
        time.sleep(0.05)
    left = waiting(mount.connection)
    alive = mount.process.child.poll() is None
    failed = (mount.path / ".dvidfs" / "errors.jsonl").read_text() if alive else ""
    if left or not alive or failed:
        print(f"FAILED: {label}: {left} requests unanswered, daemon {'alive' if alive else 'gone'}, failed reads: {failed[:500]}")
        return False
    return True


def print_table(source, cells):
    """Instances by readers: the voxels of all nodes that were compared, every one of them equal."""
    readers = sorted({cell["reader"] for cell in cells})
    table = collections.defaultdict(lambda: collections.defaultdict(int))
    for cell in cells:
        row = f"{cell['instance']}{'/supervoxels' if cell['view'] == 'supervoxels' else ''}"
        table[(cell["type"], row)][cell["reader"]] += cell["voxels"]
    print(f"\n{source}: voxels compared and equal, over all nodes")
    print(f"{'type':<12}{'instance':<28}" + "".join(f"{reader:>14}" for reader in readers))
    for (kind, row), counts in sorted(table.items()):
        print(f"{kind:<12}{row:<28}" + "".join(f"{counts.get(reader, 0):>14}" for reader in readers))
    voxels, size = sum(cell["voxels"] for cell in cells), sum(cell["bytes"] for cell in cells)
    print(f"{source}: {len(cells)} cells, {voxels} voxels, {size / 2**30:.2f} GiB, 0 wrong in them\n", flush=True)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    which = words.add_mutually_exclusive_group(required=True)
    which.add_argument("--demo", action="store_true", help="start the demo server and mount it")
    which.add_argument("--url", help="a node of a running server: all nodes of its repo are mounted")
    words.add_argument("--mounts-alone", action="store_true", help="volume.zarr on every node, and no other layout")
    options = words.parse_args()
    mount_options = ("--settle", "0")
    if options.mounts_alone:
        SUITES.update({name: ("test_mount.py",) for name in SUITES})
    if options.url:
        failures = run([{"label": l, "url": u, "open": o} for l, u, o in nodes_of(options.url)], mount_options, options.url)
    else:
        with Demo() as demo:
            entries = [{"label": l, "url": u, "open": o} for l, u, o in nodes_of(demo.url)]
            failures = run(entries, mount_options)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

"""The program under test against a real DVID: `DVIDFS_TEST_DVID=/path/to/dvid real_dvid.py [matrix|gate|killed|moving ...]`.

1. A server is filled with the FIB-25 crop: every type, four versions (root, mid, an open head, branch exp), merges and a cleave.
   Every voxel of every version is read by every reader and compared with the server's `raw` and with the arrays that were written.
2. The gate: a large mapping off the master leaf, the server killed and started again. The server then answers 200 with wrong
   bodies for seconds; a mount made in that moment must not give one wrong body.
3. The server is killed under eight readers and started again; every read ends with the right bytes.
4. Data that move while they are mounted, and a server that stops: `real_versions.py`.

All of it runs in a network namespace of its own.
"""

import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

import matrix
import netns
import real_versions
from arrays import Pread
from dvid_data import Loader, crop, mapped, padded
from dvid_server import DvidServer, run_of_ops
from mounts import Mount, Watchdog, scratch
from oracle import Oracle

# About 5 s of loading on two cores, most of it before the entries that matter here.
GATE_ENTRIES = int(os.environ.get("DVIDFS_TEST_GATE_ENTRIES", "2000000"))
FIRST_FILLER, FIRST_FILLER_BODY = 10**10, 2 * 10**10
READERS = 8
DEAD_SECONDS = 3.0


def version_of(binary):
    """The commit of the source tree that the binary lies in, if it lies in one."""
    words = ["git", "-C", str(Path(binary).parent), "rev-parse", "HEAD"]
    answer = subprocess.run(words, capture_output=True, text=True)
    return answer.stdout.strip()[:8] if answer.returncode == 0 else "unknown"


def truth_of(loader, label):
    """The written arrays of one version, for the tests of the matrix."""
    return {key.split("|", 1)[1]: entry for key, entry in loader.truth.index.items() if key.startswith(f"{label}|")}


def reader_matrix(server, loader):
    labels = ("root", "mid", "exp", "head")
    entries = [
        {"label": label, "url": f"{server.origin}/{loader.nodes[label]}", "open": label == "head", "truth": truth_of(loader, label)}
        for label in labels
    ]
    log = server.home / "dvid.log"
    before = log.stat().st_size
    failures = matrix.run(entries, ("--settle", "0"), "real DVID")
    with open(log, errors="replace") as file:
        file.seek(before)
        methods = re.findall(r"Started (\w+) \"", file.read())
    others = [method for method in methods if method != "GET"]
    print(f"requests to the server: {len(methods)}, other than GET: {len(others)}")
    return failures + bool(others) + (not methods)


class DirectReader(threading.Thread):
    """Asks the server itself for bodies, over and over, and keeps when they were wrong and by how much."""

    def __init__(self, server, path, want):
        super().__init__(daemon=True)
        self.server, self.path, self.want, self.seen, self.over = server, path, want, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            start = time.monotonic()
            got = np.frombuffer(self.server.web.get(self.path), np.uint64).reshape(self.want.shape)
            self.seen.append((start, time.monotonic(), float((got != self.want).mean())))
            self.over.wait(0.1)


def load_gate(server):
    """A locked branch whose real mapping stands in the log behind a large one. Returns (url, raw path, bodies)."""
    _, supervoxels, mapping = crop()
    supervoxels = padded(supervoxels, (64,) * 3)
    root = server.new_repo()
    server.new_instance(root, "labelmap", "seg", BlockSize="64,64,64", MaxDownresLevel="1")
    server.post_voxels(root, "seg", supervoxels)
    server.commit(root, "loaded")
    branch = server.branch(root, "off-master", "a large mapping")
    server.post_mappings(branch, "seg", run_of_ops(FIRST_FILLER, GATE_ENTRIES, FIRST_FILLER_BODY, GATE_ENTRIES // 1000))
    server.post_mappings(branch, "seg", mapping)
    server.commit(branch, "mapped")
    server.new_version(root, "the master leaf")
    z, y, x = supervoxels.shape
    path = f"/api/node/{branch}/seg/raw/0_1_2/{x}_{y}_{z}/0_0_0?supervoxels=false"
    return f"{server.origin}/{branch}", path, mapped(supervoxels, mapping)


def gate(server, again):
    """A mount made right after a restart, while the server loads the mapping."""
    url, path, want = again
    server.kill()
    server.start()
    # The first request starts the loading and waits for its end; those behind it are answered from what is loaded so far.
    first, second = DirectReader(server, path, want), DirectReader(server, path, want)
    first.start()
    time.sleep(0.05)
    second.start()
    began = time.monotonic()
    with Mount(url, ("--settle", "0"), wait=120) as mount, Watchdog(120, [mount.connection]):
        files = Pread()
        got = files.read(files.open(mount.path / "seg" / "volume.zarr", "s0"))
        ended = time.monotonic()
        settled = server_is_right(server, path, want)
    for reader in (first, second):
        reader.over.set()
        reader.join(60)
    last_wrong = max((end for _, end, share in first.seen + second.seen if share > 0), default=began)
    wrong = [share for start, end, share in first.seen + second.seen if share > 0]
    while_mounting = [share for start, end, share in first.seen + second.seen if share > 0 and end > began]
    bad = int((got != want).sum()) if got.shape == want.shape else got.size
    print(
        f"gate: {GATE_ENTRIES} mappings; the server gave wrong bodies {len(wrong)} times ({max(wrong, default=0):.1%} of the voxels), "
        f"{len(while_mounting)} of them after the mount began, the last {last_wrong - began:.1f} s after; mount and read took {ended - began:.1f} s; wrong bodies in the mount: {bad} of {got.size}"
    )
    if not while_mounting:
        print("FAILED: the fault did not happen: raise DVIDFS_TEST_GATE_ENTRIES")
    if not settled:
        print("FAILED: the server is still wrong after the mount has read")
    return int(bad != 0) + int(not while_mounting) + int(not settled)


def server_is_right(server, path, want):
    """Whether the server itself answers right now: the mount cannot have waited for less."""
    return bool((np.frombuffer(server.web.get(path), np.uint64).reshape(want.shape) == want).all())


def chunk_files(mount, loader, oracle_url):
    """(path, bytes) of every chunk of level 0 whose truth is known at the root."""
    oracle = Oracle(oracle_url)
    for name in oracle.instances():
        volume = oracle.volume(name)
        if volume is None or volume.lossy or volume.channels:
            continue
        level = volume.levels[0]
        want = oracle.voxels(volume, level, False)
        whole = np.pad(want, [(0, -n % c) for n, c in zip(want.shape, level.chunk)])
        directory = next(p for p in mount.path.iterdir() if p.is_dir() and p.name != ".dvidfs" and is_instance(p, name))
        for index in itertools.product(*(range(n // c) for n, c in zip(whole.shape, level.chunk))):
            at = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, level.chunk))
            path = directory / "volume.zarr" / "s0" / "/".join(map(str, index))
            if path.exists():
                yield path, whole[at].tobytes()


def is_instance(directory, name):
    return json.loads((directory / "info").read_text())["Base"]["Name"] == name


def kill_under_readers(server, loader):
    """Eight readers, each with its own order of all chunks of a cold mount; the server dies when a third has been read."""
    url = f"{server.origin}/{loader.nodes['root']}"
    options = ("--settle", "0", "--no-prefetch", "--patience", "120s")
    with Mount(url, options) as mount:
        files = list(chunk_files(mount, loader, url))
        wrong, errors, done = [], [], threading.Semaphore(0)
        finished = []
        with Watchdog(60, [mount.connection]) as dog:

            def read_all(seed):
                order = files[:]
                random.Random(seed).shuffle(order)
                for path, want in order:
                    try:
                        if path.read_bytes() != want:
                            wrong.append(str(path))
                    except OSError as error:
                        errors.append(f"{path}: {error}")
                    dog.pet()
                    done.release()
                finished.append(seed)

            readers = [threading.Thread(target=read_all, args=(seed,), daemon=True) for seed in range(READERS)]
            for reader in readers:
                reader.start()
            for _ in range(len(files) // 3):
                done.acquire()
            server.kill()
            time.sleep(DEAD_SECONDS)
            still_reading = READERS - len(finished)
            server.start()
            for reader in readers:
                reader.join(120)
            stuck = sum(reader.is_alive() for reader in readers)
    print(
        f"server killed under {READERS} readers of {len(files)} chunks, dead for {DEAD_SECONDS:.0f} s: {still_reading} were still reading then; "
        f"{READERS * len(files)} reads, {len(wrong)} wrong, {len(errors)} errors, {stuck} stuck"
    )
    for line in (wrong + errors)[:5]:
        print(f"  {line}")
    if not still_reading:
        print("FAILED: the fault did not happen: all readers were done before the server died")
    return int(bool(wrong)) + int(bool(errors)) + int(bool(stuck)) + int(not still_reading) + int(dog.barked)


def moving(server, loader):
    url = f"{server.origin}/{loader.nodes['root']}"
    with Mount(url, ("--settle", "0")) as mount:
        chunks = [(path.relative_to(mount.path), want) for path, want in chunk_files(mount, loader, url)]
    return real_versions.run(server, url, chunks)


def main():
    binary = os.environ.get("DVIDFS_TEST_DVID")
    if not binary:
        sys.exit("DVIDFS_TEST_DVID names no DVID binary")
    binary = str(Path(binary).resolve())
    netns.enter()
    home = scratch("dvidfs-real-")
    server = DvidServer(binary, home)
    failures = 0
    try:
        server.start()
        began = time.monotonic()
        loader = Loader(server, home).load()
        again = load_gate(server)
        print(f"real DVID {version_of(binary)} at {binary}: filled in {time.monotonic() - began:.0f} s", flush=True)
        if "--load-only" in sys.argv:
            return
        parts = {
            "matrix": lambda: reader_matrix(server, loader),
            "gate": lambda: gate(server, again),
            "killed": lambda: kill_under_readers(server, loader),
            "moving": lambda: moving(server, loader),
        }
        asked = sys.argv[1:] or parts
        for name in asked:
            failures += parts[name]()
            sys.stdout.flush()
    finally:
        server.stop()
    print(f"real DVID: {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

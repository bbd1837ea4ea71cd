"""Data that move under a mount of a real DVID, and a server that stops: faults F3-F8 and A7 of tests/faults.txt, without a model of DVID.

A writer fills a block with 1, 2, 3, … and keeps when each value was there. A read may give a value only if it was the newest at most
`--ttl` (and a second) before the read began; all voxels of one read call come from one answer.
"""

import errno
import os
import re
import signal
import subprocess
import threading
import time

import numpy as np

from mounts import Mount, Watchdog, binary, scratch

TTL, SLACK = 1.0, 1.0
SIDE = 64
VALUES = 200
READS = int(os.environ.get("DVIDFS_TEST_AGE_READS", "2000"))
CHUNK = "volume.zarr/s0/0/0/0"


class Fact:
    """What a part has seen, and whether it is what was promised."""

    def __init__(self, name):
        self.name, self.failures = name, 0

    def check(self, good, what):
        if not good:
            self.failures += 1
            print(f"FAILED: {self.name}: {what}", flush=True)


class Writer(threading.Thread):
    """Writes the values 1, 2, 3, … and notes when each was begun and done."""

    def __init__(self, write, every):
        super().__init__(daemon=True)
        self.write, self.every, self.over = write, every, threading.Event()
        self.begun, self.done = {0: 0.0}, {0: 0.0}

    def run(self):
        for value in range(1, VALUES):
            self.begun[value] = time.monotonic()
            self.write(value)
            self.done[value] = time.monotonic()
            if self.over.wait(self.every):
                return

    def age(self, value, began):
        """For how long `value` had not been the newest when a read began."""
        after = self.done.get(value + 1)
        return max(0.0, began - after) if after is not None else 0.0


def gray_block(server, uuid, name):
    def write(value):
        server.post_voxels(uuid, name, np.full((SIDE,) * 3, value, np.uint8))

    return write


def label_block(server, uuid, name):
    def write(value):
        body = np.full((SIDE,) * 3, value, np.uint64)
        server.web.post(f"/api/node/{uuid}/{name}/raw/0_1_2/{SIDE}_{SIDE}_{SIDE}/0_0_0?mutate=true", body.tobytes())

    return write


def repo(server):
    """A root with a quiet image, a moving one, labels and an unversioned image; not yet committed."""
    root = server.new_repo()
    side = ",".join([str(SIDE)] * 3)
    for name, typename, more in (
        ("quiet", "uint8blk", {}),
        ("gray", "uint8blk", {}),
        ("loose", "uint8blk", {"versioned": "false"}),
    ):
        server.new_instance(root, typename, name, BlockSize=side, **more)
        server.post_voxels(root, name, np.full((SIDE,) * 3, 7 if name == "quiet" else 0, np.uint8))
    server.new_instance(root, "labelmap", "seg", BlockSize=side, MaxDownresLevel="0")
    server.post_voxels(root, "seg", np.full((SIDE,) * 3, 1, np.uint64))
    return root


def value_of(data, dtype):
    """The one value of some voxels, or None if there are several: a mix of two answers."""
    voxels = np.frombuffer(data, dtype)
    return int(voxels[0]) if voxels.size and (voxels == voxels[0]).all() else None


def part_of(path):
    """A piece of a file as large as the kernel asks for at once: what is larger is read by several calls, each as new as the ttl says."""
    with open(path, "rb", buffering=0) as file:
        return file.read(128 << 10)


def kept_on_disk(cache):
    """{(version UUID, type): entries with voxels} of a disk cache; what it knows of nodes themselves is no voxel."""
    words = [binary(), "cache", "ls", "--cache-dir", str(cache)]
    text = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    kept = {}
    for n, version, typename in re.findall(r"MiB +(\d+) +node (\S+) +(?!its description)(\S+)", text):
        kept[version, typename] = kept.get((version, typename), 0) + int(n)
    return kept


def ages(fact, mount, moving, seconds=120):
    """Reads blocks that are written meanwhile. `moving`: [(path, dtype, writer)]. Prints the oldest value that was given."""
    began, n_reads, oldest, seen = time.monotonic(), 0, 0.0, {}
    for _, _, writer in moving:
        writer.start()
    with Watchdog(60, [mount.connection]) as dog:
        while n_reads < READS or min(len(values) for values in seen.values()) < 5:
            if time.monotonic() - began > seconds:
                break
            for path, dtype, writer in moving:
                start = time.monotonic()
                value = value_of(part_of(path), dtype)
                fact.check(value is not None, f"{path}: two values in one read")
                if value is None:
                    continue
                fact.check(value in writer.begun, f"{path}: {value} was never written")
                oldest = max(oldest, writer.age(value, start))
                seen.setdefault(path, set()).add(value)
                n_reads += 1
                dog.pet()
    for _, _, writer in moving:
        writer.over.set()
        writer.join(60)
    n_values = [len(values) for values in seen.values()]
    fact.check(oldest <= TTL + SLACK, f"a value was {oldest:.2f} s old, ttl {TTL} s")
    fact.check(n_reads >= READS and min(n_values) >= 5, f"too little was seen: {n_reads} reads, {n_values} values")
    fact.check(not dog.barked, "a read stood still for a minute")
    print(f"{fact.name}: {n_reads} reads, {n_values} values seen, the oldest {oldest:.2f} s old / wanted <= {TTL + SLACK} s")


def moving_node(server, url, uuid, moving, name, options=()):
    """Mounts `url`, reads while `moving` instances are written; nothing of them may be on disk, and the quiet one as `options` say."""
    fact, cache = Fact(name), scratch("dvidfs-moving-")
    with Mount(url, ("--settle", "0", "--ttl", f"{TTL}s", "--cache-dir", str(cache), *options)) as mount:
        chunks = [(mount.path / instance / CHUNK, dtype, Writer(write, 0.2)) for instance, dtype, write in moving]
        ages(fact, mount, chunks)
        fact.check(value_of((mount.path / "quiet" / CHUNK).read_bytes(), np.uint8) == 7, "the quiet instance has other voxels")
    return fact, kept_on_disk(cache), mount.process.output()


def open_node(server, root, head):
    """F5: an open node."""
    moving = [("gray", np.uint8, gray_block(server, head, "gray")), ("seg", np.uint64, label_block(server, head, "seg"))]
    fact, kept, _ = moving_node(server, f"{server.origin}/{head}", head, moving, "F5 open node")
    fact.check(not kept, f"blocks of an open node on disk: {kept}")
    return fact.failures


def unversioned(server, root):
    """F6: an unversioned instance of a locked node. The quiet instance beside it is kept on disk: the look at the disk is no blind one."""
    moving = [("loose", np.uint8, gray_block(server, root, "loose"))]
    fact, kept, _ = moving_node(server, f"{server.origin}/{root}", root, moving, "F6 unversioned instance")
    fact.check(sum(kept.values()) == 1, f"on disk: {kept}, wanted the one block of the quiet instance")
    return fact.failures


def full_write(server, root):
    """F7: a server that lets locked nodes be written."""
    server.stop()
    server.start(flags=("-fullwrite",))
    moving = [("gray", np.uint8, gray_block(server, root, "gray"))]
    fact, kept, log = moving_node(server, f"{server.origin}/{root}", root, moving, "F7 writable locked node")
    fact.check(not kept, f"blocks on disk although locked nodes may be written: {kept}")
    fact.check("mutable_server" in log, "the log says nothing of the server's mode")
    server.stop()
    server.start()
    return fact.failures


def committed(server, head):
    """F8: an open node is committed while it is mounted; once it has settled, the server is not asked again."""
    fact, settle = Fact("F8 committed while mounted"), 4.0
    write = gray_block(server, head, "gray")
    write(77)
    with Mount(f"{server.origin}/{head}", ("-v", "--settle", f"{settle}s", "--ttl", f"{TTL}s")) as mount:
        path = mount.path / "gray" / CHUNK
        server.commit(head, "work is done")
        at, end = time.monotonic(), time.monotonic() + 120
        while "node_settled" not in mount.process.output() and time.monotonic() < end:
            fact.check(value_of(path.read_bytes(), np.uint8) == 77, "another value")
            time.sleep(0.1)
        settled = time.monotonic() - at
        fact.check("node_settled" in mount.process.output(), "never counted as locked")
        # DVID tells whole seconds, so the settling can end up to one early by our clock.
        fact.check(settled >= settle - 1, f"counted as locked {settled:.1f} s after the commit")
        # What was fetched before lasts as long as it did; the next answer is the first that stays.
        time.sleep(2 * TTL)
        path.read_bytes()
        time.sleep(2 * TTL)
        server.process.child.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            with Watchdog(20, [mount.connection]):
                fact.check(value_of(path.read_bytes(), np.uint8) == 77, "another value once it was locked")
            took = time.monotonic() - start
        finally:
            server.process.child.send_signal(signal.SIGCONT)
        fact.check(took < 5, f"a block that lasts took {took:.1f} s from a stopped server")
    print(f"{fact.name}: counted as locked after {settled:.1f} s (--settle {settle:.0f} s), then read from a stopped server in {took:.3f} s")
    return fact.failures


def gone_and_made_again(server):
    """F3, F4: an instance is deleted, and another made under its name. What was read stays; then nothing but ESTALE."""
    fact = Fact("F3, F4 deleted and made again")
    root = repo(server)
    with Mount(f"{server.origin}/{root}", ("--settle", "0", "--ttl", f"{TTL}s", "--patience", "2s")) as mount:
        path = mount.path / "quiet" / CHUNK
        fact.check(value_of(path.read_bytes(), np.uint8) == 7, "another value")
        server.delete_instance(root, "quiet")
        got = outcomes(path, 10, until=errno.EIO)
        fact.check(got <= {7, errno.EIO} and errno.EIO in got, f"after the deletion: {got}")
        server.new_instance(root, "uint8blk", "quiet", BlockSize=",".join([str(SIDE)] * 3))
        server.post_voxels(root, "quiet", np.full((SIDE,) * 3, 9, np.uint8))
        got = outcomes(path, 10, until=errno.ESTALE)
        fact.check(got <= {7, errno.EIO, errno.ESTALE} and errno.ESTALE in got, f"made again: {got}")
        fact.check(CHUNK.split("/")[0] in os.listdir(mount.path / "quiet"), "the layouts of the instance are no longer listed")
    print(f"{fact.name}: EIO, then ESTALE; no voxel of the new instance under the old name")
    return fact.failures


def outcomes(path, seconds, until):
    """The values and errnos that reads give, for `seconds` or until the wanted errno has come three times."""
    got, wanted, end = set(), 0, time.monotonic() + seconds
    while time.monotonic() < end and wanted < 3:
        try:
            got.add(value_of(path.read_bytes(), np.uint8))
        except OSError as error:
            got.add(error.errno)
            wanted += error.errno == until
        time.sleep(0.2)
    return got


def stopped(server, url, chunks):
    """A7 on a locked node: cached reads answer at once, a killed reader is gone, and cold reads are right once it goes on."""
    fact = Fact("server stopped")
    cached, cold = chunks[: len(chunks) // 2], chunks[len(chunks) // 2 :]
    with Mount(url, ("--settle", "0", "--no-prefetch", "--patience", "120s")) as mount, Watchdog(60, [mount.connection]) as dog:
        cached, cold = ([(mount.path / path, want) for path, want in half] for half in (cached, cold))
        for path, want in cached:
            fact.check(path.read_bytes() == want, f"{path}: wrong before the server stopped")
        server.process.child.send_signal(signal.SIGSTOP)
        try:
            readers = [subprocess.Popen(["cat", str(path)], stdout=subprocess.DEVNULL) for path, _ in cold[:8]]
            time.sleep(1)
            fact.check(all(reader.poll() is None for reader in readers), "a cold read ended while the server stood still")
            took = timed_reads(fact, cached, dog)
            gone = [killed_in(reader) for reader in readers]
        finally:
            server.process.child.send_signal(signal.SIGCONT)
        for path, want in cold:
            fact.check(path.read_bytes() == want, f"{path}: wrong after the server went on")
            dog.pet()
    p99 = sorted(took)[int(len(took) * 0.99)]
    fact.check(p99 <= 0.05, f"cached reads: p99 {p99 * 1000:.1f} ms / wanted <= 50 ms")
    fact.check(max(gone) <= 0.2, f"killed readers: gone after {max(gone):.3f} s / wanted <= 0.2 s")
    fact.check(not dog.barked, "a read stood still for a minute")
    print(
        f"{fact.name}: {len(took)} cached reads beside {len(readers)} hanging ones, p99 {p99 * 1000:.2f} ms / wanted <= 50, "
        f"max {max(took) * 1000:.1f} ms; {len(gone)} killed readers gone in {max(gone):.3f} s / wanted <= 0.2; {len(cold)} cold reads right afterwards"
    )
    return fact.failures


def timed_reads(fact, files, dog, least=1000):
    """How long each of `least` reads took; half of them past the kernel's cache."""
    took = []
    while len(took) < least:
        for n, (path, want) in enumerate(files):
            if n % 2:
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
            start = time.monotonic()
            data = path.read_bytes()
            took.append(time.monotonic() - start)
            fact.check(data == want, f"{path}: wrong while the server stood still")
            dog.pet()
    return took


def killed_in(process):
    start = time.monotonic()
    process.kill()
    process.wait(30)
    return time.monotonic() - start


def run(server, url, chunks):
    """All parts. `url` and `chunks` [(path in the mount, bytes)]: a locked node whose truth is known."""
    failures = stopped(server, url, chunks)
    root = repo(server)
    server.commit(root, "made")
    head = server.new_version(root, "work goes on")
    failures += open_node(server, root, head)
    failures += unversioned(server, root)
    failures += full_write(server, root)
    failures += committed(server, head)
    return failures + gone_and_made_again(server)

"""Starts and ends the program under test, so that a stuck mount cannot hang the caller.

Run as a program, `mounts.py sweep DIR` aborts and detaches every mount below DIR.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = Path("/sys/fs/fuse/connections")


def binary():
    """The program under test: DVIDFS_BIN, or the debug build of this tree."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return os.environ.get("DVIDFS_BIN") or str(target / "debug" / "dvidfs")


def scratch(prefix):
    """A new directory below DVIDFS_TEST_TMP, which scripts/test sweeps at its end."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("DVIDFS_TEST_TMP")))


def mounted_at(path):
    """The number of the FUSE connection mounted at `path`, or None."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        where = fields[4].encode().decode("unicode_escape")
        kind = fields[fields.index("-") + 1]
        if where == str(path) and kind.startswith("fuse"):
            return int(fields[2].split(":")[1])
    return None


def abort(connection):
    """Ends a FUSE connection whatever its daemon does. True if it was there."""
    try:
        (CONNECTIONS / str(connection) / "abort").write_text("1")
        return True
    except OSError:
        return False


def waiting(connection):
    """Requests that the daemon has not answered; None where it cannot be seen."""
    try:
        return int((CONNECTIONS / str(connection) / "waiting").read_text())
    except OSError:
        return None


def detach(path):
    """Aborts the connection at `path` and unmounts it lazily."""
    connection = mounted_at(path)
    if connection is None:
        return
    abort(connection)
    for command in (["umount", "-l"], ["fusermount3", "-uz"]):
        if subprocess.run([*command, str(path)], capture_output=True, timeout=20).returncode == 0:
            return


class Process:
    """A child of ours with its output in a file, ended by its own pid."""

    def __init__(self, words, log, **options):
        self.words = [str(word) for word in words]
        self.log = Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)

    @property
    def pid(self):
        return self.child.pid

    def output(self):
        return self.log.read_text(errors="replace")

    def end(self, limit=15):
        """Asks it to end. True if it did so in time, and by itself with code 0."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(limit) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def kill(self):
        self.child.kill()
        self.child.wait(10)


class Mount:
    """`dvidfs mount -f URL DIR` for the length of a `with`, usable when `with` is entered."""

    def __init__(self, url, options=(), wait=60):
        self.url, self.options, self.wait = url, list(options), wait
        self.home = scratch("dvidfs-mount-")
        self.path = self.home / "mnt"
        self.path.mkdir()
        self.process = None
        self.connection = None

    def __enter__(self):
        # A disk cache would hide the server from the test: who wants one says where.
        cache = [] if "--cache-dir" in self.options else ["--no-cache"]
        words = [binary(), "mount", "-f", *self.options, *cache, self.url, self.path]
        self.process = Process(words, self.home / "log")
        try:
            self._until_usable()
        except BaseException:
            self.close()
            raise
        return self

    def _until_usable(self):
        end = time.monotonic() + self.wait
        while time.monotonic() < end:
            if self.process.child.poll() is not None:
                raise RuntimeError(f"mount ended at once ({self.process.child.returncode}): {self.process.output()}")
            self.connection = mounted_at(self.path)
            if self.connection is not None:
                break
            time.sleep(0.02)
        # Another process asks, for a stat that hangs cannot be called off from inside.
        left = max(1.0, end - time.monotonic())
        subprocess.run(["ls", str(self.path)], check=True, capture_output=True, timeout=left)

    def close(self):
        """Ends the mount. True if it ended cleanly: exit code 0, nothing left mounted."""
        clean = self.process.end()
        if mounted_at(self.path) is not None:
            clean = False
            detach(self.path)
        return clean

    def __exit__(self, kind, value, trace):
        clean = self.close()
        if kind is None and not clean:
            raise RuntimeError(f"the mount of {self.url} did not end cleanly: {self.process.output()[-2000:]}")


class Demo:
    """`dvidfs demo --serve 0`: the demo server alone, for the length of a `with`."""

    def __init__(self, dataset="test", options=()):
        self.home = scratch("dvidfs-demo-")
        self.words = [binary(), "demo", "--serve", "0", "--dataset", dataset, *options]
        self.url = None

    def __enter__(self):
        self.process = Process(self.words, self.home / "log")
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.child.poll() is None:
            for line in self.process.output().splitlines():
                if line.startswith("http://"):
                    self.url = line.split()[0]
                    return self
            time.sleep(0.02)
        output = self.process.output()
        self.process.kill()
        raise RuntimeError(f"the demo server named no address: {output}")

    def __exit__(self, *_):
        self.process.end()


class Watchdog:
    """Aborts connections when nobody says `pet` for `limit` seconds."""

    def __init__(self, limit, connections):
        self.limit, self.connections = limit, connections
        self.last, self.barked, self.over = time.monotonic(), False, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def pet(self):
        self.last = time.monotonic()

    def _watch(self):
        while not self.over.wait(0.2):
            if time.monotonic() - self.last > self.limit:
                self.barked = True
                for connection in self.connections:
                    abort(connection)
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def sweep(directory):
    """Detaches every FUSE mount below `directory`; says which. For the end of a run that failed."""
    below = str(Path(directory).resolve()) + "/"
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        where = line.split()[4].encode().decode("unicode_escape")
        if where.startswith(below) and mounted_at(where) is not None:
            found.append(where)
    for where in reversed(found):
        print(f"left mounted, now aborted: {where}", flush=True)
        detach(where)
    return len(found)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "sweep":
        sys.exit("usage: mounts.py sweep DIR")
    sys.exit(1 if sweep(sys.argv[2]) else 0)

"""What each reader makes of a block that cannot be read: it must say so, and not go on with other voxels.

The first chunk of an array has been read when its server goes away for good; then each reader reads the whole array, in a process
of its own (a failed read of a memory map ends it). Readers that are known to hide failed reads are named here and in the README.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

import arrays
import registry
from mounts import Demo, Mount

INSTANCE = "gray"
# They may go on, and `dvidfs check` tells of it. zarr-python 2 turns every error of its FSStore into fill values, and dask and ome-zarr-py open by it.
HIDES = {
    "zarr2-fsspec | volume.zarr", "zarr 2 N5FSStore | volume.n5", "dask (zarr 2) | volume-c256.zarr", "ome-zarr-py 0.10 | volume.zarr",
    "h5wasm | volume.h5", "pynrrd nrrd | flat", "pynrrd nhdr | flat",
}  # fmt: skip
LIMIT_S = 25


def readers():
    """{name: read(instance directory)} of this environment."""
    found = {}
    for name, make in arrays.available().items():
        found[f"{name} | volume.zarr"] = lambda instance, make=make: whole(make(), instance)
    for reader in registry.available():
        found[f"{reader.name} | {reader.layout}"] = lambda instance, reader=reader: reader.read(instance, 0).read()
    return found


def whole(reader, instance):
    return reader.read(reader.open(instance / "volume.zarr", "s0"))


def outcome(name, instance):
    """What reading ends in: `raised …`, `SIGBUS`, `waits …` (it asks again and again), or `went on` if the reader said nothing."""
    words = [sys.executable, __file__, name, str(instance)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"waits after {LIMIT_S} s"
    said = done.stdout.strip().splitlines()
    if done.returncode == -signal.SIGBUS:
        return "SIGBUS"
    if done.returncode or not said:
        return f"ended with {done.returncode}: {done.stderr.strip()[-200:]}"
    return said[-1]


def failed_reads(mount):
    return json.loads((mount.path / ".dvidfs" / "stats.json").read_text())["counters"]["failed_reads"]


def check(mount, name):
    """One reader on the mount without a server; whether it said what it had to."""
    before = failed_reads(mount)
    came = outcome(name, mount.path / INSTANCE)
    n_failed = failed_reads(mount) - before
    hides = came == "went on"
    good = n_failed > 0 and (name in HIDES or came == "SIGBUS" or came.startswith(("raised", "waits")))
    print(f"{name:<40} {came[:90]:<90} {n_failed:>4} reads failed{'' if good else '   FAILED'}", flush=True)
    return good, hides


def main():
    with Demo() as demo, Mount(demo.url, ("--settle", "0", "--no-prefetch", "--patience", "200ms")) as mount:
        (mount.path / INSTANCE / "volume.zarr" / "s0" / "0" / "0" / "0").read_bytes()
        demo.process.end()
        outcomes = [check(mount, name) for name in readers()]
    failures = sum(not good for good, _ in outcomes)
    n_hide = sum(hides for _, hides in outcomes)
    print(f"R21: {len(outcomes) - n_hide} readers say that a block could not be read, {n_hide} hide it as is known; {failures} failures")
    sys.exit(1 if failures or not outcomes else 0)


def one(name, instance):
    """Reads by one reader, and prints what came of it."""
    try:
        np.array(readers()[name](Path(instance)))  # a copy, for a map is not read before it is touched
        print("went on")
    except Exception as error:  # noqa: BLE001 (whatever it is, the reader has said so)
        print(f"raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    one(*sys.argv[1:]) if sys.argv[1:] else main()

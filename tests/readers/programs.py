"""Readers that are programs of other languages: each writes a line of JSON about an array, and after it the voxels of a box.

`scripts/lib.sh` (make_programs) builds them into the target directory.
"""

import json
import os
import subprocess

import numpy as np

from formats import Opened, by_attributes, hdf5_attributes
from mounts import ROOT

TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
LIMIT_S = 300


def run(words, box=None):
    """What the program says of the array, and the voxels as bytes: none without a box."""
    asked = [] if box is None else [",".join(f"{part.start}:{part.stop}" for part in box)]
    done = subprocess.run([*map(str, words), *asked], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S)
    if done.returncode:
        raise OSError(f"{words[0]}: {done.stderr.decode(errors='replace').strip()}")
    head, _, voxels = done.stdout.partition(b"\n")
    return json.loads(head), voxels


def opened(words, attributes_of):
    """An array as the program shows it."""
    head, _ = run(words)

    def read(at=Ellipsis):
        spatial = at if at is not Ellipsis else [slice(0, n) for n in head["shape"][-3:]]
        box = [*(slice(0, n) for n in head["shape"][:-3]), *spatial]
        _, voxels = run(words, box)
        return np.frombuffer(voxels, head["dtype"]).reshape([part.stop - part.start for part in box])

    return Opened(read, *attributes_of(head["attributes"]))


def zarrs(layout):
    def read(instance, k):
        return opened([TARGET / "zarrs" / "release" / "zarrs-read", instance / layout, f"s{k}"], by_attributes)

    return read


def h5wasm(instance, k):
    return opened(["node", TARGET / "h5wasm" / "read.mjs", instance / "volume.h5", f"s{k}"], hdf5_attributes)

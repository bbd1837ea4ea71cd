"""zarr-python 2 through FSStore, which turns every error of a chunk into fill values, while the server goes wrong.

    fsstore.py URL DIR SEED

First what the arrays must hold is asked of the server, which has to be well so long; then this says "ready", and reads random boxes
until its standard input ends. Its last line tells as JSON what came of it.
"""

import json
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np
import zarr

from oracle import Oracle

# Each with the view whose directory it lies in, and a level.
ARRAYS = [("gray", "", 0), ("gray", "", 1), ("gray_none", "", 0), ("u16", "", 0), ("seg32", "", 0), ("seg32", "supervoxels", 0)]
LONGEST = 96


class Wanted:
    """An array of the mount and all its voxels."""

    def __init__(self, oracle, root, name, view, level):
        volume = oracle.volume(name)
        self.what = f"{name} {view} s{level}"
        self.voxels = oracle.voxels(volume, volume.levels[level], view == "supervoxels")
        store = zarr.storage.FSStore(str(root / name / view / "volume.zarr"), mode="r")
        self.array = zarr.open_group(store, mode="r")[f"s{level}"]
        assert self.array.shape == self.voxels.shape, f"{self.what}: {self.array.shape}"

    def random_box(self, pick):
        begins = [pick.randrange(n) for n in self.voxels.shape]
        return tuple(slice(b, min(n, b + 1 + pick.randrange(LONGEST))) for b, n in zip(begins, self.voxels.shape))


def closed():
    """Set when standard input ends."""
    event = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), event.set()), daemon=True).start()
    return event


def main():
    url, root, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    oracle, over, pick = Oracle(url), closed(), random.Random(seed)
    arrays = [Wanted(oracle, root, *array) for array in ARRAYS]
    print("ready", flush=True)
    sums = {"bytes": 0, "reads": 0, "wrong_voxels": 0, "zeros": 0, "longest_s": 0.0, "places": []}
    while not over.is_set():
        wanted = pick.choice(arrays)
        box = wanted.random_box(pick)
        began = time.monotonic()
        got = wanted.array[box]
        sums["longest_s"] = max(sums["longest_s"], time.monotonic() - began)
        differs = got != wanted.voxels[box]
        sums["bytes"] += got.nbytes
        sums["reads"] += 1
        if differs.any():
            sums["wrong_voxels"] += int(differs.sum())
            sums["zeros"] += int((differs & (got == 0)).sum())
            if len(sums["places"]) < 5:
                at = [s.start for s in box]
                sums["places"].append(f"{wanted.what} at {at}: {int(differs.sum())} of {differs.size} voxels, zeros: {int((got[differs] == 0).sum())}")
    print(json.dumps(sums), flush=True)


if __name__ == "__main__":
    np.seterr(all="raise")
    main()

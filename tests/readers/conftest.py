"""The mounts under test, from the file that DVIDFS_MATRIX names (`matrix.py` writes it), and the cells that were compared."""

import json
import os
from pathlib import Path

import pytest

import registry
from arrays import available
from oracle import Oracle


class Node:
    """A mounted node, and what it must show."""

    def __init__(self, entry):
        self.label, self.url, self.mount = entry["label"], entry["url"], Path(entry["mount"])
        self.truth = entry.get("truth", {})
        self.boxes = entry.get("boxes", {})
        self.tolerant = entry.get("open", False)
        self.oracle = Oracle(self.url)
        self.is_first = False
        self.cells = []
        self._volumes, self._voxels, self._paths = {}, {}, None

    def volume(self, name):
        if name not in self._volumes:
            self._volumes[name] = self.oracle.volume(name)
        return self._volumes[name]

    def voxels(self, name, scale, supervoxels):
        """The oracle of a level, asked for once in a run."""
        key = (name, scale, supervoxels)
        if key not in self._voxels:
            volume = self.volume(name)
            self._voxels[key] = self.oracle.voxels(volume, volume.levels[scale], supervoxels)
        return self._voxels[key]

    def path(self, name):
        """The directory of an instance, as `node.json` says."""
        if self._paths is None:
            listed = json.loads((self.mount / "node.json").read_text())["instances"]
            self._paths = {entry["name"]: entry["path"] for entry in listed}
        return self.mount / self._paths[name].strip("/")


STATE = {"nodes": None}


def nodes():
    if STATE["nodes"] is None:
        place = os.environ.get("DVIDFS_MATRIX")
        if not place:
            pytest.exit("DVIDFS_MATRIX names no file: start these tests by scripts/test or tests/readers/matrix.py", 2)
        STATE["nodes"] = [Node(entry) for entry in json.loads(Path(place).read_text())]
        STATE["nodes"][0].is_first = True
    return STATE["nodes"]


def views():
    """(node, name, view) of everything with voxels."""
    for node in nodes():
        for name in node.oracle.instances():
            volume = node.volume(name)
            if volume is not None:
                yield from ((node, name, view) for view in (("bodies", "supervoxels") if volume.typename == "labelmap" else ("bodies",)))


def identity(*words):
    return "-".join(words).encode("ascii", "replace").decode()


def pytest_generate_tests(metafunc):
    if "reader" in metafunc.fixturenames:
        cases = [
            pytest.param(node, name, view, reader, make, id=identity(node.label, name, view, reader))
            for node, name, view in views()
            for reader, make in available().items()
        ]
        metafunc.parametrize("node, name, view, reader, make", cases)
    elif "layout_reader" in metafunc.fixturenames:
        # One node is enough: what differs from node to node lies below the layouts, and volume.zarr is read on all of them.
        cases = [
            pytest.param(node, name, view, reader, id=identity(name, view, reader.name, reader.layout))
            for node, name, view in views()
            if node.is_first and name not in registry.PLAIN
            for reader in registry.available()
            if reader.reads(node.volume(name))
        ]
        metafunc.parametrize("node, name, view, layout_reader", cases)
    elif "name" in metafunc.fixturenames:
        cases = [(node, name) for node in nodes() for name in node.oracle.instances()]
        labels = [f"{node.label}-{name}".encode("ascii", "replace").decode() for node, name in cases]
        metafunc.parametrize("node, name", cases, ids=labels)
    elif "node" in metafunc.fixturenames:
        metafunc.parametrize("node", nodes(), ids=[node.label for node in nodes()])


def pytest_sessionfinish():
    place = os.environ.get("DVIDFS_CELLS")
    if place:
        Path(place).write_text(json.dumps([cell for node in STATE["nodes"] or [] for cell in node.cells]))

"""Every voxel, shape, voxel size and corner of every layout, by the readers that people use, against the server's own `raw`."""

import json

import numpy as np
import pytest

from registry import available
from test_mount import compare

def exact_box(level, want):
    """The part of an aligned array that holds the data, and the corner of its first voxel in nm."""
    begin = [b - o for b, o in zip(level.data[0], level.origin)]
    end = [e - o for e, o in zip(level.data[1], level.origin)]
    at = tuple(slice(b, e) for b, e in zip(begin, end))
    return want[(Ellipsis, *at)], [b * v for b, v in zip(level.data[0], level.voxel_size)]


def check_layout(node, volume, view, reader, instance):
    """Compares every voxel of every level. Returns how many voxels and bytes that were."""
    compared, bytes_read = 0, 0
    for level in volume.levels:
        what = f"{volume.name} {view} s{level.scale} by {reader.name} from {reader.layout}"
        want = node.voxels(volume.name, level.scale, view == "supervoxels")
        corner = [o * v for o, v in zip(level.origin, level.voxel_size)]
        if reader.exact:
            want, corner = exact_box(level, want)
        opened = reader.read(instance, level.scale)
        got = np.ascontiguousarray(opened.read())
        if got.dtype.newbyteorder("=") == want.dtype.newbyteorder("="):
            got = got.astype(want.dtype)  # N5 is big-endian
        compare(got, want, volume, what)
        if opened.voxel_size is not None:
            assert list(opened.voxel_size) == pytest.approx(list(level.voxel_size), rel=1e-9), what
        if opened.corner is not None:
            assert list(opened.corner) == pytest.approx(corner, abs=1e-3), what
        compared += got.size
        bytes_read += got.nbytes
    return compared, bytes_read


def test_a_layout_is_read_as_the_server_has_it(node, name, view, layout_reader):
    volume, reader = node.volume(name), layout_reader
    instance = node.path(name) / ("supervoxels" if view == "supervoxels" else "")
    assert reader.layout in json.loads((instance / "attrs.json").read_text())["layouts"]
    voxels, size = check_layout(node, volume, view, reader, instance)
    cell = {"node": node.label, "instance": name, "type": volume.typename, "view": view, "reader": f"{reader.name} | {reader.layout}"}
    node.cells.append({**cell, "voxels": voxels, "bytes": size})


def test_every_reader_of_the_environment_read_something():
    from conftest import nodes

    seen = {cell["reader"] for node in nodes() for cell in node.cells}
    assert {f"{reader.name} | {reader.layout}" for reader in available()} <= seen

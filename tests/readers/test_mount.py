"""Every voxel of every instance of every mounted node, by every reader of this environment, against the server's own `raw`."""

import itertools
import json
import os
import random

import numpy as np
import pytest

from oracle import DTYPES


def compare(got, want, volume, what):
    """Equality in every voxel. Data that DVID stores as JPEG may differ by 1: two decoders round differently."""
    assert got.shape == want.shape and got.dtype == want.dtype, f"{what}: {got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    if volume.lossy:
        distance = np.abs(got.astype(np.int16) - want.astype(np.int16))
        assert distance.max() <= 1, f"{what}: {int((distance > 1).sum())} voxels differ by more than 1"
        # Two decoders differ in some voxels, not in most: a shifted volume cannot pass as rounding.
        assert (distance > 0).mean() < 0.1, f"{what}: {(distance > 0).mean():.0%} of the voxels differ by 1"
        return
    same = got.view(np.uint8) == want.view(np.uint8) if got.dtype.kind == "f" else got == want
    if not same.all():
        first = tuple(int(i) for i in np.argwhere(~same)[0])
        pytest.fail(f"{what}: {int((~same).sum())} of {same.size} differ, the first at {first}")


def random_boxes(shape, count, seed):
    """Boxes that are aligned with nothing."""
    pick = random.Random(seed)
    for _ in range(count):
        ends = [sorted(pick.sample(range(n + 1), 2)) for n in shape]
        yield tuple(slice(lo, hi) for lo, hi in ends)


def nanometers(attributes, key):
    """An attribute of an array in nm. It must be a list of integers, in nm or in pm."""
    values, units = attributes[key], attributes["units"]
    assert len(set(units)) == 1 and units[0] in ("nm", "pm"), units
    assert all(type(value) is int for value in values), f"{key}: {values}"
    return [value / (1000 if units[0] == "pm" else 1) for value in values]


def check_attributes(attributes, level, channels):
    size = list(level.voxel_size)
    assert nanometers(attributes, "voxel_size") == pytest.approx(size, abs=1e-9)
    assert nanometers(attributes, "resolution") == pytest.approx(size, abs=1e-9)
    corner = [o * v for o, v in zip(level.origin, level.voxel_size)]
    assert nanometers(attributes, "offset") == pytest.approx(corner, abs=1e-6)
    assert attributes["axis_names"] == (["z", "y", "x"] if channels is None else ["c^", "z", "y", "x"])


def as_truth(node, name, view, level, want):
    """The truth that was written, as an array of the mount; None where the harness keeps none."""
    own = level.source == name
    key = f"{name if own else level.source}|{view}|{level.scale if own else 0}"
    entry = node.truth.get(key)
    if entry is None:
        return None
    written, out = np.load(entry["file"]), np.zeros_like(want)
    begin = [at - o for at, o in zip(entry["offset"], level.origin)]
    where = tuple(slice(b, min(b + n, m)) for b, n, m in zip(begin, written.shape[-3:], out.shape[-3:]))
    out[(Ellipsis, *where)] = written[(Ellipsis, *(slice(s.stop - s.start) for s in where))]
    return out


def test_every_voxel_is_right(node, name, view, reader, make):
    volume = node.volume(name)
    directory = node.path(name) / ("supervoxels" if view == "supervoxels" else "") / "volume.zarr"
    compared, bytes_read = 0, 0
    for level in volume.levels:
        what = f"{name} {view} s{level.scale} by {reader}"
        opened = make()
        array = opened.open(directory, f"s{level.scale}")
        shape, dtype, chunks, attributes = opened.metadata(array)
        assert (shape, dtype, chunks) == (volume.shape(level.shape), volume.dtype, volume.shape(level.chunk)), what
        check_attributes(attributes, level, volume.channels)
        want = node.voxels(name, level.scale, view == "supervoxels")
        got = opened.read(array)
        compare(got, want, volume, what)
        written = as_truth(node, name, view, level, want)
        if written is not None:
            compare(got, written, volume, f"{what}, what was written")
        for box in random_boxes(want.shape, 3, f"{what}"):
            compare(opened.read(array, box), want[box], volume, f"{what} {box}")
        compared += got.size
        bytes_read += got.nbytes
    assert not os.path.exists(directory / f"s{len(volume.levels)}"), f"{name}: a level that the server lacks"
    node.cells.append(
        {"node": node.label, "instance": name, "type": volume.typename, "view": view, "reader": reader, "voxels": compared, "bytes": bytes_read}
    )


def test_info_is_the_servers_own_bytes(node, name):
    assert (node.path(name) / "info").read_bytes() == node.oracle.info_bytes(name)


def test_a_chunk_that_touches_the_data_exists_and_is_listed(node, name):
    volume = node.volume(name)
    if volume is None:
        assert not (node.path(name) / "volume.zarr").exists(), "an array without known extents or voxels"
        return
    for level in volume.levels:
        place = node.path(name) / "volume.zarr" / f"s{level.scale}"
        listed = {os.path.relpath(os.path.join(at, f), place) for at, _, files in os.walk(place) for f in files}
        chunks = {entry for entry in listed if not os.path.basename(entry).startswith(".")}
        grid = [range(-(-n // c)) for n, c in zip(level.shape, level.chunk)]
        channel = () if volume.channels is None else (0,)
        for index in itertools.product(*grid):
            begin = [i * c + o for i, c, o in zip(index, level.chunk, level.origin)]
            end = [b + c for b, c in zip(begin, level.chunk)]
            touches = all(b < hi and lo < e for b, e, lo, hi in zip(begin, end, *level.data))
            key = "/".join(map(str, channel + index))
            exists = (place / key).exists()
            assert exists or not touches, f"{key} of s{level.scale} is missing"
            assert exists == (key in chunks), f"{key} of s{level.scale}: listed {key in chunks}, there {exists}"
        outside = "/".join(map(str, channel + tuple(len(axis) for axis in grid)))
        assert not (place / outside).exists(), f"{outside} lies outside of s{level.scale}"


def test_attrs_json_tells_the_array(node, name):
    attributes = json.loads((node.path(name) / "attrs.json").read_text())
    volume = node.volume(name)
    assert attributes["name"] == name and attributes["writable"] is False
    assert attributes["source"]["uuid"] == node.oracle.uuid and attributes["source"]["instance"] == name
    if volume is None:
        assert attributes["shape"] is None and attributes["layouts"] == []
        return
    level = volume.levels[0]
    assert attributes["shape"] == list(volume.shape(level.shape))
    assert attributes["num_channels"] == volume.channels and attributes["spatial_axes"] == ["z", "y", "x"]
    assert attributes["axes"] == ([] if volume.channels is None else ["c"]) + ["z", "y", "x"]
    assert np.dtype(attributes["dtype"]) == volume.dtype
    assert attributes["voxel_size"] == pytest.approx(list(level.voxel_size), rel=1e-12)
    assert attributes["offset"] == pytest.approx([o * v for o, v in zip(level.origin, level.voxel_size)], abs=1e-6)
    begin, end = level.data
    assert attributes["box"] == {"begin": list(begin), "end": list(end)}
    assert attributes["block_shape"] == list(level.block)
    assert attributes["lossy"] is volume.lossy
    assert [entry["scale"] for entry in attributes["levels"]] == [each.scale for each in volume.levels]


def test_ome_translations_name_the_centre_of_voxel_0(node, name):
    volume = node.volume(name)
    if volume is None:
        return
    group = json.loads((node.path(name) / "volume.zarr" / ".zattrs").read_text())
    (scales,) = group["multiscales"]
    axes = [(axis["name"], axis["type"]) for axis in scales["axes"]]
    assert axes == ([] if volume.channels is None else [("c", "channel")]) + [(axis, "space") for axis in "zyx"]
    assert scales["version"] == "0.4"
    assert [entry["path"] for entry in scales["datasets"]] == [f"s{level.scale}" for level in volume.levels]
    first = volume.levels[0]
    for level, entry in zip(volume.levels, scales["datasets"]):
        scale, translation = entry["coordinateTransformations"]
        one, zero = ([], []) if volume.channels is None else ([1.0], [0.0])
        assert scale["type"] == "scale" and scale["scale"] == pytest.approx(one + list(level.voxel_size), rel=1e-12)
        half = (2**level.scale - 1) / 2
        centre = [o * v + half * v for o, v in zip(first.origin, first.voxel_size)]
        assert translation["type"] == "translation" and translation["translation"] == pytest.approx(zero + centre, abs=1e-6)


def test_the_root_lists_the_instances_of_the_node(node):
    told = json.loads((node.mount / "node.json").read_text())
    assert told["uuid"] == node.oracle.uuid
    assert sorted(entry["name"] for entry in told["instances"]) == node.oracle.instances()
    listed = set(os.listdir(node.mount)) - {"README.txt", "node.json", ".dvidfs", "boxes"}
    assert listed == {entry["path"].strip("/") for entry in told["instances"]}
    by_uuid = {each["UUID"]: each for each in node.oracle.nodes().values()}
    assert told["locked"] is by_uuid[node.oracle.uuid]["Locked"]


def test_nothing_can_be_written(node):
    path = node.mount / "node.json"
    for attempt in (
        lambda: open(path, "r+b"),
        lambda: open(node.mount / "new", "wb"),
        lambda: os.mkdir(node.mount / "new"),
        lambda: os.unlink(path),
        lambda: os.rename(path, node.mount / "new"),
        lambda: os.chmod(path, 0o600),
        lambda: os.truncate(path, 0),
    ):
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno in (30, 13, 1), refused.value


def test_every_type_of_voxels_was_seen():
    """A run over an empty repo would pass everything else."""
    from conftest import nodes

    seen = {volume.typename for node in nodes() for volume in map(node.volume, node.oracle.instances()) if volume}
    assert seen == set(DTYPES), f"missing: {set(DTYPES) - seen}"

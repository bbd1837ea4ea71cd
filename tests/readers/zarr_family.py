"""The Zarr trees of a mount by every reader of this environment: each voxel against TensorStore's reading of `volume.zarr`.

    python zarr_family.py MOUNT [INSTANCE...]

`matrix.py` compares `volume.zarr` with the server itself; this compares the other trees, and what readers make of
their metadata, with it.
"""

import json
import sys
import traceback
from pathlib import Path

import numpy as np

TREES = ("volume.zarr", "volume-c256.zarr", "volume-v3.zarr")


class Tree:
    """One directory of arrays, and what `attrs.json` says of them."""

    def __init__(self, view, name):
        self.path, self.is_v3 = view / name, name == "volume-v3.zarr"
        self.attrs = json.loads((view / "attrs.json").read_text())
        self.levels = [level["path"] for level in self.attrs["levels"]]

    def metadata(self, level):
        """The attributes of a level as they stand in its file."""
        if self.is_v3:
            return json.loads((self.path / level / "zarr.json").read_text())["attributes"]
        return json.loads((self.path / level / ".zattrs").read_text())

    def multiscale(self):
        if self.is_v3:
            return json.loads((self.path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
        return json.loads((self.path / ".zattrs").read_text())["multiscales"][0]


def truth(view, level):
    return tensorstore_array(view / "volume.zarr" / level, "zarr").read().result()


def tensorstore_array(path, driver):
    import tensorstore

    return tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}}, open=True).result()


def by_tensorstore(tree, level):
    return tensorstore_array(tree.path / level, "zarr3" if tree.is_v3 else "zarr").read().result()


def by_zarr(tree, level):
    import zarr

    return np.asarray(zarr.open_group(str(tree.path), mode="r")[level][...])


def by_dask(tree, level):
    import dask.array

    return dask.array.from_zarr(str(tree.path / level)).compute()


def by_xarray(tree, level):
    import xarray

    others = [other for other in tree.levels if other != level]
    opened = xarray.open_zarr(str(tree.path), mask_and_scale=False, drop_variables=others, consolidated=not tree.is_v3)
    assert opened[level].dims == ("z", "y", "x"), opened[level].dims
    return opened[level].values


def by_zarrs(tree, level):
    import zarr
    import zarrs  # noqa: F401

    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return np.asarray(zarr.open_array(str(tree.path / level), mode="r")[...])


def by_ome_zarr(tree, level):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    node = next(iter(Reader(parse_url(str(tree.path)))()))
    index = tree.levels.index(level)
    want = tree.multiscale()["datasets"][index]["coordinateTransformations"]
    assert node.metadata["coordinateTransformations"][index] == want, node.metadata
    assert len(node.data) == len(tree.levels)
    return node.data[index].compute()


def nanometers(tree, level):
    """Voxel size and offset of a level in nm, as `attrs.json` has them."""
    found = tree.attrs["levels"][tree.levels.index(level)]
    return np.array(found["voxel_size"]), np.array(found["offset"])


def check_place(tree, level, voxel_size, offset, units):
    """What a reader makes of voxel size and offset."""
    scale = 1000.0 if units and units[0] == "pm" else 1.0
    want = nanometers(tree, level)
    assert np.allclose(np.array(voxel_size) / scale, want[0]), (voxel_size, want[0])
    assert np.allclose(np.array(offset) / scale, want[1]), (offset, want[1])


def by_funlib(tree, level):
    from funlib.persistence import open_ds

    array = open_ds(str(tree.path / level))
    check_place(tree, level, array.voxel_size, array.roi.offset, array.units)
    assert list(array.axis_names) == ["z", "y", "x"]
    return array[array.roi]


def by_gunpowder(tree, level):
    import gunpowder as gp

    key = gp.ArrayKey("VOXELS")
    source = gp.ZarrSource(str(tree.path), {key: level}, {key: gp.ArraySpec(interpolatable=False)})
    with gp.build(source):
        spec = source.spec[key]
        check_place(tree, level, spec.voxel_size, spec.roi.offset, tree.metadata(level)["units"])
        request = gp.BatchRequest()
        request[key] = gp.ArraySpec(roi=spec.roi)
        return source.request_batch(request)[key].data


def by_iohub(tree, level):
    from iohub import open_ome_zarr

    with open_ome_zarr(str(tree.path), layout="fov", mode="r") as position:
        return np.asarray(position[level][...])


def by_z5py(tree, level):
    import z5py

    return z5py.File(str(tree.path), mode="r")[level][...]


READERS = {
    name: reader
    for name, reader in {
        "tensorstore": by_tensorstore,
        "zarr": by_zarr,
        "dask.array": by_dask,
        "xarray": by_xarray,
        "zarrs": by_zarrs,
        "ome_zarr": by_ome_zarr,
        "funlib.persistence": by_funlib,
        "gunpowder": by_gunpowder,
        "iohub": by_iohub,
        "z5py": by_z5py,
    }.items()
}


def available():
    import importlib

    found = {}
    for name, reader in READERS.items():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        found[name] = reader
    return found


def speaks_v3(name):
    if name in ("tensorstore", "z5py", "zarrs"):
        return True
    import zarr

    return not zarr.__version__.startswith("2.")


def check_ome(tree, level):
    """The centre of voxel 0 by OME against the corner of `attrs.json`: half a voxel of level 0 less than half of its own."""
    index = tree.levels.index(level)
    steps = {step["type"]: step[step["type"]] for step in tree.multiscale()["datasets"][index]["coordinateTransformations"]}
    size, corner = nanometers(tree, level)
    finest = np.array(tree.attrs["voxel_size"])
    assert np.allclose(steps["scale"], size), (steps, size)
    assert np.allclose(steps["translation"], corner + size / 2 - finest / 2), (steps, corner)


def views(mount, names):
    for directory in sorted(mount.iterdir()):
        for view in (directory, directory / "supervoxels"):
            if (view / "volume.zarr").is_dir() and (not names or directory.name in names):
                yield view


def same(got, want):
    if got.dtype != want.dtype or got.shape != want.shape:
        return False
    return np.array_equal(got.view(np.uint8), want.view(np.uint8)) if got.dtype.kind == "f" else np.array_equal(got, want)


def main():
    mount, names = Path(sys.argv[1]), sys.argv[2:]
    right, wrong, voxels = {}, [], 0
    for view in views(mount, names):
        for level in Tree(view, "volume.zarr").levels:
            want = np.ascontiguousarray(truth(view, level))
            for tree in (Tree(view, name) for name in TREES):
                check_ome(tree, level)
                for name, reader in available().items():
                    if tree.is_v3 and not speaks_v3(name):
                        continue
                    what = f"{view.relative_to(mount)}/{tree.path.name}/{level} by {name}"
                    try:
                        got = np.ascontiguousarray(reader(tree, level))
                        assert same(got, want), f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
                    except Exception:
                        wrong.append(f"{what}: {traceback.format_exc().strip().splitlines()[-1]}")
                        continue
                    key = (name, tree.path.name)
                    right[key] = right.get(key, 0) + 1
                    voxels += want.size
    for key, count in sorted(right.items()):
        print(f"{key[0]:<20}{key[1]:<20}{count:>5} arrays right")
    print(f"{voxels} voxels compared and equal, {len(wrong)} arrays wrong")
    for line in wrong:
        print(f"WRONG {line}")
    sys.exit(1 if wrong or not right else 0)


if __name__ == "__main__":
    main()

"""Every picture of every instance, in pixels, size, resolution and the opinion of other programs; and what validators say."""

import subprocess

import ome_zarr_models
import pytest
import zarr

import pictures
from conftest import identity, views
from registry import PLAIN

VIEWS = [
    pytest.param(node.path(name) / ("supervoxels" if view == "supervoxels" else ""), id=identity(node.label, name, view))
    for node, name, view in views()
    if node.is_first and name not in PLAIN
]


@pytest.mark.parametrize("place", VIEWS)
def test_each_picture_holds_its_plane(place):
    assert pictures.check_view(place) > 0


@pytest.mark.parametrize("place", VIEWS)
@pytest.mark.parametrize("tree, version", [("volume.zarr", "0.4"), ("volume-c256.zarr", "0.4"), ("volume-v3.zarr", "0.5")])
def test_ome_metadata_are_valid(place, tree, version):
    group = zarr.open_group(str(place / tree), mode="r")
    model = ome_zarr_models.open_ome_zarr(group)
    attributes = dict(group.attrs)
    multiscale = attributes.get("ome", attributes)["multiscales"][0]
    assert type(model).__name__ == ("ImageLabel" if multiscale["type"] == "mode" else "Image")
    assert model.ome_zarr_version == version


@pytest.mark.parametrize("place", VIEWS)
def test_hdf5_is_what_the_tools_of_hdf5_expect(place, tmp_path):
    listed = subprocess.run(["h5ls", "-r", str(place / "volume.h5")], capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0 and not listed.stderr, listed
    assert "/s0" in listed.stdout and "Dataset" in listed.stdout, listed
    # Every level can be copied as it is, and compressed: HDF5 makes no chunk that is longer than its dataset.
    for command in (["h5repack", "-f", "GZIP=1", place / "volume.h5", tmp_path / "small.h5"],
                    ["h5diff", place / "volume.h5", tmp_path / "small.h5"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done

"""The pictures of an instance by tifffile, Pillow and imageio: each pixel against `volume.zarr`, which has its own tests.

`tiffinfo` (libtiff-tools) and `pngcheck` are asked for their opinion. The colours of labels are worked out anew here, after the description in `src/layout/label_colour.rs`.
"""

import json
import shutil
import subprocess

import imageio.v3 as imageio
import numpy as np
import tifffile
import zarr
from PIL import Image

# The axis that a picture lies across, and those down and to the right (z, y, x).
PLANES = {"xy": (0, 1, 2), "xz": (1, 0, 2), "yz": (2, 0, 1)}
PNG_TYPES = (np.uint8, np.uint16)


def colour(label):
    if label == 0:
        return 0, 0, 0
    h = (label ^ label >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    h = (h ^ h >> 27) * 0x94D049BB133111EB % 2**64
    h ^= h >> 31
    hue, s, v = h % 2**16 * 6, 128 + (h >> 16) % 128, 160 + (h >> 32) % 96
    f, p = (hue >> 8) % 256, v * (255 - s) // 255
    q, t = v * (65025 - s * f) // 65025, v * (65025 - s * (255 - f)) // 65025
    return [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)][hue >> 16]


def coloured(labels):
    values, index = np.unique(labels, return_inverse=True)
    return np.array([colour(int(value)) for value in values], np.uint8)[index.reshape(labels.shape)]


def approved(command, paths):
    """Another validator has nothing to say against these files."""
    assert shutil.which(command[0]), f"no {command[0]} here: scripts/test installs it"
    if paths:
        found = subprocess.run(command + [str(path) for path in paths], capture_output=True, text=True)
        assert found.returncode == 0 and not found.stderr, found


def data_of(view, attrs, level):
    """The true box of the data at a level as an array with channels last, and the array index where it begins."""
    array = zarr.open_array(view / "volume.zarr" / f"s{level}", mode="r")
    finest = attrs["levels"][0]
    origin = [round(o / v) // 2**level for o, v in zip(finest["offset"], attrs["voxel_size"])]
    begin = [(b >> level) - o for b, o in zip(attrs["box"]["begin"], origin)]
    end = [-(-e >> level) - o for e, o in zip(attrs["box"]["end"], origin)]
    box = tuple(slice(b, e) for b, e in zip(begin, end))
    voxels = array[...]
    return (np.moveaxis(voxels[(slice(None), *box)], 0, -1) if voxels.ndim == 4 else voxels[box]), begin


def check_tiffs(paths, stack, per_centimeter):
    read = tifffile.imread(paths)
    assert read.dtype == stack.dtype and np.array_equal(read, stack)
    with tifffile.TiffFile(paths[0]) as file:
        (page,) = file.pages
        assert np.allclose(page.resolution, per_centimeter, rtol=1e-9) and page.resolutionunit == 3
    for path, plane in zip(paths, stack):
        assert path.stat().st_size == 256 + plane.nbytes
        assert np.array_equal(imageio.imread(path, plugin="tifffile"), plane)
        if stack.dtype != np.uint64:  # Pillow has none
            assert np.array_equal(np.asarray(Image.open(path)).astype(stack.dtype), plane)
    approved(["tiffinfo"], [paths[0], paths[-1]])


def check_pngs(paths, stack):
    for path, plane in zip(paths, stack):
        n = plane.nbytes + plane.shape[0]
        assert path.stat().st_size == 63 + n + 5 * -(-n // 65535)
        Image.open(path).verify()
        assert np.array_equal(np.asarray(Image.open(path)), plane)
        assert np.array_equal(imageio.imread(path, plugin="pillow"), plane)
    approved(["pngcheck", "-q"], paths)


def check_level(view, attrs, level):
    data, begin = data_of(view, attrs, level)
    is_label, n_files = attrs["typename"].startswith("label"), 0
    for name, (across, down, right) in PLANES.items():
        folder = view / "slices" / f"s{level}" / name
        stack = np.moveaxis(data, across, 0)
        indices = range(begin[across], begin[across] + len(stack))
        tiffs, pngs = ([folder / f"{index:06}.{end}" for index in indices] for end in ("tif", "png"))
        if not is_label and data.dtype not in PNG_TYPES:
            pngs = []
        assert sorted(folder.iterdir()) == sorted(tiffs + pngs)
        voxel_nm = [attrs["voxel_size"][axis] * 2**level for axis in (right, down)]
        check_tiffs(tiffs, stack, [1e7 / nm for nm in voxel_nm])
        check_pngs(pngs, coloured(stack) if is_label else stack)
        n_files += len(tiffs) + len(pngs)
    return n_files


def check_view(view):
    """Compares all pictures of a view. Returns how many those were."""
    attrs = json.loads((view / "attrs.json").read_text())
    levels = range(len(attrs["levels"]))
    assert sorted(path.name for path in (view / "slices").iterdir()) == [f"s{level}" for level in levels]
    n_files = sum(check_level(view, attrs, level) for level in levels)
    return n_files


"""The programs that read the layouts beside `volume.zarr`. Each opens one level of one instance as its users would.

A reader gives what its library says of the array: voxels as (z, y, x) or (c, z, y, x), of any box, voxel size and the corner of
its first voxel in nm, or None where the format or the library has no place for it. Libraries are imported where they are used:
an environment has those of its requirements file.
"""

import dataclasses
import json
from pathlib import Path
from typing import Callable

import numpy as np


@dataclasses.dataclass
class Opened:
    """One level as a library shows it. `read` takes slices of the spatial axes, or Ellipsis."""

    read: Callable
    voxel_size: tuple | None  # nm, zyx
    corner: tuple | None  # nm, zyx


def nanometers(values, units):
    """Integers of the machine learning attributes, which are nm or pm."""
    unit = {unit for unit, value in zip(units, values)}
    assert unit in ({"nm"}, {"pm"}), units
    return tuple(value / (1000 if unit == {"pm"} else 1) for value in values)


def by_attributes(attributes, reverse=False):
    """Voxel size and corner of an array's own attributes."""
    step = -1 if reverse else 1
    # N5 has an entry of `resolution` and `units` for each axis, the channels' last.
    size, corner, resolution = (nanometers(attributes[key][:3], attributes["units"][:3]) for key in ("voxel_size", "offset", "resolution"))
    assert resolution == size
    return size[::step], corner[::step]


def by_ome(transformations):
    """Voxel size and corner of an OME dataset, whose translation names the centre of voxel 0 of its level."""
    scale = next(each["scale"] for each in transformations if each["type"] == "scale")[-3:]
    centre = next(each["translation"] for each in transformations if each["type"] == "translation")[-3:]
    return tuple(scale), tuple(centre)


def boxes_of(array, channel_last=False):
    """Reads of anything that is sliced as numpy slices: (…, z, y, x), or (z, y, x, c) of pictures and their like."""

    def read(at=Ellipsis):
        if channel_last and len(array.shape) == 4:
            return np.moveaxis(np.asarray(array[at] if at is Ellipsis else array[(*at, slice(None))]), -1, 0)
        return np.asarray(array[at] if at is Ellipsis else array[(Ellipsis, *at)])

    return read


def as_level(array, attributes):
    return Opened(boxes_of(array), *by_attributes(dict(attributes)))


# -- Zarr v2 and v3


def zarr_python(layout):
    def read(instance, k):
        import zarr

        array = zarr.open_group(str(instance / layout), mode="r")[f"s{k}"]
        return as_level(array, array.attrs)

    return read


def zarrs_python(instance, k):
    import zarr
    import zarrs  # noqa: F401 (registers the pipeline)

    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        array = zarr.open_group(str(instance / "volume-v3.zarr"), mode="r")[f"s{k}"]
        return as_level(array, array.attrs)


def dask_array(layout):
    def read(instance, k):
        import dask.array

        voxels = dask.array.from_zarr(str(instance / layout / f"s{k}"))
        return Opened(lambda at=Ellipsis: voxels[at if at is Ellipsis else (Ellipsis, *at)].compute(scheduler="threads", num_workers=4), None, None)

    return read


def xarray_dataset(layout):
    def read(instance, k):
        import xarray

        group = instance / layout
        levels = [path.name for path in group.iterdir() if path.is_dir()]
        others = [level for level in levels if level != f"s{k}"]
        options = {"consolidated": layout == "volume.zarr", "drop_variables": others, "mask_and_scale": False, "chunks": None}
        array = xarray.open_zarr(group, **options)[f"s{k}"]
        return Opened(lambda at=Ellipsis: array[at if at is Ellipsis else (Ellipsis, *at)].values, *by_attributes(array.attrs))

    return read


def ome_zarr_py(layout):
    def read(instance, k):
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader

        node = next(iter(Reader(parse_url(str(instance / layout)))()))
        size, centre = by_ome(node.metadata["coordinateTransformations"][k])
        # A voxel of scale s covers 2^s of the finest, and its centre lies in the middle of theirs.
        scale = json.loads((instance / "attrs.json").read_text())["levels"][k]["scale"]
        corner = tuple(c - (s - s / 2**scale) / 2 for c, s in zip(centre, size))
        return Opened(boxes_of(node.data[k]), size, corner)

    return read


def funlib(layout):
    def read(instance, k):
        from funlib.persistence import open_ds

        array = open_ds(str(instance / layout / f"s{k}"), mode="r")
        size, corner = (nanometers(list(values), list(array.units)) for values in (array.voxel_size, array.offset))
        return Opened(boxes_of(array), size, corner)

    return read


def gunpowder_zarr(instance, k):
    import gunpowder as gp

    key, group = gp.ArrayKey("VOXELS"), instance / "volume.zarr"
    units = json.loads((group / f"s{k}" / ".zattrs").read_text())["units"]
    source = gp.ZarrSource(str(group), {key: f"s{k}"})
    with gp.build(source):
        spec = source.spec[key]

    def read(at=Ellipsis):
        roi = spec.roi
        if at is not Ellipsis:
            begin, end = (gp.Coordinate(getattr(part, side) for part in at) for side in ("start", "stop"))
            roi = gp.Roi(roi.offset + begin * spec.voxel_size, (end - begin) * spec.voxel_size)
        request = gp.BatchRequest()
        request[key] = gp.ArraySpec(roi=roi)
        with gp.build(source):
            return np.asarray(source.request_batch(request)[key].data)

    return Opened(read, nanometers(list(spec.voxel_size), units), nanometers(list(spec.roi.offset), units))


def iohub_position(layout):
    def read(instance, k):
        from iohub import open_ome_zarr

        return Opened(boxes_of(open_ome_zarr(instance / layout, mode="r")[f"s{k}"]), None, None)

    return read


def tensorstore_of(driver, layout):
    def read(instance, k):
        import tensorstore

        path = f"{instance / layout}/s{k}/"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": path}}
        array = tensorstore.open(spec, open=True, read=True, write=False).result()
        turned = array.T if driver == "n5" else array
        return Opened(lambda at=Ellipsis: turned[at if at is Ellipsis else (Ellipsis, *at)].read().result(), None, None)

    return read


# -- N5 and precomputed


def zarr2_n5(store):
    def read(instance, k):
        import zarr

        array = zarr.open_group(getattr(zarr, store)(str(instance / "volume.n5")), mode="r")[f"s{k}"]
        # The store turns shapes and voxels round, but not the attributes of ours.
        return Opened(boxes_of(array), *by_attributes(dict(array.attrs), reverse=True))

    return read


def tensorstore_precomputed(instance, k):
    import tensorstore

    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{instance / 'precomputed'}/"}, "scale_index": k}
    array = tensorstore.open(spec, open=True, read=True, write=False).result()
    size = tuple(unit.multiplier * {"nm": 1}[unit.base_unit] for unit in array.dimension_units[:3])[::-1]
    corner = tuple(o * s for o, s in zip(array.domain.origin[:3][::-1], size))
    origin = array.domain.origin[:3]

    def read(at=Ellipsis):
        if at is Ellipsis:
            return channels_first(array.read().result())
        return channels_first(array[tuple(slice(a.start + o, a.stop + o) for a, o in zip(at[::-1], origin))].read().result())

    return Opened(read, size, corner)


def cloud_volume(instance, k):
    import cloudvolume

    volume = cloudvolume.CloudVolume(f"file://{instance / 'precomputed'}", mip=k, fill_missing=False, progress=False, cache=False)
    size = tuple(float(v) for v in volume.resolution)[::-1]
    corner = tuple(float(o) * s for o, s in zip(tuple(volume.voxel_offset)[::-1], size))

    def read(at=Ellipsis):
        box = tuple(slice(a.start + o, a.stop + o) for a, o in zip(at[::-1], map(int, volume.voxel_offset))) if at is not Ellipsis else slice(None)
        return channels_first(np.asarray(volume[box]))

    return Opened(read, size, corner)


def channels_first(xyzc):
    """(x, y, z, c) as (c, z, y, x), or (z, y, x) of one channel."""
    voxels = xyzc.T
    return voxels[0] if len(voxels) == 1 else voxels


def webknossos_layer(instance, k):
    """WEBKNOSSOS counts from the array's first voxel and knows no offset; its box is that of the data."""
    import webknossos

    dataset = webknossos.Dataset.open(instance)
    (layer,) = dataset.layers.values()
    mag = webknossos.Mag(2**k)
    box = layer.bounding_box.align_with_mag(mag, ceil=True)
    size = tuple(float(v) * 2**k for v in dataset.voxel_size_with_unit.to_nanometer())[::-1]
    return Opened(lambda at=Ellipsis: np.ascontiguousarray(layer.get_mag(mag).read(absolute_bounding_box=box)), size, None)


def z5py_group(name):
    def read(instance, k):
        import z5py

        file = z5py.File(str(instance / name), mode="r", use_zarr_format=name.endswith(".zarr"))
        array = file[f"s{k}"]
        return Opened(boxes_of(array), *by_attributes({key: list(array.attrs[key]) for key in ("voxel_size", "offset", "resolution", "units")}, reverse=name.endswith(".n5")))

    return read


# -- single files


def hdf5_attributes(attributes):
    text = lambda value: value.decode() if isinstance(value, bytes) else str(value)
    units = [text(unit) for unit in np.atleast_1d(attributes["units"])]
    return tuple(nanometers([int(v) for v in attributes[key]], units * (3 // len(units))) for key in ("voxel_size", "offset"))


def h5py_file(instance, k):
    import h5py

    array = h5py.File(instance / "volume.h5", "r")[f"s{k}"]
    return Opened(boxes_of(array), *hdf5_attributes(array.attrs))


def netcdf4_file(instance, k):
    import netCDF4

    file = netCDF4.Dataset(instance / "volume.h5", "r")
    array = file.variables[f"s{k}"]
    array.set_auto_maskandscale(False)
    read = boxes_of(array)
    attributes = {key: array.getncattr(key) for key in ("voxel_size", "offset", "units")}
    # The file is closed when nothing holds it any more.
    return Opened(lambda at=Ellipsis: (file, read(at))[1], *hdf5_attributes(attributes))


def npy_file(mode):
    def read(instance, k):
        return Opened(boxes_of(np.load(instance / "flat" / f"s{k}.npy", mmap_mode=mode), channel_last=True), None, None)

    return read


def raw_memmap(instance, k):
    """The raw file beside its header, as a C program reads it."""
    shape = np.load(instance / "flat" / f"s{k}.npy", mmap_mode="r")
    voxels = np.memmap(instance / "flat" / f"s{k}.raw", dtype=shape.dtype, mode="r", shape=shape.shape)
    return Opened(boxes_of(voxels, channel_last=True), None, None)


def simple_itk(extension):
    def read(instance, k):
        import SimpleITK

        image = SimpleITK.ReadImage(str(instance / "flat" / f"s{k}.{extension}"))
        return Opened(boxes_of(SimpleITK.GetArrayFromImage(image), channel_last=True), image.GetSpacing()[::-1], image.GetOrigin()[::-1])

    return read


def pynrrd(extension):
    def read(instance, k):
        import nrrd

        voxels, header = nrrd.read(str(instance / "flat" / f"s{k}.{extension}"), index_order="C")
        directions = np.asarray(header["space directions"])[-3:]
        return Opened(boxes_of(voxels, channel_last=True), tuple(np.diag(directions))[::-1], tuple(header["space origin"])[::-1])

    return read


PLANES = {"xy": 0, "xz": 1, "yz": 2}


def picture_stack(plane, extension, open_one):
    """All pictures of a directory as one array; the first one's number is the array index where they begin."""

    def read(instance, k):
        files = sorted((instance / "slices" / f"s{k}" / plane).glob(f"*.{extension}"))
        stack = np.stack([np.asarray(open_one(file)) for file in files], axis=PLANES[plane])
        return Opened(boxes_of(stack, channel_last=True), None, None)

    return read


def by_tifffile(file):
    import tifffile

    return tifffile.imread(file)


def by_pillow(file):
    import PIL.Image

    with PIL.Image.open(file) as image:
        return np.array(image)


def by_imageio(file):
    import imageio.v3

    return imageio.v3.imread(file)

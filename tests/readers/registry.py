"""Which reader reads which layout in which environment, and what it cannot read of it.

`LIMITS` are facts about the readers, not about the mount; each is said in docs/readers.md as well.
"""

import dataclasses
from pathlib import Path
from typing import Callable

import formats as f
import programs


@dataclasses.dataclass(frozen=True)
class Reader:
    """One program that reads one layout."""

    name: str
    layout: str  # what it opens in the instance's directory
    read: Callable
    exact: bool = False  # the layout holds the data's exact box, not the array's
    dtypes: tuple = ()  # all it reads; empty: every dtype
    channels: bool = True  # whether it reads rgba8
    whole: bool = False  # it reads a whole file, or lists every chunk, whatever box is asked for: no reader of huge volumes

    def reads(self, volume):
        """Whether this reader can be expected to read an instance."""
        return (not self.dtypes or volume.dtype.name in self.dtypes) and (self.channels or volume.channels is None)


INTEGERS = ("uint8", "uint16")

# Instances of the demo server that differ from others in how the server stores them, which no layout can tell.
PLAIN = {"gray_gzip", "gray_none", "gray_snappy", "odd name", "odd%name", "unversioned", "microns", "labelarray", "labelblk_1", "gray_1", "gray_2", "seg48"}

ZARR3 = [
    Reader("zarr 3", "volume-c256.zarr", f.zarr_python("volume-c256.zarr")),
    Reader("zarr 3", "volume-v3.zarr", f.zarr_python("volume-v3.zarr")),
    Reader("zarrs-python", "volume-v3.zarr", f.zarrs_python),
    Reader("zarrs", "volume.zarr", programs.zarrs("volume.zarr")),
    Reader("zarrs", "volume-c256.zarr", programs.zarrs("volume-c256.zarr")),
    Reader("zarrs", "volume-v3.zarr", programs.zarrs("volume-v3.zarr")),
    Reader("TensorStore", "volume-c256.zarr", f.tensorstore_of("zarr", "volume-c256.zarr")),
    Reader("TensorStore", "volume-v3.zarr", f.tensorstore_of("zarr3", "volume-v3.zarr")),
    Reader("TensorStore", "volume.n5", f.tensorstore_of("n5", "volume.n5")),
    Reader("TensorStore", "precomputed", f.tensorstore_precomputed),
    Reader("cloud-volume", "precomputed", f.cloud_volume),
    Reader("dask", "volume-c256.zarr", f.dask_array("volume-c256.zarr"), whole=True),
    Reader("dask", "volume-v3.zarr", f.dask_array("volume-v3.zarr"), whole=True),
    Reader("xarray", "volume.zarr", f.xarray_dataset("volume.zarr")),
    Reader("xarray", "volume-v3.zarr", f.xarray_dataset("volume-v3.zarr")),
    Reader("ome-zarr-py", "volume.zarr", f.ome_zarr_py("volume.zarr"), whole=True),
    Reader("ome-zarr-py", "volume-v3.zarr", f.ome_zarr_py("volume-v3.zarr"), whole=True),
    Reader("funlib 0.7", "volume.zarr", f.funlib("volume.zarr"), whole=True),
    Reader("funlib 0.7", "volume-v3.zarr", f.funlib("volume-v3.zarr"), whole=True),
    Reader("iohub", "volume.zarr", f.iohub_position("volume.zarr")),
    Reader("webknossos", "datasource-properties.json", f.webknossos_layer, exact=True, channels=False, whole=True),
    Reader("h5py", "volume.h5", f.h5py_file),
    Reader("netCDF4", "volume.h5", f.netcdf4_file),
    Reader("h5wasm", "volume.h5", programs.h5wasm),
    Reader("numpy load", "flat", f.npy_file(None), exact=True, whole=True),
    Reader("numpy mmap", "flat", f.npy_file("r"), exact=True),
    Reader("numpy raw", "flat", f.raw_memmap, exact=True),
    Reader("SimpleITK mhd", "flat", f.simple_itk("mhd"), exact=True, whole=True),
    Reader("SimpleITK nrrd", "flat", f.simple_itk("nrrd"), exact=True, whole=True),
    Reader("pynrrd nrrd", "flat", f.pynrrd("nrrd"), exact=True, whole=True),
    Reader("pynrrd nhdr", "flat", f.pynrrd("nhdr"), exact=True, whole=True),
    Reader("tifffile xy", "slices", f.picture_stack("xy", "tif", f.by_tifffile), exact=True, whole=True),
    Reader("tifffile xz", "slices", f.picture_stack("xz", "tif", f.by_tifffile), exact=True, whole=True),
    Reader("tifffile yz", "slices", f.picture_stack("yz", "tif", f.by_tifffile), exact=True, whole=True),
    Reader("Pillow tif", "slices", f.picture_stack("xy", "tif", f.by_pillow), exact=True, dtypes=("uint8",), whole=True),
    Reader("Pillow png", "slices", f.picture_stack("xy", "png", f.by_pillow), exact=True, dtypes=INTEGERS, whole=True),
    Reader("imageio png", "slices", f.picture_stack("xz", "png", f.by_imageio), exact=True, dtypes=INTEGERS, whole=True),
]

ZARR2 = [
    Reader("zarr 2", "volume-c256.zarr", f.zarr_python("volume-c256.zarr")),
    Reader("zarr 2 N5Store", "volume.n5", f.zarr2_n5("N5Store")),
    Reader("zarr 2 N5FSStore", "volume.n5", f.zarr2_n5("N5FSStore")),
    Reader("dask (zarr 2)", "volume-c256.zarr", f.dask_array("volume-c256.zarr"), whole=True),
    Reader("ome-zarr-py 0.10", "volume.zarr", f.ome_zarr_py("volume.zarr"), whole=True),
    Reader("funlib 0.5", "volume.zarr", f.funlib("volume.zarr"), whole=True),
    Reader("z5py", "volume.zarr", f.z5py_group("volume.zarr")),
    Reader("z5py", "volume-c256.zarr", f.z5py_group("volume-c256.zarr")),
    Reader("z5py", "volume-v3.zarr", f.z5py_group("volume-v3.zarr"), whole=True),
    Reader("z5py", "volume.n5", f.z5py_group("volume.n5")),
    Reader("gunpowder", "volume.zarr", f.gunpowder_zarr),
]


def available():
    """The readers of this environment."""
    import zarr

    return ZARR2 if zarr.__version__.startswith("2.") else ZARR3


# What pip calls the library behind a reader's first word.
PACKAGES = {
    "zarr": "zarr", "zarrs-python": "zarrs", "TensorStore": "tensorstore", "cloud-volume": "cloud-volume", "dask": "dask",
    "xarray": "xarray", "ome-zarr-py": "ome-zarr", "funlib": "funlib-persistence", "iohub": "iohub", "webknossos": "webknossos",
    "h5py": "h5py", "netCDF4": "netcdf4", "numpy": "numpy", "SimpleITK": "simpleitk", "pynrrd": "pynrrd", "tifffile": "tifffile",
    "Pillow": "pillow", "imageio": "imageio", "z5py": "z5py", "gunpowder": "gunpowder",
}  # fmt: skip


def program_versions():
    """The pinned libraries behind programs of other languages."""
    import json
    import tomllib

    here = Path(__file__).parent
    crates = tomllib.loads((here / "zarrs" / "Cargo.lock").read_text())["package"]
    (zarrs,) = (crate["version"] for crate in crates if crate["name"] == "zarrs")
    h5wasm = json.loads((here / "h5wasm" / "package-lock.json").read_text())["packages"]["node_modules/h5wasm"]["version"]
    return {"zarrs": f"crate zarrs {zarrs}", "h5wasm": f"h5wasm {h5wasm} (node)"}


def table():
    """The readers as docs/readers.md lists them: layout, reader, version, what it reads."""
    of_programs = program_versions()
    lines = ["| layout | reader | package | dtypes | rgba8 |", "|---|---|---|---|---|"]
    for environment, readers in (("zarr3", ZARR3), ("zarr2", ZARR2)):
        wanted = Path(__file__).with_name(f"requirements-{environment}.txt").read_text().splitlines()
        pins = dict(line.split("==", 1) for line in wanted if "==" in line)
        for reader in readers:
            package = PACKAGES.get(reader.name.split()[0])
            version = of_programs[reader.name] if reader.name in of_programs else f"{package} {pins[package]}"
            dtypes = ", ".join(reader.dtypes) or "all"
            lines.append(f"| `{reader.layout}` | {reader.name} | {version} | {dtypes} | {'yes' if reader.channels else 'no'} |")
    return "\n".join([*lines[:2], *sorted(lines[2:])]) + "\n"


if __name__ == "__main__":
    print(table(), end="")

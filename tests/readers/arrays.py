"""The ways in which a program opens an array of a mount. Each reads through one library and knows nothing of DVID.

Which ones there are depends on the environment: zarr 2 and zarr 3 cannot live in the same one.
"""

import itertools
import json
import mmap
import os
from pathlib import Path

import numpy as np
import zarr


class Zarr2Directory:
    """zarr-python 2 through DirectoryStore."""

    def open(self, group, level):
        return zarr.open_group(zarr.DirectoryStore(str(group)), mode="r")[level]

    def metadata(self, array):
        return tuple(array.shape), array.dtype, tuple(array.chunks), dict(array.attrs)

    def read(self, array, box=Ellipsis):
        return np.asarray(array[box])


class Zarr2Fsspec(Zarr2Directory):
    """zarr-python 2 through FSStore, which turns every failure of a chunk into fill values."""

    def open(self, group, level):
        return zarr.open_group(zarr.storage.FSStore(str(group), mode="r"), mode="r")[level]


class Zarr3(Zarr2Directory):
    """zarr-python 3."""

    def open(self, group, level):
        return zarr.open_group(str(group), mode="r")[level]


class TensorStore:
    """TensorStore's zarr driver on local files."""

    def open(self, group, level):
        import tensorstore

        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{group}/{level}/"}}
        store = tensorstore.open(spec, open=True, read=True, write=False).result()
        self.attributes = json.loads((Path(group) / level / ".zattrs").read_text())
        return store

    def metadata(self, array):
        return tuple(array.shape), np.dtype(array.dtype.numpy_dtype), tuple(array.chunk_layout.read_chunk.shape), self.attributes

    def read(self, array, box=Ellipsis):
        return array[box].read().result()


class ChunkFiles:
    """The files themselves, by what the Zarr v2 specification says."""

    def open(self, group, level):
        self.place = Path(group) / level
        return json.loads((self.place / ".zarray").read_text())

    def metadata(self, array):
        attributes = json.loads((self.place / ".zattrs").read_text())
        assert array["compressor"] is None and array["filters"] is None and array["fill_value"] == 0
        assert array["order"] == "C" and array["dimension_separator"] == "/" and array["zarr_format"] == 2
        return tuple(array["shape"]), np.dtype(array["dtype"]), tuple(array["chunks"]), attributes

    def read(self, array, box=Ellipsis):
        shape, chunks, dtype = array["shape"], array["chunks"], np.dtype(array["dtype"])
        padded = [-(-n // c) * c for n, c in zip(shape, chunks)]
        out = np.zeros(padded, dtype)
        for index in itertools.product(*(range(n // c) for n, c in zip(padded, chunks))):
            try:
                data = self.bytes_of(self.place / "/".join(map(str, index)), int(np.prod(chunks)) * dtype.itemsize)
            except FileNotFoundError:
                continue  # the fill value, says the specification
            at = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks))
            out[at] = np.frombuffer(data, dtype).reshape(chunks)
        return out[tuple(slice(n) for n in shape)][box]


class Pread(ChunkFiles):
    """`pread` in pieces that are no power of two, the last one reaching past the end."""

    PIECE = 50_021

    def bytes_of(self, path, size):
        file = os.open(path, os.O_RDONLY)
        try:
            status = os.fstat(file)
            assert status.st_size == size and status.st_blocks == -(-size // 512), f"{path}: {status}"
            pieces = [os.pread(file, self.PIECE, at) for at in range(0, size, self.PIECE)]
            # A read is short at the end of a file and nowhere else.
            lengths = [min(self.PIECE, size - at) for at in range(0, size, self.PIECE)]
            assert [len(piece) for piece in pieces] == lengths, f"{path}: a short read"
            assert os.pread(file, 10, size) == b""
        finally:
            os.close(file)
        return b"".join(pieces)


class Mmap(ChunkFiles):
    """A memory map of each file."""

    def bytes_of(self, path, size):
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            assert len(view) == size, f"{path}: {len(view)} bytes instead of {size}"
            return view[:]


def available():
    """{name: reader} of this environment."""
    if zarr.__version__.startswith("2."):
        return {"zarr2-dir": Zarr2Directory, "zarr2-fsspec": Zarr2Fsspec}
    return {"zarr3": Zarr3, "tensorstore": TensorStore, "pread": Pread, "mmap": Mmap}

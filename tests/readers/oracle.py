"""What a mount must show, worked out from the server's own answers and from nothing of the program under test.

Voxels come from `raw/0_1_2/<size>/<offset>`, an endpoint that the program under test uses for `--verify` alone, or, where
the server stands before a bucket and has no such endpoint, from blocks that it decodes itself. Everything here is zyx, with channels before
it; DVID's x,y,z, its channels behind them and its inclusive MaxPoint end in this file.
"""

import dataclasses
import gzip
import itertools
import json
import math
import struct

import numpy as np

from web import HttpError, Web, quoted

DTYPES = {
    "uint8blk": "|u1",
    "uint16blk": "<u2",
    "uint32blk": "<u4",
    "uint64blk": "<u8",
    "float32blk": "<f4",
    "rgba8blk": "|u1",
    "labelblk": "<u8",
    "labelarray": "<u8",
    "labelmap": "<u8",
}
CHANNELS = {"rgba8blk": 4}
SCALED = ("labelmap", "labelarray")
# An unknown text counts as nanometers.
NM_PER_UNIT = {
    "nanometers": 1.0,
    "nanometer": 1.0,
    "nm": 1.0,
    "micrometers": 1e3,
    "micrometer": 1e3,
    "microns": 1e3,
    "um": 1e3,
    "millimeters": 1e6,
    "mm": 1e6,
    "angstroms": 0.1,
    "picometers": 1e-3,
}
MAX_CHUNK_VOXELS = 16 << 20
SLAB_VOXELS = 8 << 20


def floor_to(value, step):
    return value // step * step


def ceil_to(value, step):
    return -(-value // step) * step


def chunk_shape(block, target=64):
    """The chunk of a level: whole blocks of about `target` voxels an axis, at most 16 Mi voxels."""
    multiples = [-(-target // side) for side in block]
    while math.prod(m * b for m, b in zip(multiples, block)) > MAX_CHUNK_VOXELS and max(multiples) > 1:
        multiples[multiples.index(max(multiples))] = 1
    return tuple(m * b for m, b in zip(multiples, block))


@dataclasses.dataclass(frozen=True)
class Level:
    """One array of a volume."""

    scale: int
    source: str  # the instance that holds it
    source_scale: int  # the `scale=` to ask that instance for
    block: tuple
    chunk: tuple
    origin: tuple  # the DVID voxel of index 0
    shape: tuple
    data: tuple  # (begin, end) of the data in DVID voxels of this level, half-open
    voxel_size: tuple  # nm


@dataclasses.dataclass(frozen=True)
class Volume:
    """One voxel instance at one node."""

    name: str
    typename: str
    dtype: np.dtype
    levels: tuple
    lossy: bool
    channels: int | None = None

    def shape(self, spatial):
        """The shape of an array over so many voxels: channels are its first axis, if there are any."""
        return tuple(spatial) if self.channels is None else (self.channels, *spatial)


class Oracle:
    """One node of a server."""

    def __init__(self, url):
        self.origin, self.uuid = url.rsplit("/", 1)
        self.web = Web(self.origin)
        self.repo = self.web.get_json(f"/api/repo/{self.uuid}/info")
        self.infos = {}
        self.streams = {}

    # -- metadata

    def info_bytes(self, name):
        return self.web.get(f"/api/node/{self.uuid}/{quoted(name)}/info")

    def info(self, name):
        if name not in self.infos:
            self.infos[name] = json.loads(self.info_bytes(name))
        return self.infos[name]

    def nodes(self):
        """All nodes of the repo: {uuid: node JSON}."""
        return self.repo["DAG"]["Nodes"]

    def instances(self):
        """Names of the instances that were created at this node or above it, sorted."""
        nodes = {node["UUID"]: node for node in self.nodes().values()}
        by_version = {node["VersionID"]: node for node in nodes.values()}
        above, queue = set(), [nodes[self.uuid]]
        while queue:
            node = queue.pop()
            if node["UUID"] not in above:
                above.add(node["UUID"])
                queue += [by_version[parent] for parent in node["Parents"] or []]
        found = self.repo["DataInstances"]
        return sorted(name for name in found if found[name]["Base"]["RepoUUID"] in above)

    def typename(self, name):
        return self.info(name)["Base"]["TypeName"]

    def _extended(self, name):
        return self.info(name)["Extended"]

    def block(self, name):
        return tuple(int(side) for side in self._extended(name)["BlockSize"][::-1])

    def extents(self, name):
        """(begin, end) of the data in voxels, or None where the server knows no extents."""
        info = self.info(name)
        points = info.get("Extents") or info["Extended"]
        if points.get("MinPoint") is None or points.get("MaxPoint") is None:
            return None
        # Of a bucket, MaxPoint is the volume's size.
        behind = 0 if self.is_bucket(name) else 1
        return tuple(points["MinPoint"][::-1]), tuple(int(p) + behind for p in points["MaxPoint"][::-1])

    def is_bucket(self, name):
        """Whether the server stands before a bucket, whose chunks are the blocks."""
        return bool(self._extended(name).get("GridStore"))

    def voxel_size(self, name):
        extended = self._extended(name)
        units = extended.get("VoxelUnits") or ["nanometers"] * 3
        return tuple(float(v) * NM_PER_UNIT.get(u, 1.0) for v, u in zip(extended["VoxelSize"][::-1], units[::-1]))

    # -- which blocks are stored

    def stored_blocks(self, name, scale, begin, end):
        """Block indices (zyx) that the server stores in the blocks touching a box of voxels."""
        if self.is_bucket(name):
            return {index for index in self._blocks_in_volume(name, begin, end) if self.web.get(self._one_block(name, index))}
        block = self.block(name)
        begin = tuple(floor_to(b, s) for b, s in zip(begin, block))
        size = tuple(ceil_to(e - b, s) for b, e, s in zip(begin, end, block))
        where = f"{_xyz(size)}/{_xyz(begin)}"
        typename = self.typename(name)
        if typename in SCALED:
            extra = "&supervoxels=true" if typename == "labelmap" else ""
            call = f"blocks/{where}?compression=blocks&scale={scale}{extra}"
        elif typename == "labelblk":
            call = f"blocks/{where}?compression=lz4"
        else:
            call = f"subvolblocks/{where}"
        body = self.web.get(f"/api/node/{self.uuid}/{quoted(name)}/{call}")
        found, at = set(), 0
        while at < len(body):
            x, y, z, length = struct.unpack_from("<4i", body, at)
            at += 16 + length
            found.add((z, y, x))
        assert at == len(body), f"{call}: the stream does not end with a frame"
        return found

    def _blocks_in_volume(self, name, begin, end):
        """Indices of the blocks that touch a box, but none outside the volume: a bucket's server fails on those."""
        low, high = self.extents(name)
        ends = zip(begin, end, low, high, self.block(name))
        return itertools.product(*(range(max(b, lo) // side, -(-min(e, hi) // side)) for b, e, lo, hi, side in ends))

    def _one_block(self, name, index):
        block = self.block(name)
        where = f"{_xyz(block)}/{_xyz(tuple(i * b for i, b in zip(index, block)))}"
        return f"/api/node/{self.uuid}/{quoted(name)}/subvolblocks/{where}"

    # -- the volume

    def _siblings(self, name):
        """The instances that are levels 1, 2 … of an imageblk or labelblk instance by name, type, voxel size and extents."""
        base, found = self.info(name), []
        visible = set(self.instances())
        for k in itertools.count(1):
            sibling = f"{name}_{k}"
            if sibling not in visible or self.typename(sibling) != base["Base"]["TypeName"]:
                return found
            step, size, own = 2**k, self.voxel_size(sibling), self.voxel_size(name)
            if not all(math.isclose(s, o) or math.isclose(s, o * step) for s, o in zip(size, own)):
                return found
            theirs, ours = self.extents(sibling), self.extents(name)
            if theirs is None:
                return found
            block = self.block(sibling)
            low = zip(theirs[0], (b // step for b in ours[0]), block)
            high = zip(theirs[1], (ceil_to(e, step) // step for e in ours[1]), block)
            if any(abs(a - b) > side for a, b, side in itertools.chain(low, high)):
                return found
            found.append(sibling)

    def _computed(self, source, scale, parents_of, factor):
        """Whether each stored block of level 0 has its parent stored at a level."""
        begin, end = self.extents(parents_of)
        stored = self.stored_blocks(parents_of, 0, begin, end)
        low = tuple(b // factor for b in begin)
        high = tuple(ceil_to(e, factor) // factor for e in end)
        there = self.stored_blocks(source, scale, low, high)
        block0, block = self.block(parents_of), self.block(source)
        wanted = {tuple(i * b0 // factor // b for i, b0, b in zip(index, block0, block)) for index in stored}
        return wanted <= there

    def volume(self, name):
        """The volume of an instance: None where it holds no voxels or its extents are null."""
        typename = self.typename(name)
        if typename not in DTYPES or self.extents(name) is None:
            return None
        sources = [(name, 0)]
        if typename in SCALED:
            for scale in range(1, int(self._extended(name)["MaxDownresLevel"]) + 1):
                if not self._computed(name, scale, name, 2**scale):
                    break
                sources.append((name, scale))
        else:
            for k, sibling in enumerate(self._siblings(name), 1):
                if not self._computed(sibling, 0, name, 2**k):
                    break
                sources.append((sibling, 0))
        return Volume(
            name,
            typename,
            np.dtype(DTYPES[typename]),
            tuple(self._levels(name, sources)),
            "jpeg" in self.info(name)["Base"]["Compression"],
            CHANNELS.get(typename),
        )

    def _levels(self, name, sources):
        begin, end = self.extents(name)
        blocks = [self.block(source) for source, _ in sources]
        chunks = [chunk_shape(block) for block in blocks]
        top = 2 ** (len(sources) - 1)
        step = [math.lcm(*(chunk[axis] << s for s, chunk in enumerate(chunks))) for axis in range(3)]
        origin = tuple(min(0, floor_to(b, s)) for b, s in zip(begin, step))
        shape = tuple(ceil_to(e - o, top) for e, o in zip(end, origin))
        size = self.voxel_size(name)
        for s, (source, source_scale) in enumerate(sources):
            f = 2**s
            yield Level(
                s,
                source,
                source_scale,
                blocks[s],
                chunks[s],
                tuple(o // f for o in origin),
                tuple(n // f for n in shape),
                (tuple(b // f for b in begin), tuple(ceil_to(e, f) // f for e in end)),
                tuple(v * f for v in size),
            )

    # -- voxels

    def voxels(self, volume, level, supervoxels):
        """The whole array of a level as a file must show it: the data at DVID coordinate less origin, 0 elsewhere."""
        out = np.zeros(volume.shape(level.shape), volume.dtype)
        begin, end = level.data
        rows = max(1, SLAB_VOXELS // max(1, math.prod(e - b for b, e in zip(begin[1:], end[1:]))))
        for z in range(begin[0], end[0], rows):
            lo, hi = (z, *begin[1:]), (min(z + rows, end[0]), *end[1:])
            at = tuple(slice(a - o, b - o) for a, b, o in zip(lo, hi, level.origin))
            out[(Ellipsis, *at)] = self.raw(volume, level, lo, hi, supervoxels)
        return out

    def raw(self, volume, level, begin, end, supervoxels):
        """A box from the server's `raw`. A box of exactly one block is asked for one voxel longer: DVID refuses it when the
        block is not stored."""
        if self.is_bucket(level.source):
            return self._from_bucket(volume, level, begin, end)
        size = tuple(e - b for b, e in zip(begin, end))
        asked = (size[0], size[1], size[2] + 1) if size == level.block else size
        path = f"/api/node/{self.uuid}/{quoted(level.source)}/raw/0_1_2/{_xyz(asked)}/{_xyz(begin)}"
        if volume.typename in SCALED + ("labelblk",):
            path += "?compression=gzip"
            if volume.typename in SCALED:
                path += f"&scale={level.source_scale}"
            if volume.typename == "labelmap":
                path += f"&supervoxels={'true' if supervoxels else 'false'}"
            data = gzip.decompress(self.web.get(path))
        else:
            data = self.web.get(path)
        if volume.channels is not None:
            return np.moveaxis(np.frombuffer(data, volume.dtype).reshape(*asked, volume.channels), -1, 0)
        return np.frombuffer(data, volume.dtype).reshape(asked)[:, :, : size[2]]

    def _from_bucket(self, volume, level, begin, end):
        """A box, block by block, decoded by the server; it cannot decode chunks that are no JPEG, and those need it not."""
        out = np.zeros(tuple(e - b for b, e in zip(begin, end)), volume.dtype)
        for index in self._blocks_in_volume(level.source, begin, end):
            path = self._one_block(level.source, index)
            try:
                frame = self.web.get(f"{path}?compression=uncompressed")
            except HttpError as error:
                assert error.status == 400 and "invalid JPEG format" in error.text, error
                frame = self.web.get(path)
            if not frame:
                continue  # not in the bucket
            block = np.frombuffer(frame[16:], volume.dtype).reshape(level.block)
            corner = [i * b for i, b in zip(index, level.block)]
            low = [max(b, c) for b, c in zip(begin, corner)]
            high = [min(e, c + n) for e, c, n in zip(end, corner, level.block)]
            part = block[tuple(slice(a - c, b - c) for a, b, c in zip(low, high, corner))]
            out[tuple(slice(a - o, b - o) for a, b, o in zip(low, high, begin))] = part
        return out


def _xyz(zyx):
    return "_".join(str(v) for v in zyx[::-1])


__all__ = ["HttpError", "Level", "Oracle", "Volume", "chunk_shape"]

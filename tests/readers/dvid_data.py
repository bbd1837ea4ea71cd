"""Fills a real DVID with the FIB-25 crop in every type and version, and keeps the truth of it.

The truth is the arrays that were written, with the changes made here; nothing in it comes back from the server.
"""

import gzip
import json
import struct
from pathlib import Path

import numpy as np

from dvid_server import frames
from web import quoted

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "fib25"
BIG = np.uint64(1 << 60) + np.uint64(12345)
FIRST_BODY_OF_GATE = 7_000_000_000


def crop():
    """Gray (uint8), supervoxels (uint64), {supervoxel: body}; zyx."""
    with gzip.open(FIXTURES / "grayscale.npy.gz") as f:
        gray = np.load(f)
    with gzip.open(FIXTURES / "supervoxels.npy.gz") as f:
        supervoxels = np.load(f)
    mapping = json.loads((FIXTURES / "mapping.json").read_text())
    return gray, supervoxels, {int(k): int(v) for k, v in mapping.items()}


def mapped(supervoxels, mapping):
    """Bodies: 0 stays 0, an unlisted supervoxel is its own body."""
    ids, index = np.unique(supervoxels, return_inverse=True)
    bodies = np.array([0 if i == 0 else mapping.get(int(i), int(i)) for i in ids], np.uint64)
    return bodies[index].reshape(supervoxels.shape)


def padded(array, block):
    """Zeros after the end of each axis, up to whole blocks (zyx)."""
    return np.pad(array, [(0, -n % b) for n, b in zip(array.shape, block)])


def halved(gray):
    """Every second voxel of each axis: good enough for a level of a pyramid."""
    return np.ascontiguousarray(gray[::2, ::2, ::2])


def halved_labels(labels):
    """DVID's own rule: the majority of the non-zero of 2x2x2, ties to the smaller, 0 if all are 0."""
    labels = padded(labels, (2, 2, 2))
    z, y, x = (n // 2 for n in labels.shape)
    eight = labels.reshape(z, 2, y, 2, x, 2).transpose(0, 2, 4, 1, 3, 5).reshape(z, y, x, 8)
    eight = np.sort(eight, axis=-1)
    counts = np.where(eight == 0, 0, (eight[..., :, None] == eight[..., None, :]).sum(-1))
    # argmax takes the first, hence the smallest, of equal counts.
    return np.take_along_axis(eight, counts.argmax(-1)[..., None], -1)[..., 0]


class Truth:
    """Arrays as written: (node, instance, view, scale) -> (array, offset zyx)."""

    def __init__(self, home):
        self.home, self.index = home, {}
        home.mkdir(exist_ok=True)

    def put(self, nodes, instance, array, offset=(0, 0, 0), view="bodies", scale=0):
        file = self.home / f"{len(self.index):04}.npy"
        np.save(file, array)
        for node in nodes:
            self.index[f"{node}|{instance}|{view}|{scale}"] = {"file": str(file), "offset": list(offset)}

    def put_labelmap(self, nodes, instance, supervoxels, mapping, scales, offset=(0, 0, 0), sides=(64, 64, 64)):
        """Both views of every scale. Each scale is computed from blocks of zeros where nothing was written."""
        level = padded(supervoxels, sides)
        for scale in range(scales + 1):
            at = tuple(o >> scale for o in offset)
            self.put(nodes, instance, level, at, "supervoxels", scale)
            self.put(nodes, instance, mapped(level, mapping), at, "bodies", scale)
            level = halved_labels(level)


class Loader:
    """Fills `server`; afterwards `nodes` names the versions and `truth` holds their arrays."""

    def __init__(self, server, home):
        self.server, self.truth = server, Truth(home / "truth")
        self.gray, self.supervoxels, self.mapping = crop()
        self.nodes = {}
        self.everywhere = ("root", "mid", "head", "exp")

    def load(self):
        root = self.nodes["root"] = self.server.new_repo()
        self._images(root)
        self._odd_images(root)
        self._labels(root)
        self._others(root)
        self.server.commit(root, "the sample as loaded")
        mid = self.nodes["mid"] = self.server.new_version(root, "changed")
        self._change_mid(mid)
        self.server.commit(mid, "changed")
        exp = self.nodes["exp"] = self.server.branch(root, "exp", "another opinion")
        self._change_exp(exp)
        self.server.commit(exp, "another opinion")
        head = self.nodes["head"] = self.server.new_version(mid, "work goes on")
        self._change_head(head)
        return self

    # -- instances

    def _image(self, root, name, array, typename="uint8blk", block=(64, 64, 64), size=(10, 10, 10), offset=(0, 0, 0), **more):
        """Makes an imageblk instance, writes the array, remembers it. Triples are zyx."""
        self.server.new_instance(
            root,
            typename,
            name,
            BlockSize=",".join(str(b) for b in block[::-1]),
            VoxelSize=",".join(str(v) for v in size[::-1]),
            VoxelUnits=more.pop("units", "nanometers,nanometers,nanometers"),
            **more,
        )
        whole = padded(array, block)
        self.server.post_voxels(root, name, whole, offset)
        if more.get("Compression") != "jpeg":
            nodes = ("root", "exp") if name == "grayscale" else self.everywhere
            self.truth.put(nodes, name, whole, offset)

    def _images(self, root):
        gray = self.gray
        self._image(root, "grayscale", gray)
        self._image(root, "grayscale_1", halved(gray), size=(20, 20, 20))
        self._image(root, "grayscale_2", halved(halved(gray)), size=(40, 40, 40))
        self._image(root, "gray_gzip", gray[:70, :70, :130], Compression="gzip")
        self._image(root, "gray_none", gray[:64, :64, :64], Compression="none")
        self._image(root, "gray_snappy", gray[:64, :64, :64], Compression="snappy")
        self._image(root, "gray_jpeg", gray, Compression="jpeg")
        small = gray[:40, :50, :70]
        wide = small.astype(np.uint64)
        self._image(root, "u16", ((wide * 257) ^ 0x1234).astype(np.uint16), "uint16blk", (32, 32, 32))
        self._image(root, "u32", (wide * 16843009).astype(np.uint32), "uint32blk", (32, 32, 32))
        self._image(root, "u64img", wide * np.uint64(72340172838076673), "uint64blk", (32, 32, 32))
        self._image(root, "f32", small.astype(np.float32) / 255 - np.float32(0.5), "float32blk", (32, 32, 32))

    def _odd_images(self, root):
        gray = self.gray
        self._image(root, "aniso", gray[:40, :64, :64], block=(32, 32, 32), size=(40.0, 4.0, 4.0))
        self._image(root, "fraction", gray[:32, :32, :64], block=(32, 32, 32), size=(3.2, 8.0, 12.5))
        self._image(root, "microns", gray[:32, :32, :64], block=(32, 32, 32), size=(0.008, 0.008, 0.008), units="micrometers,micrometers,micrometers")
        self._image(root, "odd48", gray[:90, :100, :110], block=(48, 48, 48))
        self._image(root, "slab", gray[:50, :90, :160], block=(16, 32, 128))
        self._image(root, "neg", gray[:64, :64, :96], block=(32, 32, 32), offset=(-96, -32, -160))
        self._image(root, "across", gray[:96, :96, :96], block=(32, 32, 32), offset=(-32, -64, 96))
        self._image(root, "far", gray[:32, :32, :32], block=(32, 32, 32), offset=(320, 640, 96))
        self._image(root, "unversioned", gray[:32, :32, :32], block=(32, 32, 32), versioned="false")
        for name in ("my data", "50%", "größe", "a?b", "_under", "CON:x"):
            self._image(root, name, gray[:32, :32, :32], block=(32, 32, 32))
        self._holes(root)
        self.server.new_instance(root, "uint8blk", "empty", BlockSize="32,32,32")

    def _holes(self, root):
        """Every other block, and extents that are no multiple of a block."""
        name, block = "holes", (32, 32, 32)
        self.server.new_instance(root, "uint8blk", name, BlockSize="32,32,32", Background="7")
        truth = np.zeros((96, 96, 128), np.uint8)
        for z in range(0, 96, 32):
            for y in range(0, 96, 32):
                for x in range(0, 128, 32):
                    if (x + y + z) // 32 % 2 == 0 and (z, y) != (32, 32):
                        part = self.gray[z : z + 32, y : y + 32, x : x + 32]
                        truth[z : z + 32, y : y + 32, x : x + 32] = part
                        self.server.post_voxels(root, name, part, (z, y, x))
        assert all(n % b == 0 for n, b in zip(truth.shape, block))
        self.truth.put(self.everywhere, name, truth)

    def _labels(self, root):
        server, supervoxels = self.server, self.supervoxels
        server.new_instance(root, "labelmap", "segmentation", BlockSize="64,64,64", VoxelSize="10,10,10", MaxDownresLevel="3")
        server.post_voxels(root, "segmentation", padded(supervoxels, (64,) * 3))
        server.post_mappings(root, "segmentation", self.mapping)
        self.truth.put_labelmap(("root",), "segmentation", supervoxels, self.mapping, 3)

        part = supervoxels[:64, :96, :70]
        server.new_instance(root, "labelmap", "seg32", BlockSize="32,32,32", VoxelSize="10,10,10", MaxDownresLevel="1")
        server.post_voxels(root, "seg32", padded(part, (32,) * 3), (64, 0, 128))
        self.seg32 = padded(part, (32,) * 3)
        self.merged = {}
        self._merge(root, "seg32", self.merged, 3)
        self.truth.put_labelmap(("root",), "seg32", part, self.merged, 1, (64, 0, 128), (32,) * 3)

        # DVID cannot compute scales of label blocks left of the origin (it panics), so this one has none.
        server.new_instance(root, "labelmap", "seg_neg", BlockSize="32,32,32", MaxDownresLevel="0")
        server.post_voxels(root, "seg_neg", padded(part, (32,) * 3), (-32, 0, -64))
        self.truth.put_labelmap(self.everywhere, "seg_neg", part, {}, 0, (-32, 0, -64), (32,) * 3)

        big = np.where(part == 0, 0, part + BIG)
        server.new_instance(root, "labelmap", "seg_big", BlockSize="64,64,64", VoxelSize="8.25,8.25,30", MaxDownresLevel="1", Compression="none")
        server.post_voxels(root, "seg_big", padded(big, (64,) * 3))
        self.truth.put_labelmap(self.everywhere, "seg_big", big, {}, 1)

        server.new_instance(root, "labelarray", "labelarray", BlockSize="64,64,64", MaxDownresLevel="1")
        server.post_voxels(root, "labelarray", padded(part, (64,) * 3))
        self.truth.put(self.everywhere, "labelarray", padded(part, (64,) * 3))
        self.truth.put(self.everywhere, "labelarray", halved_labels(padded(part, (64,) * 3)), scale=1)
        server.new_instance(root, "labelblk", "labelblk", BlockSize="32,32,32")
        server.post_voxels(root, "labelblk", padded(part, (32,) * 3), (0, 0, -32))
        self.truth.put(self.everywhere, "labelblk", padded(part, (32,) * 3), (0, 0, -32))
        self._ingested(root)

    def _ingested(self, root):
        """Blocks without index or extents, as cluster jobs load them."""
        self.server.new_instance(root, "labelmap", "ingested", BlockSize="64,64,64", MaxDownresLevel="0")
        path = f"/api/node/{root}/segmentation/blocks/128_128_64/0_0_0?compression=blocks&supervoxels=true&scale=0"
        body = b"".join(
            struct.pack("<4i", x, y, z, len(payload)) + payload for (z, y, x), payload in frames(self.server.web.get(path))
        )
        self.server.web.post(f"/api/node/{root}/ingested/ingest-supervoxels?scale=0", body)

    def _others(self, root):
        server, web = self.server, self.server.web
        self._image(root, "f32_neg", -self.gray[:32, :32, :32].astype(np.float32), "float32blk", (32, 32, 32), offset=(-32, -32, -32))
        server.new_instance(root, "rgba8blk", "rgba", BlockSize="32,32,32")
        gray = padded(self.gray[:40, :50, :70], (32,) * 3)
        planes = np.stack([gray, 255 - gray, gray // 2, np.full_like(gray, 255)])
        server.post_voxels(root, "rgba", np.moveaxis(planes, 0, -1))
        self.truth.put(self.everywhere, "rgba", planes)
        server.new_instance(root, "keyvalue", "kv")
        for key, value in (("one", b"1"), ("with space", b"2"), ("empty", b"")):
            web.post(f"/api/node/{root}/kv/key/{quoted(key)}", value)
        server.new_instance(root, "roi", "roi")
        web.post(f"/api/node/{root}/roi/roi", [[0, 0, 0, 3], [1, 0, 1, 2]])
        server.new_instance(root, "annotation", "synapses")
        server.new_instance(root, "neuronjson", "people")

    # -- changes of versions

    def _merge(self, uuid, name, mapping, every):
        """Merges by the endpoint that people use: every n-th body of the instance into the first of them."""
        bodies = np.unique(mapped(self.seg32, mapping))
        group = [int(b) for b in bodies[bodies > 0][::every]]
        self.server.web.post(f"/api/node/{uuid}/{name}/merge", group)
        for supervoxel in (int(s) for s in np.unique(self.seg32) if s > 0):
            if mapping.get(supervoxel, supervoxel) in group[1:]:
                mapping[supervoxel] = group[0]

    def _remap(self, uuid, shift, every):
        """New bodies for every n-th supervoxel of `segmentation`."""
        changed = {s: FIRST_BODY_OF_GATE + shift + s % 5 for s in sorted(self.mapping)[::every]}
        self.server.post_mappings(uuid, "segmentation", changed)
        return changed

    def _change_mid(self, mid):
        server = self.server
        gray = padded(self.gray, (64,) * 3)
        gray[:64, :64, :64] = 255 - gray[:64, :64, :64]
        server.post_voxels(mid, "grayscale", gray[:64, :64, :64])
        self.truth.put(("mid", "head"), "grayscale", gray)
        self.mid_mapping = {**self.mapping, **self._remap(mid, 0, 4)}
        self.truth.put_labelmap(("mid",), "segmentation", self.supervoxels, self.mid_mapping, 3)
        merged = dict(self.merged)
        self._merge(mid, "seg32", merged, 2)
        # A cleave takes supervoxels out of a body again, into one with an id that the server chooses.
        body = next(iter(merged.values()))
        out = sorted(s for s, b in merged.items() if b == body)[:2]
        cleaved = server.web.post_json(f"/api/node/{mid}/seg32/cleave/{body}", out)["CleavedLabel"]
        merged.update({supervoxel: cleaved for supervoxel in out})
        self.truth.put_labelmap(("mid", "head"), "seg32", self.seg32, merged, 1, (64, 0, 128), (32,) * 3)

    def _change_exp(self, exp):
        self.exp_mapping = {**self.mapping, **self._remap(exp, 1000, 3)}
        self.truth.put_labelmap(("exp",), "segmentation", self.supervoxels, self.exp_mapping, 3)
        merged = dict(self.merged)
        self._merge(exp, "seg32", merged, 5)
        self.truth.put_labelmap(("exp",), "seg32", self.seg32, merged, 1, (64, 0, 128), (32,) * 3)

    def _change_head(self, head):
        """Labels painted over on an open node: new supervoxels in one block, and other bodies."""
        supervoxels = padded(self.supervoxels, (64,) * 3)
        painted = supervoxels[64:128, :64, :64] + np.uint64(5_000_000)
        painted[supervoxels[64:128, :64, :64] == 0] = 0
        self.server.web.post(f"/api/node/{head}/segmentation/raw/0_1_2/64_64_64/0_0_64?mutate=true", painted.tobytes())
        supervoxels[64:128, :64, :64] = painted
        mapping = {**self.mid_mapping, **self._remap(head, 2000, 7)}
        self.truth.put_labelmap(("head",), "segmentation", supervoxels, mapping, 3)

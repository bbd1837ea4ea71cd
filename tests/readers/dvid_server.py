"""A real DVID server of our own: its configuration, start, kill and the calls that fill it."""

import os
import signal
import struct
import subprocess
import time

import numpy as np

from mounts import Process
from web import Web, quoted

CONFIG = """\
[server]
httpAddress = "127.0.0.1:{port}"
rpcAddress  = "127.0.0.1:{rpc}"
allowTiming = true
shutdownDelay = 0
[logging]
logfile = "dvid.log"
[backend]
  [backend.default]
  store = "main"
  log = "mutlog"
[store]
  [store.main]
  engine = "badger"
  path = "badgerdb"
  [store.mutlog]
  engine = "filelog"
  path = "mutlog"
[mutations]
jsonstore = "mutjson"
"""
ADMIN = "test-admin"


class DvidServer:
    """Server in `home`; what it holds outlives a kill."""

    def __init__(self, binary, home, port=8000):
        self.binary, self.home = binary, home
        self.origin = f"http://127.0.0.1:{port}"
        self.rpc = f"127.0.0.1:{port + 1}"
        self.web = Web(self.origin)
        (home / "config.toml").write_text(CONFIG.format(port=port, rpc=port + 1))
        self.process = None

    def start(self, wait=120, flags=()):
        environment = {**os.environ, "DVID_ADMIN_TOKEN": ADMIN}
        words = [self.binary, *flags, "serve", self.home / "config.toml"]
        self.process = Process(words, self.home / "out.log", cwd=self.home, env=environment)
        end = time.monotonic() + wait
        while not self.web.alive():
            if self.process.child.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"DVID did not start: {self.process.output()[-2000:]}")
            time.sleep(0.01)

    def kill(self):
        """As `kill -9`: nothing is flushed or said."""
        self.process.child.send_signal(signal.SIGKILL)
        self.process.child.wait(20)

    def stop(self):
        if self.process is not None and self.process.child.poll() is None:
            self.process.end(limit=30)

    # -- making things

    def new_repo(self):
        made = self.web.post_json(f"/api/repos?admintoken={ADMIN}", {"alias": "dvidfs-test", "description": "made by a test"})
        return made["root"]

    def new_instance(self, uuid, typename, name, **settings):
        body = {"typename": typename, "dataname": name, **{key: str(value) for key, value in settings.items()}}
        self.web.post(f"/api/repo/{uuid}/instance", body)

    def delete_instance(self, uuid, name):
        words = [self.binary, "-rpc", self.rpc, "repo", uuid, "delete", name]
        subprocess.run(words, check=True, capture_output=True, timeout=60)

    def post_voxels(self, uuid, name, array, offset=(0, 0, 0)):
        """Writes whole blocks: `array` and `offset` (zyx) must be multiples of the block. Channels are its last axis."""
        path = f"/api/node/{uuid}/{quoted(name)}/raw/0_1_2/{_xyz(array.shape[:3])}/{_xyz(offset)}"
        self.web.post(path, np.ascontiguousarray(array).tobytes())

    def post_extents(self, uuid, name, begin, end):
        low, high = list(begin[::-1]), [e - 1 for e in end[::-1]]
        self.web.post(f"/api/node/{uuid}/{quoted(name)}/extents", {"MinPoint": low, "MaxPoint": high})

    def post_mappings(self, uuid, name, mapping):
        """Maps supervoxels to bodies: a dict, or `MappingOps` as bytes."""
        body = mapping if isinstance(mapping, bytes) else mapping_ops(mapping)
        self.web.post(f"/api/node/{uuid}/{quoted(name)}/mappings", body)

    def commit(self, uuid, note):
        self.web.post(f"/api/node/{uuid}/commit", {"note": note, "log": [note]})

    def new_version(self, uuid, note):
        return self.web.post_json(f"/api/node/{uuid}/newversion", {"note": note})["child"]

    def branch(self, uuid, name, note):
        return self.web.post_json(f"/api/node/{uuid}/branch", {"branch": name, "note": note})["child"]


def _xyz(zyx):
    return "_".join(str(v) for v in zyx[::-1])


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def mapping_ops(mapping):
    """Protobuf `MappingOps`, one op a body. DVID flushes its log to disk after each op, so a pair each would take minutes."""
    out = bytearray()
    for body, supervoxels in sorted(_by_body(mapping).items()):
        original = b"".join(_varint(supervoxel) for supervoxel in supervoxels)
        out += _op(body, original)
    return bytes(out)


def run_of_ops(first_supervoxel, count, first_body, each):
    """As `mapping_ops` for a run of supervoxels, `each` of them a body. All varints must have one length, which makes it fast."""
    ids = np.arange(first_supervoxel, first_supervoxel + count, dtype=np.uint64)
    width = len(_varint(first_supervoxel))
    assert width == len(_varint(first_supervoxel + count - 1)) and count % each == 0
    digits = (ids[:, None] >> (np.arange(width, dtype=np.uint64) * np.uint64(7))) & np.uint64(0x7F)
    digits[:, :-1] |= np.uint64(0x80)
    packed = digits.astype(np.uint8).tobytes()
    step = each * width
    return b"".join(_op(first_body + n, packed[n * step : (n + 1) * step]) for n in range(count // each))


def _op(body, original):
    op = b"\x10" + _varint(body) + b"\x1a" + _varint(len(original)) + original
    return b"\x0a" + _varint(len(op)) + op


def _by_body(mapping):
    bodies = {}
    for supervoxel, body in mapping.items():
        bodies.setdefault(body, []).append(supervoxel)
    return bodies


def frames(body):
    """The frames of a block stream: ((z, y, x), payload)."""
    at = 0
    while at < len(body):
        x, y, z, length = struct.unpack_from("<4i", body, at)
        yield (z, y, x), body[at + 16 : at + 16 + length]
        at += 16 + length

"""Runs a program in a network namespace of its own with loopback up.

A DVID server listens on port 6060 of every address; in a namespace nobody else sees it, and two runs do not meet.
"""

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
MARK = "DVIDFS_TEST_NETNS"


def enter():
    """Returns inside a new namespace: starts this program again below `unshare` if it is not there yet."""
    if os.environ.get(MARK) != "1":
        os.environ[MARK] = "1"
        # An ordinary user may have one too, as root of a user namespace, where mounting FUSE is allowed.
        flags = ["--net"] if os.geteuid() == 0 else ["--net", "--mount", "--user", "--map-root-user"]
        os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))
    names = sorted(line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:])
    physical = [name for name in names if name.startswith(("eth", "en", "wl"))]
    assert not physical, f"still in the machine's own network: {names}"

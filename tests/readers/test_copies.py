"""Copies of an instance by the tools that people use, with every layout in it, read by the readers of the layouts."""

import subprocess

import pytest

from conftest import nodes
from registry import available
from test_layouts import check_layout

# Small ones of the demo server and of the real one: left of the origin, 64 bits wide with two views, and of four channels.
NAMES = ("neg", "seg32", "rgba", "gray32", "seg")
LIMIT_S = 300

TOOLS = {
    "cp": ["cp", "-r", "{source}", "{target}"],
    "tar": ["sh", "-c", 'tar -C "$(dirname "$1")" -cf - "$(basename "$1")" | tar -C "$(dirname "$2")" -xf -', "-", "{source}", "{target}"],
    "tar --sparse": ["sh", "-c", 'tar -C "$(dirname "$1")" --sparse -cf - "$(basename "$1")" | tar -C "$(dirname "$2")" -xf -', "-", "{source}", "{target}"],
    "rsync": ["rsync", "-r", "{source}/", "{target}/"],
}


def run(words, source, target):
    done = subprocess.run([word.format(source=source, target=target) for word in words], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("instance", [name for name in NAMES if name in nodes()[0].oracle.instances()])
def test_a_copy_holds_every_voxel(instance, tool, tmp_path):
    node = nodes()[0]
    source = node.path(instance)
    target = tmp_path / source.name
    run(TOOLS[tool], source, target)
    # Every file by its bytes, in both directions: rsync names what differs.
    differing = run(["rsync", "-rnc", "--delete", "--itemize-changes", "{source}/", "{target}/"], source, target)
    assert not differing, differing[:1000]
    volume = node.volume(instance)
    for reader in available():
        if reader.reads(volume):
            check_layout(node, volume, "bodies", reader, target)
            if volume.typename == "labelmap":
                check_layout(node, volume, "supervoxels", reader, target / "supervoxels")

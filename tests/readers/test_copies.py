"""Copies of an instance by the tools that people use, with every layout in it, read by the readers of the layouts."""

import subprocess

import pytest

from conftest import nodes
from registry import available
from test_layouts import check_layout

# Small ones: negative and odd in space, 64 bits wide with two views.
NAMES = ("neg", "seg32")
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
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_holds_every_voxel(name, tool, tmp_path):
    node = nodes()[0]
    if name not in node.oracle.instances():
        name = next(each for each in node.oracle.instances() if node.volume(each))
    source = node.path(name)
    target = tmp_path / source.name
    run(TOOLS[tool], source, target)
    # Every file by its bytes, in both directions: rsync names what differs.
    differing = run(["rsync", "-rnc", "--delete", "--itemize-changes", "{source}/", "{target}/"], source, target)
    assert not differing, differing[:1000]
    volume = node.volume(name)
    for reader in available():
        if reader.reads(volume):
            check_layout(node, volume, "bodies", reader, target)

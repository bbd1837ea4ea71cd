"""`boxes/NAME`: a box of one scale of an instance in all layouts, whose first voxel is the box's own corner."""

import dataclasses
import json

import pytest

from conftest import identity, nodes
from registry import available
from test_layouts import check_layout


class Cut:
    """A node that knows the voxels of one box."""

    def __init__(self, want):
        self.want = want

    def voxels(self, *_):
        return self.want


def cases():
    for node in nodes():
        for name, (instance, *_) in node.boxes.items():
            volume = node.volume(instance)
            for view in ("bodies", "supervoxels") if volume.typename == "labelmap" else ("bodies",):
                for reader in available():
                    if reader.reads(volume):
                        yield pytest.param(node, name, view, reader, id=identity(node.label, name, view, reader.name, reader.layout))


CASES = list(cases())


@pytest.mark.parametrize("shown_on, box, which, program", CASES)
def test_a_box_holds_its_voxels(shown_on, box, which, program):
    instance, scale, begin, end = shown_on.boxes[box]
    volume = shown_on.volume(instance)
    level = volume.levels[scale]
    inside = tuple(slice(b - o, e - o) for b, e, o in zip(begin, end, level.origin))
    want = shown_on.voxels(instance, scale, which == "supervoxels")[(Ellipsis, *inside)]
    shape = tuple(e - b for b, e in zip(begin, end))
    cut = dataclasses.replace(level, scale=0, origin=tuple(begin), shape=shape, data=(tuple(begin), tuple(end)))
    place = shown_on.mount / "boxes" / box / ("supervoxels" if which == "supervoxels" else "")
    assert program.layout in json.loads((place / "attrs.json").read_text())["layouts"]
    check_layout(Cut(want), dataclasses.replace(volume, levels=(cut,)), which, program, place)


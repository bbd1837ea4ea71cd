"""What neuroglancer draws of `precomputed/` is, pixel by pixel, the plane that the server has."""

import numpy as np
import pytest

import neuroglancer_view
from conftest import nodes

SIZE = (200, 160)
# Images of the demo server, one of them left of the origin, and of the real one.
NAMES = ("gray", "neg", "grayscale")


def known():
    return [name for name in NAMES if name in nodes()[0].oracle.instances()]


def test_there_is_something_to_draw():
    assert known()


@pytest.mark.parametrize("image", known())
def test_neuroglancer_draws_the_plane(image, tmp_path):
    node = nodes()[0]
    assert neuroglancer_view.chromium(), "no chromium here: scripts/test installs it"
    volume = node.volume(image)
    level, want = volume.levels[0], node.voxels(image, 0, False)
    begin, end = level.data
    z, y, x = ((b + e) // 2 for b, e in zip(begin, end))
    with neuroglancer_view.serving(node.path(image)) as origin:
        drawn = neuroglancer_view.picture(
            f"precomputed://{origin}/precomputed", False, level.voxel_size[::-1], (x, y, z + 0.5), SIZE, tmp_path
        )
    expected = np.zeros(SIZE[::-1], np.uint8)
    # Pixel (0, 0) shows the voxel half a picture before the centre.
    corner = (y - SIZE[1] // 2, x - SIZE[0] // 2)
    rows, columns = ([c - o for c, o in zip(corner, level.origin[1:])][axis] + np.arange(SIZE[1 - axis]) for axis in (0, 1))
    inside = np.ix_((0 <= rows) & (rows < want.shape[1]), (0 <= columns) & (columns < want.shape[2]))
    plane = want[z - level.origin[0]]
    expected[inside] = plane[np.ix_(rows[(0 <= rows) & (rows < want.shape[1])], columns[(0 <= columns) & (columns < want.shape[2])])]
    assert (drawn == drawn[:, :, :1]).all(), "gray is drawn as gray"
    wrong = int((drawn[:, :, 0] != expected).sum())
    assert wrong == 0, f"{wrong} of {expected.size} pixels differ"
    assert expected.any()
    node.cells.append(
        {"node": node.label, "instance": image, "type": volume.typename, "view": "bodies", "reader": "neuroglancer | precomputed", "voxels": expected.size, "bytes": expected.size}
    )

"""The oracle itself: geometry worked out by hand, and the DVID sheet's own example of a moved origin."""

from pathlib import Path

import numpy as np
import pytest

from dvid_data import halved_labels, mapped
from dvid_server import _varint, mapping_ops, run_of_ops
from oracle import Oracle, Volume, chunk_shape
from registry import table
from test_mount import compare


@pytest.mark.parametrize(
    "block, target, chunk",
    [
        ((32, 32, 32), 64, (64, 64, 64)),
        ((64, 64, 64), 64, (64, 64, 64)),
        ((48, 48, 48), 64, (96, 96, 96)),
        ((100, 100, 100), 64, (100, 100, 100)),
        ((1, 512, 512), 64, (64, 512, 512)),
        ((16, 32, 128), 64, (64, 64, 128)),
        ((48, 48, 48), 256, (48, 288, 288)),
    ],
)
def test_a_chunk_is_whole_blocks_of_about_64_voxels(block, target, chunk):
    assert chunk_shape(block, target) == chunk


class Server(Oracle):
    """Four levels of 64^3 blocks with data left of the origin on x alone."""

    def __init__(self):
        self.uuid = "0" * 32

    def extents(self, name):
        return (130, 1000, -70), (280, 1130, 130)

    def block(self, name):
        return (64, 64, 64)

    def voxel_size(self, name):
        return (8.0, 8.0, 8.0)


def test_only_an_axis_with_negative_data_moves_its_origin():
    levels = list(Server()._levels("gray", [("gray", s) for s in range(4)]))
    assert [level.origin for level in levels] == [(0, 0, -512), (0, 0, -256), (0, 0, -128), (0, 0, -64)]
    assert [level.shape for level in levels] == [(280, 1136, 648), (140, 568, 324), (70, 284, 162), (35, 142, 81)]
    assert levels[1].data == ((65, 500, -35), (140, 565, 65))


def test_majority_of_the_labels_that_are_not_zero_ties_to_the_smaller():
    block = np.array([[[0, 0], [0, 9]], [[7, 9], [7, 0]]], np.uint64)
    assert halved_labels(block).tolist() == [[[7]]]
    assert halved_labels(np.zeros((2, 2, 4), np.uint64)).tolist() == [[[0, 0]]]


def test_zero_stays_zero_and_an_unlisted_supervoxel_is_its_own_body():
    supervoxels = np.array([[0, 5, 6, 1 << 61]], np.uint64)
    assert mapped(supervoxels, {5: 9, 0: 4}).tolist() == [[0, 9, 6, 1 << 61]]


def test_a_run_of_mappings_is_the_same_message_either_way():
    first, count, body, each = 1 << 33, 20, 3 << 33, 5
    one_by_one = {first + n: body + n // each for n in range(count)}
    assert run_of_ops(first, count, body, each) == mapping_ops(one_by_one)
    assert _varint(300) == b"\xac\x02"


def volume(lossy):
    return Volume("x", "uint8blk", np.dtype("|u1"), (), lossy)


def test_a_comparison_finds_one_wrong_voxel():
    want = np.arange(1000, dtype=np.uint64).reshape(10, 10, 10)
    got = want.copy()
    compare(got, want, volume(lossy=False), "equal")
    got[3, 4, 5] ^= np.uint64(1 << 60)
    with pytest.raises(pytest.fail.Exception, match=r"1 of 1000 differ, the first at \(3, 4, 5\)"):
        compare(got, want, volume(lossy=False), "one bit")


def test_a_comparison_finds_another_dtype_shape_or_sign_of_zero():
    want = np.zeros((2, 2, 2), np.float32)
    for got in (want.astype(np.float64), want[:1], -want):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            compare(got, want, volume(lossy=False), "other")


def test_jpeg_may_differ_by_1_in_few_voxels_and_no_more():
    want = np.full((10, 10, 10), 100, np.uint8)
    got = want.copy()
    got[0, 0, :5] += 1
    compare(got, want, volume(lossy=True), "rounding")
    got[0, 0, 0] += 1
    with pytest.raises(AssertionError, match="more than 1"):
        compare(got, want, volume(lossy=True), "off by 2")
    with pytest.raises(AssertionError, match="differ by 1"):
        compare(want + 1, want, volume(lossy=True), "all off by 1")


def test_the_table_of_readers_is_that_of_the_tests():
    text = (Path(__file__).resolve().parents[2] / "docs" / "readers.md").read_text()
    between = text.split("keeps it so -->\n", 1)[1].split("<!-- end of the table -->", 1)[0]
    assert between.strip() == table().strip(), "docs/readers.md: put in what `registry.py` prints"

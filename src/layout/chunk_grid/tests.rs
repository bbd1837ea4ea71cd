//! Names, positions and boxes of chunks against a model that looks at each chunk.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::file::Piece;
use super::*;
use crate::array::{ArrayKind, LevelSource};
use crate::dvid::View;
use crate::geometry::VoxelSize;
use crate::voxels::Dtype;

fn spec(block: [i64; 3], n_levels: usize, begin: [i64; 3], end: [i64; 3]) -> ArraySpec {
    let source = LevelSource { source: String::new(), block_shape: block.into(), extents: None };
    let data = VoxelBox::new(begin.into(), end.into()).unwrap();
    let kind = (Dtype::Uint8, ArrayKind::Image);
    ArraySpec::new(String::new(), View::Stored, kind, VoxelSize::UNIT, data, vec![source; n_levels]).unwrap()
}

fn grid(spec: &ArraySpec, level: usize) -> ChunkGrid {
    ChunkGrid::over_stored(spec, level, spec.levels[level].chunk_shape, (Naming::Zyx, Form::Raw)).unwrap()
}

/// The chunk indices that exist along each axis.
fn indices(grid: &ChunkGrid) -> [std::ops::Range<u64>; AXES] {
    std::array::from_fn(|axis| grid.first[axis]..grid.first[axis] + grid.n_chunks[axis])
}

/// The voxels that a chunk file holds, if it holds nothing but one channel of voxels.
fn file_box(file: &VoxelFile) -> VoxelBox {
    match &file.pieces(0..file.n_bytes())[..] {
        [Piece::Voxels(piece)] => piece.wanted().file_box,
        other => panic!("{other:?}"),
    }
}

fn name(grid: &ChunkGrid, node: ChunkNode) -> String {
    let mut name = String::new();
    grid.write_name(node, &mut name);
    name
}

fn running_example() -> ArraySpec {
    spec([64; 3], 4, [130, 1000, -70], [280, 1130, 130])
}

#[test]
fn the_running_example_has_the_chunks_that_its_data_touches() {
    let spec = running_example();
    // The data lie at array index z 130-279, y 1000-1129, x 442-641; whole blocks reach to x 384-703.
    assert_eq!(indices(&grid(&spec, 0)), [2..5, 15..18, 6..11]);
    assert_eq!(grid(&spec, 0).n_chunks(), 45);
    assert_eq!(indices(&grid(&spec, 3)), [0..1, 1..3, 0..2]);
    let node = ["4", "15", "6"].iter().fold(None, |at, name| Some(grid(&spec, 0).child_named(at, name).unwrap()));
    let file = grid(&spec, 0).file(&spec, node.unwrap()).unwrap();
    assert_eq!(file_box(&file), VoxelBox::from_shape([256, 960, -128].into(), Coordinate::splat(64)).unwrap());
    assert_eq!(file.n_bytes(), 64 * 64 * 64);
}

#[test]
fn only_the_one_spelling_of_a_number_is_a_name() {
    let grid = grid(&spec([64; 3], 1, [0; 3], [640; 3]), 0);
    assert!(grid.child_named(None, "0").is_some() && grid.child_named(None, "9").is_some());
    for name in ["", "00", "01", "+1", "-1", "1 ", " 1", "1.0", "0x1", "١", "10", "18446744073709551616", ".", "z"] {
        assert_eq!(grid.child_named(None, name), None, "{name:?}");
    }
}

#[test]
fn nothing_stored_is_no_chunk_at_all() {
    let mut spec = running_example();
    spec.levels[0].stored = VoxelBox::EMPTY;
    let grid = grid(&spec, 0);
    assert_eq!((grid.n_nodes(), grid.n_children(None), grid.child_named(None, "0")), (0, 0, None));
}

#[test]
fn a_volume_longer_than_wide_has_more_positions_than_a_slot() {
    let end = [1 << 62, 1, 1];
    let spec = spec([64; 3], 1, [0; 3], end);
    let grid = grid(&spec, 0);
    assert_eq!(grid.n_chunks(), 1 << 56);
    let last = grid.node(grid.n_nodes() - 1).unwrap();
    assert_eq!(grid.position(last), 3 * (1 << 56) - 1);
    assert_eq!(file_box(&grid.file(&spec, last).unwrap()).end(), Coordinate::new(1 << 62, 64, 64));
}

#[test]
fn chunks_that_no_file_can_hold_leave_out_the_grid() {
    let spec = running_example();
    assert_eq!(ChunkGrid::over_stored(&spec, 0, Coordinate::splat(1 << 21), (Naming::Zyx, Form::Raw)), None);
    assert_eq!(ChunkGrid::over_stored(&spec, 4, Coordinate::splat(64), (Naming::Zyx, Form::Raw)), None);
}

proptest! {
    #[test]
    fn positions_and_nodes_are_one_to_one(
        block in prop::array::uniform3(1_i64..70),
        begin in prop::array::uniform3(-300_i64..300),
        size in prop::array::uniform3(1_i64..300),
        level in 0_usize..3,
    ) {
        let end = [0, 1, 2].map(|axis| begin[axis] + size[axis]);
        let spec = spec(block, 3, begin, end);
        let grid = grid(&spec, level);
        let mut listed = vec![None];
        let (mut seen, mut at) = (HashSet::new(), 0);
        while at < listed.len() {
            let of = listed[at];
            for nth in 0..grid.n_children(of) {
                let child = grid.child(of, nth).unwrap();
                prop_assert_eq!(grid.parent(child), of);
                prop_assert_eq!(grid.node(grid.position(child)), Some(child));
                prop_assert_eq!(grid.child_named(of, &name(&grid, child)), Some(child));
                prop_assert!(seen.insert(grid.position(child)));
                listed.push(Some(child));
            }
            at += 1;
        }
        prop_assert_eq!(seen.len() as u64, grid.n_nodes());
        prop_assert!(seen.iter().all(|&position| position < grid.n_nodes()));
        prop_assert_eq!(grid.node(grid.n_nodes()), None);
        // A chunk exists if and only if it touches what is stored, checked chunk by chunk over the whole array.
        let level = &spec.levels[level];
        let all = level.shape.div_ceil(level.chunk_shape);
        for index in VoxelBox::from_shape(Coordinate::ZERO, all).unwrap().indices() {
            let voxels = VoxelBox::from_shape(level.origin + index * level.chunk_shape, level.chunk_shape).unwrap();
            let found = index.axes().iter().try_fold(None, |at, i| grid.child_named(at, &i.to_string()).map(Some));
            prop_assert_eq!(found.is_some(), !voxels.intersect(level.stored).is_empty(), "{}", index);
            if let Some(node) = found.flatten() {
                prop_assert_eq!(file_box(&grid.file(&spec, node).unwrap()), voxels);
            }
        }
    }
}

fn named(spec: &ArraySpec, naming: Naming, clip: Option<VoxelBox>, extent: VoxelBox) -> ChunkGrid {
    let level = &spec.levels[0];
    let (origin, chunk_shape) = (level.origin, level.chunk_shape);
    ChunkGrid::new(spec, GridParts { level: 0, origin, chunk_shape, extent, clip, naming, form: Form::Raw }).unwrap()
}

/// All paths of chunks, with what they hold, as listings give them.
fn walk(grid: &ChunkGrid, spec: &ArraySpec) -> Vec<(String, VoxelBox)> {
    let mut open = vec![(None, String::new())];
    let mut found = Vec::new();
    while let Some((of, path)) = open.pop() {
        for nth in 0..grid.n_children(of) {
            let child = grid.child(of, nth).unwrap();
            let name = name(grid, child);
            assert_eq!(grid.child_named(of, &name), Some(child), "{path}/{name}");
            assert_eq!((grid.parent(child), grid.node(grid.position(child))), (of, Some(child)));
            let path = format!("{path}/{name}");
            match grid.file(spec, child) {
                Some(file) => found.push((path, file_box(&file))),
                None => open.push((Some(child), path)),
            }
        }
    }
    assert_eq!(found.len() as u64, grid.n_chunks());
    let n_bytes: u128 = found.iter().map(|(_, held)| held.n_voxels() * spec.dtype.itemsize() as u128).sum();
    assert_eq!(u128::from(grid.n_bytes()), n_bytes);
    found
}

#[test]
fn each_naming_names_each_chunk_once() {
    let spec = running_example();
    let level = &spec.levels[0];
    let bounds = level.voxels();
    let zyx = walk(&named(&spec, Naming::Zyx, None, level.stored), &spec);
    for naming in [Naming::Xyz, Naming::XyzChannel] {
        for (path, held) in walk(&named(&spec, naming, None, level.stored), &spec) {
            let parts: Vec<_> = path.split('/').collect();
            assert!(zyx.contains(&(format!("/{}/{}/{}", parts[3], parts[2], parts[1]), held)), "{path}");
            assert!(parts[4..] == ["0"][..parts.len() - 4], "{path}");
        }
    }
    for (path, held) in walk(&named(&spec, Naming::ChannelZyx, None, level.stored), &spec) {
        assert!(zyx.contains(&(path.strip_prefix("/0").unwrap().to_owned(), held)), "{path}");
    }
    let boxes = walk(&named(&spec, Naming::Boxes, Some(bounds), bounds), &spec);
    assert_eq!(boxes.iter().map(|(_, held)| held.n_voxels()).sum::<u128>(), bounds.n_voxels());
    let negative = boxes.iter().find(|(path, _)| path == "/-128--64_960-1024_128-192").unwrap();
    assert_eq!(negative.1, VoxelBox::from_shape([128, 960, -128].into(), Coordinate::splat(64)).unwrap());
    // Cut where the array ends, in name and content.
    let edge = boxes.iter().find(|(path, _)| path == "/128-136_1088-1136_256-280").unwrap();
    assert_eq!(edge.1.shape(), Coordinate::new(24, 48, 8));
}

#[test]
fn names_of_boxes_and_planes_have_one_spelling() {
    let spec = running_example();
    let bounds = spec.levels[0].voxels();
    let boxes = named(&spec, Naming::Boxes, Some(bounds), bounds);
    assert!(boxes.child_named(None, "-128--64_960-1024_128-192").is_some());
    for name in [
        "-128--63_960-1024_128-192",
        "-128--64_960-1024_128-192.gz",
        "-128--64_960-1024_128-192_0-1",
        "-127--64_960-1024_128-192",
        "-0128--64_960-1024_128-192",
        "-128-64_960-1024_128-192",
        "--128--64_960-1024_128-192",
        "128-192_960-1024_128-192",
        "-_-_-",
        "",
        "_",
        "é-1_0-1_0-1",
    ] {
        assert_eq!(boxes.child_named(None, name), None, "{name:?}");
    }
    let data = spec.data;
    let parts = GridParts {
        level: 0,
        origin: Coordinate::new(0, data.begin().y(), data.begin().x()),
        chunk_shape: Coordinate::new(1, data.shape().y(), data.shape().x()),
        extent: data,
        clip: None,
        naming: Naming::Planes { axis: 0, extension: "tif" },
        form: Form::Raw,
    };
    let planes = ChunkGrid::new(&spec, parts).unwrap();
    let found = walk(&planes, &spec);
    assert_eq!((found[0].0.as_str(), found[149].0.as_str()), ("/000130.tif", "/000279.tif"));
    for name in ["000129.tif", "000280.tif", "130.tif", "0000130.tif", "000130.png", "000130tif", "+00130.tif"] {
        assert_eq!(planes.child_named(None, name), None, "{name:?}");
    }
}

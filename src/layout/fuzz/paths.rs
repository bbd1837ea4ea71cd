//! Fuzz target `path_to_chunk`: a path means one chunk that there is, in one spelling, or nothing.

use crate::array::ArraySpec;
use crate::fuzz::{Input, Target};

use super::super::chunk_grid::{ChunkGrid, ChunkNode};
use super::super::file::Piece;
use super::super::folder::Entry;
use super::{contents, layout, spec, spec_bytes};

/// An array, a layout, the number of a grid and of a node in it, and a path.
pub(crate) const PATH_TO_CHUNK: Target = Target { name: "path_to_chunk", run, seeds };

fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(spec) = spec(&mut input, false) else { return };
    let _ = input.u8();
    let Some(entry) = layout(&mut input, &spec) else { return };
    let (nth, position) = (input.below(64), input.u64());
    let (grids, _) = contents(&entry);
    if let Some((folders, grid)) = grids.get(nth % grids.len().max(1)) {
        numbered(&spec, &entry, folders, grid, position);
    }
    let path = String::from_utf8_lossy(input.rest());
    let names: Vec<&str> = path.split('/').collect();
    if let Some((folders, grid, node)) = looked_up(&entry, &names) {
        is_there(&spec, grid, node);
        let spelled = [folders, names_of(grid, node)].concat();
        assert_eq!(spelled.join("/"), path, "another spelling of one node");
    }
}

/// A node by its number has a path, and the path means that node.
fn numbered(spec: &ArraySpec, entry: &Entry, folders: &[String], grid: &ChunkGrid, position: u64) {
    assert_eq!(grid.node(grid.n_nodes()), None);
    if grid.n_nodes() == 0 {
        assert_eq!((grid.n_chunks(), grid.n_children(None), grid.n_bytes()), (0, 0, 0));
        return;
    }
    let node = grid.node(position % grid.n_nodes()).expect("positions are dense");
    assert_eq!(grid.position(node), position % grid.n_nodes());
    is_there(spec, grid, node);
    let path = [folders, &names_of(grid, node)].concat();
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let (found_folders, found_grid, found) = looked_up(entry, &names).expect("a node is found by its name");
    assert_eq!((found_folders.as_slice(), found), (folders, node));
    assert!(std::ptr::eq(found_grid, grid), "the name is in two grids");
    let parent = grid.parent(node);
    let siblings = grid.n_children(parent);
    let nth = position % siblings;
    assert_eq!(grid.child(parent, siblings), None);
    assert_eq!(grid.child(parent, nth).map(|child| grid.parent(child)), Some(parent));
}

/// The names that lead to a node of a grid.
fn names_of(grid: &ChunkGrid, node: ChunkNode) -> Vec<String> {
    let mut nodes: Vec<_> = std::iter::successors(Some(node), |&node| grid.parent(node)).collect();
    nodes.reverse();
    let name = |node| {
        let mut name = String::new();
        grid.write_name(node, &mut name);
        name
    };
    nodes.into_iter().map(name).collect()
}

/// The node of a path, as a file system looks names up; `None` if it leads elsewhere. No name may mean two things.
fn looked_up<'a>(entry: &'a Entry, names: &[&str]) -> Option<(Vec<String>, &'a ChunkGrid, ChunkNode)> {
    let (mut entry, mut at, mut path) = (entry, None::<(&ChunkGrid, ChunkNode)>, Vec::new());
    for &name in names {
        if let Some((grid, node)) = at {
            at = Some((grid, grid.child_named(Some(node), name)?));
            continue;
        }
        let Entry::Folder(folder) = entry else { return None };
        let mut chunks = folder.chunks.iter().filter_map(|grid| Some((grid, grid.child_named(None, name)?)));
        let inner = folder.entries.iter().find(|(inner, _)| inner == name);
        at = chunks.next();
        assert!(chunks.next().is_none() && (at.is_none() || inner.is_none()), "{name:?} means two things");
        if at.is_none() {
            entry = &inner?.1;
            path.push(name.to_owned());
        }
    }
    at.map(|(grid, node)| (path, grid, node))
}

/// A node is in range, and a chunk a file over voxels that the array has.
fn is_there(spec: &ArraySpec, grid: &ChunkGrid, node: ChunkNode) {
    assert!(grid.position(node) < grid.n_nodes());
    assert_eq!(grid.node(grid.position(node)), Some(node));
    let file = grid.file(spec, node);
    assert_eq!(file.is_some(), grid.is_chunk(node));
    let Some(file) = file else {
        assert!(grid.n_children(Some(node)) > 0, "an empty directory");
        return;
    };
    assert_eq!(grid.n_children(Some(node)), 0);
    assert!(file.n_bytes() > 0 && i64::try_from(file.n_bytes()).is_ok());
    for piece in file.pieces(0..file.n_bytes().min(2000)) {
        if let Piece::Voxels(piece) = piece {
            let wanted = piece.wanted();
            let level = &spec.levels[wanted.level];
            let held = wanted.file_box.intersect(level.voxels());
            assert!(!held.is_empty(), "a chunk of {} beside {}", wanted.file_box, level.voxels());
            break;
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let arrays = [
        spec_bytes(0, 3, [4, 4, 4], [130, 1000, -70], [150, 130, 200]),
        spec_bytes(3, 4, [2, 1, 3], [0, 0, 0], [29_870, 39_743, 49_000]),
        spec_bytes(5, 1, [4, 5, 0], [-1, -1000, 3], [70, 2000, 64]),
        spec_bytes(1, 2, [0, 0, 0], [i32::MIN, 0, 0], [i32::MAX, 1, 1]),
    ];
    let paths = [
        "s0/2/15/6",
        "s1/0/1/15/6",
        "s0/6/15/2/0",
        "s0/c/2/15/6",
        "0/2/15/6",
        "0/-70-58_1000-1064_130-194",
        "s0/xy/000130.tif",
        "s2/yz/000001.png",
        "s0/02",
    ];
    let mut seeds = Vec::new();
    for array in &arrays {
        for (path, kind) in paths.iter().zip(0..) {
            let number = 0x0123_4567_89ab_u64 >> (4 * kind);
            seeds.push([&array[..], &[kind], &[kind, 0], &number.to_le_bytes(), path.as_bytes()].concat());
        }
    }
    seeds
}

//! Walks in every order of axes, and what is none.

use std::collections::HashSet;

use crate::cache::key::SourceId;
use crate::dvid::View;
use crate::geometry::Scale;

use super::*;

fn grid(source: u32) -> GridKey {
    GridKey { source: SourceId(source), view: View::Stored, scale: Scale(0) }
}

fn data(shape: [i64; 3]) -> BlockBox {
    BlockBox(VoxelBox::from_shape(Coordinate::ZERO, shape.into()).unwrap())
}

/// A window of so many blocks, which are best asked for in requests of an eighth of it.
fn window(most: usize) -> Window {
    Window { most, portion: most / 8 }
}

/// All places of a box of this shape, `order` telling its axes from the fastest to the slowest.
fn walk(shape: [i64; 3], order: [usize; 3]) -> Vec<Coordinate> {
    let mut places = Vec::new();
    for slow in 0..shape[order[2]] {
        for middle in 0..shape[order[1]] {
            for fast in 0..shape[order[0]] {
                let mut at = [0; 3];
                (at[order[0]], at[order[1]], at[order[2]]) = (fast, middle, slow);
                places.push(at.into());
            }
        }
    }
    places
}

/// Reads these boxes in turn. Gives how many of them had been foretold wholly, and the foretold blocks never read.
fn foretold(reads: &[VoxelBox], bounds: Option<BlockBox>, most: usize) -> (usize, usize) {
    let mut prefetcher = Prefetcher::default();
    let mut expected = HashSet::new();
    let mut n_foretold = 0;
    for &read in reads {
        let blocks: Vec<_> = BlockBox(read).blocks().collect();
        n_foretold += usize::from(blocks.iter().all(|block| expected.contains(block)));
        expected.extend(prefetcher.observe(grid(0), &blocks, bounds, window(most)));
    }
    for read in reads {
        expected.retain(|&block| !BlockBox(*read).contains(block));
    }
    (n_foretold, expected.len())
}

fn boxes(places: &[Coordinate], shape: Coordinate) -> Vec<VoxelBox> {
    places.iter().map(|&place| VoxelBox::from_shape(place * shape, shape).unwrap()).collect()
}

#[test]
fn a_walk_along_any_axes_is_foretold() {
    let shape = [12, 14, 16];
    for order in [[2, 1, 0], [2, 0, 1], [1, 2, 0], [1, 0, 2], [0, 1, 2], [0, 2, 1]] {
        for chunk in [Coordinate::ONE, Coordinate::splat(2)] {
            let reads = boxes(&walk(shape, order), chunk);
            let bounds = data((Coordinate::from(shape) * chunk).axes());
            let (n, n_unread) = foretold(&reads, Some(bounds), 128);
            assert!(n * 20 > reads.len() * 19, "{order:?} {chunk}: {n} of {}", reads.len());
            assert_eq!(n_unread, 0, "{order:?} {chunk}");
        }
    }
}

#[test]
fn a_walk_backwards_is_foretold() {
    let mut reads = boxes(&walk([6, 10, 12], [2, 1, 0]), Coordinate::ONE);
    reads.reverse();
    let (n, n_unread) = foretold(&reads, Some(data([6, 10, 12])), 64);
    assert!(n * 10 > reads.len() * 9, "{n} of {}", reads.len());
    assert_eq!(n_unread, 0);
}

#[test]
fn a_walk_of_unknown_end_is_followed_no_further_than_its_rows_go() {
    let reads = boxes(&walk([10, 10, 20], [2, 1, 0]), Coordinate::ONE);
    let (n, n_unread) = foretold(&reads, None, 16);
    assert!(n * 10 > reads.len() * 9, "{n} of {}", reads.len());
    // Only the first row, the first plane and the last one show their ends too late.
    assert!(n_unread < 100, "{n_unread}");
}

#[test]
fn chunks_that_are_read_in_layers_are_foretold() {
    // A chunk of 4^3 blocks is read as four layers, and the next chunk along x follows.
    let mut reads = Vec::new();
    for place in walk([3, 5, 8], [2, 1, 0]) {
        for layer in 0..4 {
            let begin = place * Coordinate::splat(4) + Coordinate::new(layer, 0, 0);
            reads.push(VoxelBox::from_shape(begin, Coordinate::new(1, 4, 4)).unwrap());
        }
    }
    let (n, n_unread) = foretold(&reads, Some(data([12, 20, 32])), 256);
    assert!(n * 10 > reads.len() * 9, "{n} of {}", reads.len());
    assert_eq!(n_unread, 0);
}

#[test]
fn one_step_of_a_read_as_large_as_a_request_is_enough() {
    let window = Window { most: 64, portion: 8 };
    let layers = |shape: [i64; 3]| boxes(&walk([2, 1, 1], [0, 2, 1]), shape.into());
    assert!(!given(&layers([1, 4, 4]), window)[1].is_empty());
    assert!(given(&layers([1, 1, 4]), window)[1].is_empty());
}

#[test]
fn pieces_of_one_block_are_one_read() {
    let once = boxes(&walk([4, 6, 30], [2, 1, 0]), Coordinate::ONE);
    let in_pieces: Vec<_> = once.iter().flat_map(|&read| [read; 16]).collect();
    let (n_once, _) = foretold(&once, Some(data([4, 6, 30])), 64);
    let (n, n_unread) = foretold(&in_pieces, Some(data([4, 6, 30])), 64);
    assert!(n >= 16 * n_once);
    assert_eq!(n_unread, 0);
}

#[test]
fn walks_that_interleave_are_foretold_each() {
    let walks: Vec<Vec<VoxelBox>> = (0..6)
        .map(|n| {
            let far = Coordinate::new(100 * n, 0, 0);
            boxes(&walk([4, 6, 20], [2, 1, 0]), Coordinate::ONE).into_iter().map(|read| read.translated(far)).collect()
        })
        .collect();
    let reads: Vec<_> = (0..walks[0].len()).flat_map(|step| walks.iter().map(move |walk| walk[step])).collect();
    let (n, _) = foretold(&reads, Some(data([1000, 6, 20])), 128);
    assert!(n * 10 > reads.len() * 9, "{n} of {}", reads.len());
}

#[test]
fn readers_that_overtake_each_other_are_still_foretold() {
    let mut reads = boxes(&walk([4, 8, 32], [2, 1, 0]), Coordinate::ONE);
    reads.chunks_mut(4).for_each(|chunk| chunk.copy_from_slice(&[chunk[2], chunk[0], chunk[3], chunk[1]]));
    let (n, n_unread) = foretold(&reads, Some(data([4, 8, 32])), 64);
    assert!(n * 10 > reads.len() * 8, "{n} of {}", reads.len());
    assert_eq!(n_unread, 0);
}

/// What is given at each of these reads.
fn given(reads: &[VoxelBox], window: Window) -> Vec<Vec<BlockIndex>> {
    let mut prefetcher = Prefetcher::default();
    let observe =
        |&read: &VoxelBox| prefetcher.observe(grid(0), &BlockBox(read).blocks().collect::<Vec<_>>(), None, window);
    reads.iter().map(observe).collect()
}

#[test]
fn blocks_are_given_in_portions_that_make_whole_requests() {
    // Rows as long as a request, twice as long, and not a multiple of it.
    for (row, fewest) in [(16, 15), (32, 15), (24, 11)] {
        let reads = boxes(&walk([4, 12, row], [2, 1, 0]), Coordinate::ONE);
        let portions = given(&reads, Window { most: 128, portion: 16 });
        // Once rows are known, and before the end of the second plane.
        let settled = &portions[12 * usize::try_from(row).unwrap()..36 * usize::try_from(row).unwrap()];
        let sizes: Vec<_> = settled.iter().map(Vec::len).filter(|&n| n > 0).collect();
        assert!(sizes.iter().sum::<usize>() / sizes.len() >= fewest, "row of {row}: {sizes:?}");
    }
}

#[test]
fn portions_come_to_end_where_rows_do() {
    let reads = boxes(&walk([2, 12, 16], [2, 1, 0]), Coordinate::ONE);
    let portions = given(&reads, Window { most: 128, portion: 16 });
    let begins: Vec<_> = portions[6 * 16..].iter().filter_map(|portion| portion.first()).map(|it| it.0.x()).collect();
    // The end of a plane, met for the first time, shifts one row.
    let n_elsewhere = begins.iter().filter(|&&x| x != 0).count();
    assert!(begins.len() > 12 && n_elsewhere <= 2, "{begins:?}");
}

#[test]
fn the_start_of_a_row_is_enough_to_expect_the_row() {
    let reads = boxes(&walk([1, 2, 16], [2, 1, 0]), Coordinate::ONE);
    let portions = given(&reads[..17], Window { most: 64, portion: 8 });
    let row: Vec<_> = (1..16).map(|x| BlockIndex(Coordinate::new(0, 1, x))).collect();
    assert!(row.iter().all(|block| portions[16].contains(block)), "{:?}", portions[16]);
}

#[test]
fn a_reader_never_waits_for_a_portion_to_become_full() {
    // Many streams leave each of them a few blocks ahead, fewer than make a request.
    let walks: Vec<Vec<VoxelBox>> = (0..40)
        .map(|n| {
            let far = Coordinate::new(100 * n, 0, 0);
            boxes(&walk([1, 4, 40], [2, 1, 0]), Coordinate::ONE).into_iter().map(|read| read.translated(far)).collect()
        })
        .collect();
    let reads: Vec<_> = (0..walks[0].len()).flat_map(|step| walks.iter().map(move |walk| walk[step])).collect();
    let (n, _) = foretold(&reads, None, 128);
    assert!(n * 10 > reads.len() * 9, "{n} of {}", reads.len());
}

#[test]
fn random_reads_foretell_nothing() {
    let mut seed = 7_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        i64::try_from(seed % 2000).unwrap()
    };
    let reads: Vec<_> = (0..3000).map(|_| Coordinate::new(next(), next(), next())).collect();
    assert_eq!(foretold(&boxes(&reads, Coordinate::ONE), None, 128), (0, 0));
}

#[test]
fn grids_are_told_apart() {
    let mut prefetcher = Prefetcher::default();
    for x in 0..30 {
        let block = BlockIndex(Coordinate::new(0, 0, x));
        let source = u32::try_from(x % 10).unwrap();
        // Each grid sees every tenth block: no neighbour of any that it saw before.
        assert!(prefetcher.observe(grid(source), &[block], None, window(64)).is_empty());
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut prefetcher = Prefetcher::default();
    for source in 0..100 {
        prefetcher.observe(grid(source), &[BlockIndex(Coordinate::ZERO)], None, window(64));
    }
    for x in 0..20_000 {
        prefetcher.observe(grid(1000), &[BlockIndex(Coordinate::new(0, 0, x))], None, window(64));
    }
    assert!(prefetcher.grids.len() <= MOST_GRIDS);
    let seen = &prefetcher.grids[&grid(1000)];
    assert!(seen.when.len() <= MOST_SEEN && seen.order.len() <= MOST_SEEN);
    assert!(seen.given.len() <= 4 * 64 && seen.given_order.len() <= 4 * 64);
}

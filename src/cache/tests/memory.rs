//! The budget of bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::cache::CacheConfig;
use crate::cache::key::{BlockKey, SourceId};
use crate::cache::memory::{ENTRY_BYTES, Memory};
use crate::cache::sync::Instant;
use crate::dvid::{Block, Freshness, View};
use crate::geometry::{Coordinate, Scale};
use crate::metrics::Metrics;
use crate::voxels::{Dtype, Volume};

use super::fake::{BLOCK_BYTES, Fake, Setup, at, check_answer, quick, receive};

fn key(x: i64) -> BlockKey {
    BlockKey { source: SourceId(0), view: View::Stored, scale: Scale(0), block: at(0, 0, x) }
}

fn volume(n: usize) -> Arc<Volume> {
    let shape = Coordinate::new(1, 1, i64::try_from(n).unwrap());
    Arc::new(Volume::new(Dtype::Uint8, shape, vec![7; n]).unwrap())
}

#[derive(Clone, Debug)]
enum Op {
    Put(i64, usize),
    PutAbsent(i64),
    Decode(i64, usize),
    Get(i64),
    Reserve(usize),
    Release,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0_i64..20, 0_usize..900).prop_map(|(x, n)| Op::Put(x, n)),
        (0_i64..20).prop_map(Op::PutAbsent),
        (0_i64..20, 0_usize..900).prop_map(|(x, n)| Op::Decode(x, n)),
        (0_i64..20).prop_map(Op::Get),
        (0_usize..2000).prop_map(Op::Reserve),
        Just(Op::Release),
    ]
}

proptest! {
    #[test]
    fn the_budget_holds_and_what_is_found_is_what_was_put_last(ops in prop::collection::vec(any_op(), 1..200)) {
        let limit = 5000;
        let memory = Memory::new(limit, Arc::new(Metrics::default()));
        let now = Instant::now();
        let (mut stored, mut decoded) = (HashMap::new(), HashMap::new());
        let mut reserved = Vec::new();
        for op in ops {
            match op {
                Op::Put(x, n) => {
                    memory.put_stored(key(x), Block::Dense(volume(n)), None);
                    stored.insert(x, Some(n));
                }
                Op::PutAbsent(x) => {
                    memory.put_stored(key(x), Block::Absent, None);
                    stored.insert(x, None);
                }
                Op::Decode(x, n) => {
                    memory.put_decoded(key(x), volume(n), None);
                    decoded.insert(x, n);
                }
                Op::Get(x) => {
                    if let Some((block, _)) = memory.stored(&key(x), now) {
                        let n = match block {
                            Block::Absent => None,
                            Block::Dense(volume) => Some(volume.bytes().len()),
                            Block::Labels(_) => unreachable!("none was put"),
                        };
                        prop_assert_eq!(Some(&n), stored.get(&x));
                    }
                    if let Some(volume) = memory.decoded(&key(x), &key(x), now) {
                        prop_assert_eq!(Some(&volume.bytes().len()), decoded.get(&x));
                    }
                }
                Op::Reserve(n) => {
                    if memory.reserve(n).is_ok() {
                        reserved.push(n);
                    }
                }
                Op::Release => reserved.pop().into_iter().for_each(|n| memory.release(n)),
            }
            prop_assert_eq!(memory.reserved_bytes(), reserved.iter().sum::<usize>());
            prop_assert!(memory.held_bytes() + memory.reserved_bytes() <= limit);
        }
    }
}

#[test]
fn the_block_that_was_used_least_recently_goes_first() {
    let memory = Memory::new(3 * (100 + ENTRY_BYTES), Arc::new(Metrics::default()));
    let now = Instant::now();
    for x in 0..3 {
        memory.put_stored(key(x), Block::Dense(volume(100)), None);
    }
    assert!(memory.stored(&key(0), now).is_some());
    memory.put_stored(key(3), Block::Dense(volume(100)), None);
    let found: Vec<_> = (0..4).map(|x| memory.has_stored(&key(x), now)).collect();
    assert_eq!(found, [true, false, true, true]);
}

#[test]
fn what_a_read_holds_stays_counted() {
    let memory = Memory::new(1000, Arc::new(Metrics::default()));
    let held = volume(700);
    memory.put_stored(key(0), Block::Dense(Arc::clone(&held)), None);
    memory.put_stored(key(1), Block::Dense(volume(500)), None);
    assert!(memory.has_stored(&key(0), Instant::now()));
    assert!(memory.reserve(900).is_err());
    drop(held);
    assert!(memory.reserve(900).is_ok());
    assert_eq!(memory.held_bytes(), 0);
}

#[test]
fn decoded_volumes_take_half_of_the_budget_at_most() {
    let memory = Memory::new(10_000, Arc::new(Metrics::default()));
    for x in 0..30 {
        memory.put_decoded(key(x), volume(500), None);
        assert!(memory.held_bytes() <= 5000);
    }
}

#[test]
fn a_block_is_gone_when_its_time_is_over() {
    let memory = Memory::new(10_000, Arc::new(Metrics::default()));
    let now = Instant::now();
    memory.put_stored(key(0), Block::Absent, Some(now + Duration::from_secs(5)));
    assert!(memory.stored(&key(0), now + Duration::from_secs(4)).is_some());
    assert!(memory.stored(&key(0), now + Duration::from_secs(5)).is_none());
}

#[test]
fn many_large_reads_at_once_stay_within_the_budget() {
    // Sixteen blocks, and two of them for what is being fetched.
    let budget = 16 * (BLOCK_BYTES + ENTRY_BYTES);
    let fake = Fake { delay: Duration::from_millis(1), ..Fake::new() };
    let setup = Setup::new(CacheConfig { memory_bytes: budget, prefetch: true, ..quick() }, fake);
    let blocks_of = |n: i64| (1..6).map(|x| at(n, 0, x)).collect::<Vec<_>>();
    let (sender, receiver) = std::sync::mpsc::channel();
    for n in 0..60 {
        let (sender, blocks) = (sender.clone(), blocks_of(n));
        let then = move |answer| {
            check_answer(View::Stored, &blocks, answer);
            sender.send(()).unwrap();
        };
        setup.cache.get_many(setup.request(View::Stored, &blocks_of(n)), Box::new(then));
    }
    for _ in 0..60 {
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        // One read of five blocks may come on top, where all are held by unfinished reads.
        assert!(setup.cache.status().held_bytes <= budget + 5 * (BLOCK_BYTES + ENTRY_BYTES));
    }
    setup.wait_until("the budget holds", |setup| setup.cache.status().held_bytes <= budget);
}

#[test]
fn a_read_larger_than_the_budget_is_served_all_the_same() {
    let setup = Setup::new(CacheConfig { memory_bytes: 3 * BLOCK_BYTES, ..quick() }, Fake::new());
    let blocks: Vec<_> = (0..40).map(|x| at(0, 0, x)).collect();
    for view in [View::Stored, View::Bodies] {
        check_answer(view, &blocks, receive(&setup.start_view(view, &blocks)));
    }
    setup.wait_until("the budget holds", |setup| setup.cache.status().held_bytes <= 3 * BLOCK_BYTES);
}

#[test]
fn a_read_of_many_slow_requests_ends_though_each_takes_longer_than_the_ttl() {
    // Every block is out of date by the time at which the last one lands.
    for ttl in [Duration::ZERO, Duration::from_millis(30)] {
        let fake = Fake { freshness: Freshness::For(ttl), delay: Duration::from_millis(100), ..Fake::new() };
        let config = CacheConfig { patience: Duration::from_secs(3), max_connections: 2, ..quick() };
        let setup = Setup::new(config, fake);
        let blocks: Vec<_> = (0..24).map(|x| at(0, 0, x)).collect();
        for view in [View::Stored, View::Bodies] {
            check_answer(view, &blocks, receive(&setup.start_view(view, &blocks)));
        }
        assert!(setup.fake.n_blocks() <= 3 * blocks.len(), "{}", setup.fake.n_blocks());
    }
}

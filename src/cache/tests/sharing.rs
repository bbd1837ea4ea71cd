//! One fetch for each block, requests for several, and who waits for whom.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::cache::{CacheConfig, Reader};
use crate::dvid::{ErrorKind, Freshness, View};
use crate::geometry::{BlockBox, Coordinate, VoxelBox};
use crate::metrics::Counter;

use super::fake::{Act, BLOCK_BYTES, Fake, Setup, at, check_answer, quick, receive, row};

#[test]
fn four_thousand_readers_of_a_cold_block_cost_one_fetch() {
    let setup = Setup::new(quick(), Fake::scripted(|_, _| Act::Hang));
    let reads: Vec<_> = (0..4000).map(|_| setup.start(&row(1))).collect();
    assert_eq!(setup.cache.status().parked_reads, 4000);
    setup.fake.release();
    for read in &reads {
        check_answer(View::Stored, &row(1), receive(read));
    }
    assert_eq!(setup.fake.n_calls(), 1);
    assert_eq!(setup.cache.status().parked_reads, 0);
    assert_eq!(setup.metrics.get(Counter::CacheMissBlocks), 4000);
}

#[test]
fn a_second_read_costs_no_request_and_is_answered_on_the_spot() {
    let setup = Setup::new(quick(), Fake::new());
    let blocks = [at(3, -1, 7), at(0, 0, 0), at(3, -1, 8), at(0, 0, 0)];
    check_answer(View::Stored, &blocks, setup.get(&blocks));
    let n_calls = setup.fake.n_calls();
    let own = std::thread::current().id();
    let (sender, receiver) = std::sync::mpsc::channel();
    let then = move |answer| drop(sender.send((std::thread::current().id(), answer)));
    setup.cache.get_many(setup.request(View::Stored, &blocks), Box::new(then));
    let (thread, answer) = receiver.try_recv().expect("already answered");
    check_answer(View::Stored, &blocks, answer);
    assert_eq!((thread, setup.fake.n_calls()), (own, n_calls));
}

#[test]
fn cached_blocks_are_read_beside_256_fetches_that_hang() {
    let setup = Setup::new(quick(), Fake::scripted(|number, _| if number == 0 { Act::Give } else { Act::Hang }));
    check_answer(View::Stored, &row(1), setup.get(&row(1)));
    let hanging: Vec<_> = (0..256).map(|n| setup.start(&[at(2 * n, 5, 1)])).collect();
    for _ in 0..1000 {
        let start = Instant::now();
        check_answer(View::Stored, &row(1), setup.get(&row(1)));
        assert!(start.elapsed() < Duration::from_millis(50));
    }
    assert_eq!(setup.cache.status().parked_reads, 256);
    setup.fake.release();
    hanging.iter().for_each(|read| drop(receive(read).unwrap()));
}

#[test]
fn hung_fetches_earn_extra_connections_up_to_the_limit() {
    let setup =
        Setup::new(quick(), Fake::scripted(|_, blocks| if blocks.0.begin().z() > 0 { Act::Hang } else { Act::Give }));
    let hanging: Vec<_> = (1..5).map(|n| setup.start(&[at(2 * n, 0, 1)])).collect();
    setup.wait_until("four hang", |setup| setup.fake.n_calls() == 4);
    check_answer(View::Stored, &row(1), setup.get(&row(1))); // not starved
    let more: Vec<_> = (10..50).map(|n| setup.start(&[at(2 * n, 0, 1)])).collect();
    setup.wait_until("eight hang", |setup| setup.fake.running.load(Ordering::SeqCst) == 8);
    std::thread::sleep(Duration::from_millis(150)); // longer than two slow fetches
    assert_eq!(setup.cache.status().in_flight, 8);
    setup.fake.release();
    hanging.iter().chain(&more).for_each(|read| drop(receive(read).unwrap()));
    assert_eq!(setup.fake.most_running.load(Ordering::SeqCst), 8);
}

#[test]
fn quick_fetches_never_use_more_than_the_usual_connections() {
    let fake = Fake { delay: Duration::from_millis(2), ..Fake::new() };
    let setup = Setup::new(CacheConfig { slow_fetch: Duration::from_secs(5), ..quick() }, fake);
    let reads: Vec<_> = (0..100).map(|n| setup.start(&[at(2 * n, 0, 1)])).collect();
    reads.iter().for_each(|read| drop(receive(read).unwrap()));
    assert_eq!(setup.fake.most_running.load(Ordering::SeqCst), 4);
    assert_eq!(setup.fake.n_calls(), 100);
}

/// Requests for a cube of 4^3 blocks over so many connections, none of which is busy.
fn requests_for_a_cube(max_connections: usize, side: i64) -> Vec<BlockBox> {
    let cube: Vec<_> =
        BlockBox(VoxelBox::from_shape(Coordinate::ZERO, Coordinate::splat(side)).unwrap()).blocks().collect();
    let fake = Fake { delay: Duration::from_millis(20), ..Fake::new() };
    let config = CacheConfig { max_connections, slow_fetch: Duration::from_secs(5), ..quick() };
    let setup = Setup::new(config, fake);
    check_answer(View::Stored, &cube, setup.get(&cube));
    let asked: Vec<_> = setup.fake.calls().into_iter().flat_map(BlockBox::blocks).collect();
    assert_eq!(asked.len(), cube.len(), "a block is asked for once");
    assert_eq!(asked.into_iter().collect::<HashSet<_>>(), cube.into_iter().collect());
    setup.fake.calls()
}

#[test]
fn neighbours_are_asked_for_in_one_request() {
    let requests = requests_for_a_cube(1, 4);
    assert_eq!(requests.len(), 8);
    assert!(requests.iter().all(|request| request.n_blocks() == 8));
}

#[test]
fn few_blocks_are_spread_over_idle_connections() {
    let requests = requests_for_a_cube(4, 2);
    assert_eq!(requests.iter().map(|request| request.n_blocks()).collect::<Vec<_>>(), [2; 4]);
}

#[test]
fn a_request_is_never_larger_than_256_cubed_voxels() {
    let mut fake = Fake::new();
    fake.form.block_shape = Coordinate::splat(128);
    fake.form.blocks_per_request = 100;
    let setup = Setup::new(CacheConfig { max_connections: 1, memory_bytes: 1 << 30, ..quick() }, fake);
    check_answer(View::Stored, &row(20), setup.get(&row(20)));
    assert!(setup.fake.calls().iter().all(|request| request.n_blocks() <= 8));
}

#[test]
fn what_is_read_goes_before_what_may_be() {
    let config = CacheConfig { max_connections: 1, most_connections: 1, prefetch: true, ..quick() };
    let setup = Setup::new(config, Fake { delay: Duration::from_millis(5), ..Fake::new() });
    for x in 1..4 {
        check_answer(View::Stored, &[at(0, 0, x)], setup.get(&[at(0, 0, x)]));
    }
    setup.wait_until("blocks are fetched ahead", |setup| setup.cache.status().queued > 0 || setup.fake.n_blocks() > 4);
    check_answer(View::Stored, &[at(9, 9, 9)], setup.get(&[at(9, 9, 9)]));
    let calls = setup.fake.calls();
    let position = calls.iter().position(|request| request.contains(at(9, 9, 9))).unwrap();
    assert!(position <= 5, "{calls:?}");
}

#[test]
fn a_sequential_reader_finds_its_blocks_fetched_and_nothing_is_fetched_beyond_the_data() {
    let config = CacheConfig { prefetch: true, ..quick() };
    let setup = Setup::new(config, Fake { delay: Duration::from_millis(3), ..Fake::new() });
    let bounds = BlockBox(VoxelBox::from_shape(Coordinate::ZERO, Coordinate::new(2, 1, 200)).unwrap());
    setup.cache.set_bounds(setup.source, crate::geometry::Scale(0), bounds);
    for block in bounds.blocks() {
        check_answer(View::Stored, &[block], setup.get(&[block]));
    }
    // 50 would be the fewest.
    assert!(setup.fake.n_calls() < 75, "{} requests for 400 blocks", setup.fake.n_calls());
    assert_eq!(setup.fake.n_blocks(), 400, "each block of the data once");
    assert!(setup.fake.calls().iter().all(|request| bounds.0.contains(request.0)));
    assert!(setup.metrics.get(Counter::CachePrefetchedBlocks) > 200);
}

#[test]
fn where_memory_is_scarce_requests_are_smaller_but_not_single_blocks() {
    // A quarter of the memory is 16 blocks, as of labels under a small budget: four for each connection.
    let config = CacheConfig { prefetch: true, memory_bytes: 64 * BLOCK_BYTES, max_connections: 4, ..quick() };
    let setup = Setup::new(config, Fake { delay: Duration::from_millis(3), ..Fake::new() });
    let bounds = BlockBox(VoxelBox::from_shape(Coordinate::ZERO, Coordinate::new(1, 2, 200)).unwrap());
    setup.cache.set_bounds(setup.source, crate::geometry::Scale(0), bounds);
    for block in bounds.blocks() {
        check_answer(View::Stored, &[block], setup.get(&[block]));
    }
    assert!(setup.fake.n_calls() < 150, "{} requests for 400 blocks", setup.fake.n_calls());
    let largest = setup.fake.calls().iter().map(|request| request.n_blocks()).max();
    assert_eq!(largest, Some(4), "one connection does not take what two could");
}

#[test]
fn random_reads_fetch_what_they_read_and_no_more() {
    let setup = Setup::new(CacheConfig { prefetch: true, ..quick() }, Fake::new());
    let mut seed = 1_i64;
    for _ in 0..300 {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33).rem_euclid(1000)
        };
        let block = at(next(), next(), next());
        check_answer(View::Stored, &[block], setup.get(&[block]));
    }
    assert_eq!(setup.fake.n_blocks(), 300);
}

#[test]
fn blocks_of_an_open_node_are_fetched_anew_after_their_time() {
    let fake = Fake { freshness: Freshness::For(Duration::from_millis(80)), ..Fake::new() };
    let setup = Setup::new(quick(), fake);
    check_answer(View::Stored, &row(2), setup.get(&row(2)));
    let n_calls = setup.fake.n_calls();
    std::thread::sleep(Duration::from_millis(90));
    check_answer(View::Stored, &row(2), setup.get(&row(2)));
    assert_eq!(setup.fake.n_calls(), 2 * n_calls);
}

#[test]
fn a_read_that_begins_when_a_block_on_its_way_has_expired_does_not_take_it() {
    let ttl = Duration::from_millis(50);
    let fake = Fake { freshness: Freshness::For(ttl), ..Fake::scripted(|_, _| Act::Hang) };
    let setup = Setup::new(quick(), fake);
    let first = setup.start(&row(1));
    setup.wait_until("the request hangs", |setup| setup.fake.n_calls() == 1);
    std::thread::sleep(ttl + Duration::from_millis(10));
    let second = setup.start(&row(1));
    setup.fake.release();
    check_answer(View::Stored, &row(1), receive(&first));
    check_answer(View::Stored, &row(1), receive(&second));
    assert_eq!(setup.fake.n_calls(), 2, "what the server said before is too old for the second read");
}

#[test]
fn blocks_that_are_never_fresh_are_served_all_the_same() {
    let fake = Fake { freshness: Freshness::For(Duration::ZERO), ..Fake::new() };
    let setup = Setup::new(quick(), fake);
    for view in [View::Stored, View::Bodies] {
        let read = setup.start_view(view, &row(20));
        check_answer(view, &row(20), receive(&read));
    }
    assert_eq!(setup.fake.n_blocks(), 40);
}

#[test]
fn the_end_comes_soon_though_a_fetch_hangs_and_everybody_is_told() {
    let setup = Setup::new(quick(), Fake::scripted(|_, _| Act::Hang));
    let reads: Vec<_> = (0..50).map(|n| setup.start(&[at(n, 0, 1)])).collect();
    let start = Instant::now();
    setup.cache.shut_down();
    assert!(start.elapsed() < Duration::from_millis(1500));
    for read in &reads {
        assert_eq!(receive(read).unwrap_err().kind(), crate::dvid::ErrorKind::Abandoned);
    }
    assert_eq!(setup.get(&row(1)).unwrap_err().kind(), crate::dvid::ErrorKind::Abandoned);
    assert!(setup.cache.drain(Duration::ZERO));
}

#[test]
fn an_idle_cache_ends_at_once_and_leaves_no_thread() {
    let setup = Setup::new(quick(), Fake::new());
    check_answer(View::Stored, &row(3), setup.get(&row(3)));
    let start = Instant::now();
    setup.cache.shut_down();
    assert!(start.elapsed() < Duration::from_millis(500));
    let fake = std::sync::Arc::downgrade(&setup.fake);
    let cache = std::sync::Arc::downgrade(&setup.cache);
    drop(setup);
    assert!(cache.upgrade().is_none() && fake.upgrade().is_none(), "a thread still holds the cache");
}

#[test]
fn draining_waits_for_the_last_read() {
    let setup = Setup::new(quick(), Fake::scripted(|_, _| Act::Hang));
    let read = setup.start(&row(1));
    assert!(!setup.cache.drain(Duration::from_millis(5)));
    setup.fake.release();
    assert!(setup.cache.drain(Duration::from_secs(10)));
    check_answer(View::Stored, &row(1), receive(&read));
}

#[test]
fn the_read_of_a_reader_that_is_gone_waits_for_nothing_more() {
    let fails = |_, blocks: BlockBox| if blocks.0.begin().z() > 0 { Act::Fail(ErrorKind::Busy) } else { Act::Hang };
    let setup = Setup::new(CacheConfig { max_connections: 1, most_connections: 2, ..quick() }, Fake::scripted(fails));
    let (killed, alive) = (Reader::default(), Reader::default());
    let hanging = killed.begin(|| setup.start(&row(1)));
    let retried = killed.begin(|| setup.start(&[at(5, 0, 0)]));
    let shared = [killed.begin(|| setup.start(&[at(7, 0, 0)])), alive.begin(|| setup.start(&[at(7, 0, 0)]))];
    assert_eq!(setup.cache.status().parked_reads, 4);
    setup.wait_until("blocks are asked for again", |setup| setup.fake.n_calls() > 4);
    killed.leave();
    setup.wait_until("its reads are given up", |setup| setup.cache.status().parked_reads == 1);
    for gone in [&hanging, &retried, &shared[0]] {
        // Neither bytes nor an error: nobody is there who could be told, and no failed read is counted.
        assert_eq!(gone.recv_timeout(Duration::from_secs(10)).unwrap_err(), RecvTimeoutError::Disconnected);
    }
    setup.wait_until("only the shared block is asked for again", |setup| setup.cache.status().queued <= 1);
    setup.fake.set_script(|_, _| Act::Give);
    check_answer(View::Stored, &[at(7, 0, 0)], receive(&shared[1]));
    setup.fake.release();
    setup.wait_until("the fetch under way ends", |setup| setup.cache.status().in_flight == 0);
    let status = setup.cache.status();
    assert_eq!((status.parked_reads, status.queued), (0, 0));
    let n_calls = setup.fake.n_calls();
    check_answer(View::Stored, &row(1), setup.get(&row(1)));
    assert_eq!(setup.fake.n_calls(), n_calls, "the block that was on its way is in memory");
}

//! One stored block for several views, and views that have to be made ready first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cache::CacheConfig;
use crate::dvid::{ErrorKind, View};

use super::fake::{Act, Fake, Setup, check_answer, quick, receive, row};

#[test]
fn one_stored_block_serves_both_views() {
    let setup = Setup::new(quick(), Fake::new());
    let blocks = row(10);
    for view in [View::Bodies, View::Stored, View::Bodies] {
        check_answer(view, &blocks, setup.cache.get_many_blocking(setup.request(view, &blocks)));
    }
    assert_eq!(setup.fake.n_blocks(), 10);
    // Nine of the ten blocks are stored, each decoded once.
    assert_eq!(setup.fake.decoded.load(Ordering::SeqCst), 9);
}

#[test]
fn readers_of_two_views_share_one_fetch() {
    let setup = Setup::new(quick(), Fake::scripted(|_, _| Act::Hang));
    let reads = [View::Stored, View::Bodies].map(|view| (view, setup.start_view(view, &row(1))));
    setup.fake.release();
    for (view, read) in &reads {
        check_answer(*view, &row(1), receive(read));
    }
    assert_eq!(setup.fake.n_calls(), 1);
}

#[test]
fn bodies_wait_for_their_mapping_while_their_blocks_are_fetched() {
    let fake = Fake { ready: AtomicBool::new(false), unprepared: 2, ..Fake::new() };
    let setup = Setup::new(quick(), fake);
    let reads: Vec<_> = (0..20).map(|_| setup.start_view(View::Bodies, &row(4))).collect();
    setup.wait_until("the blocks are fetched", |setup| setup.fake.n_blocks() == 4);
    assert!(setup.fake.views().iter().all(|&view| view == View::Stored));
    for read in &reads {
        check_answer(View::Bodies, &row(4), receive(read));
    }
    assert_eq!(setup.fake.prepared.load(Ordering::SeqCst), 3);
    assert_eq!(setup.fake.n_blocks(), 4);
}

#[test]
fn bodies_that_the_server_maps_are_not_even_asked_for_before_they_are_ready() {
    let fake = Fake { maps_here: false, ready: AtomicBool::new(false), unprepared: 1, ..Fake::new() };
    let setup = Setup::new(CacheConfig { prefetch: true, ..quick() }, fake);
    // The fake refuses to be asked too early. What it then gives is not mapped: it is only told by its view.
    setup.cache.get_many_blocking(setup.request(View::Bodies, &row(4))).unwrap();
    assert!(setup.fake.views().iter().all(|&view| view == View::Bodies));
    assert_eq!(setup.fake.prepared.load(Ordering::SeqCst), 2);
}

#[test]
fn a_view_that_becomes_unready_is_made_ready_again() {
    let setup = Setup::new(quick(), Fake::new());
    check_answer(View::Stored, &row(3), setup.get(&row(3)));
    setup.fake.ready.store(false, Ordering::SeqCst);
    let read = setup.start_view(View::Bodies, &row(3));
    check_answer(View::Bodies, &row(3), receive(&read));
    assert_eq!(setup.fake.prepared.load(Ordering::SeqCst), 1);
    assert_eq!(setup.fake.n_blocks(), 3);
}

#[test]
fn a_panic_while_a_view_is_made_ready_is_told_and_the_view_is_made_ready_anew() {
    let fake = Fake { ready: AtomicBool::new(false), preparing_panics: AtomicBool::new(true), ..Fake::new() };
    let setup = Setup::new(quick(), fake);
    let reads = [(); 2].map(|()| setup.start_view(View::Bodies, &row(1)));
    assert_eq!(receive(&reads[0]).unwrap_err().kind(), ErrorKind::Abandoned);
    assert_eq!(receive(&reads[1]).unwrap_err().kind(), ErrorKind::Abandoned);
    std::thread::sleep(2 * quick().failure_memory);
    check_answer(View::Bodies, &row(1), receive(&setup.start_view(View::Bodies, &row(1))));
}

#[test]
fn patience_ends_for_a_mapping_too() {
    let patience = Duration::from_millis(100);
    let fake = Fake { ready: AtomicBool::new(false), unprepared: usize::MAX, ..Fake::new() };
    let setup = Setup::new(CacheConfig { patience, ..quick() }, fake);
    let read = setup.start_view(View::Bodies, &row(1));
    assert_eq!(receive(&read).unwrap_err().kind(), ErrorKind::MappingLoading);
    check_answer(View::Stored, &row(1), setup.get(&row(1)));
}

#[test]
fn a_read_whose_view_becomes_unready_under_it_has_it_made_ready_again() {
    let fake = Fake { maps_here: false, ..Fake::new() };
    // One request at a time: the fake takes none that was on its way when the view became unready.
    let setup = Setup::new(CacheConfig { max_connections: 1, most_connections: 1, ..quick() }, fake);
    let restarted = Arc::clone(&setup.fake);
    // The fake refuses to be asked for bodies that are not ready, so a mere repetition fails.
    setup.fake.set_script(move |number, _| {
        if number > 0 {
            return Act::Give;
        }
        restarted.ready.store(false, Ordering::SeqCst);
        Act::Fail(ErrorKind::MappingLoading)
    });
    let read = setup.start_view(View::Bodies, &row(4));
    assert!(receive(&read).is_ok());
    assert_eq!(setup.fake.prepared.load(Ordering::SeqCst), 1);
}

#[test]
fn a_new_read_is_not_told_of_an_old_failure_that_would_have_passed() {
    let patience = Duration::from_millis(150);
    let fake = Fake { ready: AtomicBool::new(false), unprepared: usize::MAX, ..Fake::new() };
    let setup = Setup::new(CacheConfig { patience, failure_memory: Duration::from_secs(5), ..quick() }, fake);
    for _ in 0..2 {
        let error = receive(&setup.start_view(View::Bodies, &row(1))).unwrap_err();
        assert!(error.waited >= patience, "{:?}", error.waited);
        // The last attempt ends without anybody who waits for it.
        let n_prepared = setup.fake.prepared.load(Ordering::SeqCst);
        setup.wait_until("it is tried once more", |setup| setup.fake.prepared.load(Ordering::SeqCst) > n_prepared);
        std::thread::sleep(Duration::from_millis(20));
    }
}

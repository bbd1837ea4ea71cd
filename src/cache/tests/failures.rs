//! What fails, hangs or panics, and who is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cache::CacheConfig;
use crate::dvid::{ErrorKind, View};
use crate::metrics::Counter;

use super::fake::{Act, Fake, Setup, at, check_answer, quick, receive, row};

#[test]
fn one_bad_block_does_not_spoil_its_neighbours() {
    for kind in [ErrorKind::Malformed, ErrorKind::Status(500), ErrorKind::OverLimit] {
        let bad = at(0, 0, 3);
        let act =
            move |_, blocks: crate::geometry::BlockBox| if blocks.contains(bad) { Act::Fail(kind) } else { Act::Give };
        let setup = Setup::new(CacheConfig { max_connections: 1, ..quick() }, Fake::scripted(act));
        let reads: Vec<_> = row(8).into_iter().map(|block| (block, setup.start(&[block]))).collect();
        for (block, read) in reads {
            match receive(&read) {
                Err(error) => assert_eq!((block, error.block, error.kind(), error.attempts), (bad, bad, kind, 3)),
                answer => check_answer(View::Stored, &[block], answer),
            }
        }
        let n_bad = setup.fake.calls().iter().filter(|request| request.contains(bad)).count();
        assert_eq!(n_bad, 3, "{kind}");
    }
}

#[test]
fn the_blocks_of_a_request_that_failed_are_asked_for_one_by_one() {
    let bad = at(0, 0, 7);
    let act = move |_, blocks: crate::geometry::BlockBox| {
        if blocks.contains(bad) { Act::Fail(ErrorKind::Malformed) } else { Act::Give }
    };
    let fake = Fake { delay: Duration::from_millis(20), ..Fake::scripted(act) };
    let setup = Setup::new(CacheConfig { max_connections: 1, most_connections: 1, ..quick() }, fake);
    assert_eq!(setup.get(&row(8)).unwrap_err().block, bad);
    let sizes: Vec<_> = setup.fake.calls().iter().map(|request| request.n_blocks()).collect();
    assert_eq!(sizes[0], 8);
    assert!(sizes[1..].iter().all(|&n| n == 1), "{sizes:?}");
}

#[test]
fn a_final_failure_is_remembered_for_a_while_and_never_cached() {
    let setup = Setup::new(
        quick(),
        Fake::scripted(|number, _| if number == 0 { Act::Fail(ErrorKind::Denied) } else { Act::Give }),
    );
    assert_eq!(setup.get(&row(1)).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(setup.get(&row(1)).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(setup.fake.n_calls(), 1);
    std::thread::sleep(Duration::from_millis(160));
    check_answer(View::Stored, &row(1), setup.get(&row(1)));
}

#[test]
fn a_busy_server_is_asked_again_until_it_answers() {
    let setup = Setup::new(
        quick(),
        Fake::scripted(|number, _| if number < 3 { Act::Fail(ErrorKind::Busy) } else { Act::Give }),
    );
    check_answer(View::Stored, &row(1), setup.get(&row(1)));
    assert_eq!(setup.fake.n_calls(), 4);
    assert_eq!(setup.metrics.get(Counter::DvidRetriedRequests), 3);
}

#[test]
fn a_block_that_is_retried_keeps_no_connection_from_others() {
    let act = |_, blocks: crate::geometry::BlockBox| {
        if blocks.contains(at(5, 5, 5)) { Act::Fail(ErrorKind::Busy) } else { Act::Give }
    };
    let setup = Setup::new(CacheConfig { max_connections: 1, most_connections: 1, ..quick() }, Fake::scripted(act));
    let stuck = setup.start(&[at(5, 5, 5)]);
    let start = Instant::now();
    for n in 0..50 {
        check_answer(View::Stored, &[at(0, 2 * n, 0)], setup.get(&[at(0, 2 * n, 0)]));
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(stuck.try_recv().is_err());
}

#[test]
fn patience_ends_in_time_and_the_fetch_goes_on() {
    let patience = Duration::from_millis(150);
    let setup = Setup::new(CacheConfig { patience, ..quick() }, Fake::scripted(|_, _| Act::Hang));
    let start = Instant::now();
    let error = setup.get(&row(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.waited >= patience);
    assert!(start.elapsed() >= patience && start.elapsed() < patience + Duration::from_millis(200));
    setup.fake.release();
    setup.wait_until("the block is cached", |setup| setup.cache.status().held_bytes > 0);
    check_answer(View::Stored, &row(1), setup.get(&row(1)));
    assert_eq!(setup.fake.n_calls(), 1);
}

#[test]
fn the_error_of_an_impatient_read_is_that_of_the_last_attempt() {
    let patience = Duration::from_millis(150);
    let setup = Setup::new(CacheConfig { patience, ..quick() }, Fake::scripted(|_, _| Act::Fail(ErrorKind::Busy)));
    let error = setup.get(&[at(1, 2, 3)]).unwrap_err();
    assert_eq!((error.kind(), error.block), (ErrorKind::Busy, at(1, 2, 3)));
    assert!(error.attempts > 0);
    assert_eq!(setup.cache.status().queued, 0, "nobody waits for it any more");
}

#[test]
fn a_panic_in_a_fetch_fails_its_readers_and_no_thread() {
    let config = CacheConfig { max_connections: 1, most_connections: 1, ..quick() };
    let setup = Setup::new(config, Fake::scripted(|number, _| if number < 3 { Act::Panic } else { Act::Give }));
    for n in 0..3 {
        assert_eq!(setup.get(&[at(n, 0, 0)]).unwrap_err().kind(), ErrorKind::Abandoned);
    }
    assert_eq!(setup.metrics.get(Counter::Panics), 3);
    check_answer(View::Stored, &[at(9, 0, 0)], setup.get(&[at(9, 0, 0)]));
}

#[test]
fn a_panic_in_an_answer_harms_nobody_else() {
    let setup = Setup::new(
        CacheConfig { max_connections: 1, most_connections: 1, ..quick() },
        Fake::scripted(|_, _| Act::Hang),
    );
    setup.cache.get_many(setup.request(View::Stored, &row(1)), Box::new(|_| panic!("a planted panic")));
    let read = setup.start(&row(1));
    setup.fake.release();
    check_answer(View::Stored, &row(1), receive(&read));
    check_answer(View::Stored, &row(5), setup.get(&row(5)));
}

#[test]
fn an_answer_with_a_block_too_few_is_not_believed() {
    let setup = Setup::new(quick(), Fake::scripted(|number, _| if number == 0 { Act::OneShort } else { Act::Give }));
    check_answer(View::Stored, &row(8), setup.get(&row(8)));
}

#[test]
fn an_absent_server_is_asked_twice_a_second_at_most_and_all_are_served_when_it_is_back() {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let act = move |_, _| if is_away.load(Ordering::SeqCst) { Act::Fail(ErrorKind::Unreachable) } else { Act::Give };
    let setup = Setup::new(quick(), Fake::scripted(act));
    let start = Instant::now();
    let reads: Vec<_> = (0..1000).map(|n| (at(n, 0, 1), setup.start(&[at(n, 0, 1)]))).collect();
    std::thread::sleep(Duration::from_millis(2200));
    // The first failures come together, as many as there are connections.
    let n_probes = setup.fake.call_times().iter().filter(|&&when| when > start + Duration::from_millis(200)).count();
    assert!((1..=4).contains(&n_probes), "{n_probes} attempts in 2 s");
    assert!(setup.fake.n_calls() <= 4 + n_probes);
    away.store(false, Ordering::SeqCst);
    let back = Instant::now();
    for (block, read) in &reads {
        check_answer(View::Stored, &[*block], receive(read));
    }
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
}

#[test]
fn a_timeout_of_one_block_leaves_the_others_alone() {
    let act = |_, blocks: crate::geometry::BlockBox| {
        if !blocks.contains(at(5, 5, 5)) {
            return Act::Give;
        }
        Act::FailAfter(Duration::from_millis(750), ErrorKind::Timeout) // no timeout is shorter
    };
    let setup = Setup::new(quick(), Fake::scripted(act));
    let _stuck = setup.start(&[at(5, 5, 5)]);
    setup.wait_until("it timed out", |setup| setup.metrics.get(Counter::DvidFailedRequests) > 0);
    let start = Instant::now();
    for n in 0..50 {
        check_answer(View::Stored, &[at(0, 2 * n, 0)], setup.get(&[at(0, 2 * n, 0)]));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_panic_while_blocks_land_strands_nobody() {
    let setup = Setup::new(
        CacheConfig { max_connections: 1, most_connections: 1, patience: Duration::from_secs(2), ..quick() },
        Fake::new(),
    );
    let fake = Arc::clone(&setup.fake);
    setup.fake.set_script(move |number, _| {
        fake.readiness_panics.store(number == 0, Ordering::SeqCst);
        Act::Give
    });
    assert!(receive(&setup.start_view(View::Bodies, &row(6))).is_err());
    // Neither the other blocks of the request nor the only fetch thread are lost.
    check_answer(View::Bodies, &row(6), receive(&setup.start_view(View::Bodies, &row(6))));
    assert_eq!(setup.metrics.get(Counter::Panics), 1);
}

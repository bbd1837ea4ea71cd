//! Who shares a fetch, what may be given, and how much memory that takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cache::{CacheConfig, Reader};
use crate::dvid::{Freshness, View};

use super::super::sync::{Instant, sleep, thread};
use super::source::{Act, BLOCK_BYTES, Scripted, TTL, held};
use super::{Setup, check, config, joined};

#[test]
fn one_fetch_for_each_block_in_flight() {
    check("one fetch for each block in flight", || {
        let setup = Arc::new(Setup::new(config(), Scripted::new(|_, _| Act::Give)));
        let readers = [setup.reader(&[1, 2]), setup.reader(&[2]), setup.reader(&[1])];
        let [both, second, first] = readers.map(joined);
        assert_eq!(both.unwrap(), [held(1), held(2)]);
        assert_eq!(second.unwrap(), [held(2)]);
        assert_eq!(first.unwrap(), [held(1)]);
        assert_eq!(setup.source.n_blocks.load(Ordering::Relaxed), 2);
        setup.finish();
    });
}

#[test]
fn a_killed_reader_leaves_the_fetch_alive() {
    check("a killed reader leaves the fetch alive", || {
        let setup = Arc::new(Setup::new(config(), Scripted::new(|_, _| Act::Give)));
        let killed = Reader::default();
        let (beginning, reading) = (Arc::clone(&setup), killed.clone());
        let first = thread::spawn(move || {
            let answers = Arc::default();
            reading.begin(|| beginning.begin(View::Stored, &[1], &answers));
            answers
        });
        let other = setup.reader(&[1]);
        killed.leave();
        assert_eq!(joined(other).unwrap(), [held(1)]);
        let answers = joined(first);
        assert!(setup.cache.drain(Duration::from_secs(60)), "a reader that has left is still waited for");
        setup.finish();
        assert!(answers.load(Ordering::Relaxed) <= 1, "it was answered twice");
    });
}

#[test]
fn what_has_expired_is_not_given() {
    check("what has expired is not given", || {
        let mut source = Scripted::new(|_, _| Act::Give);
        source.freshness = Freshness::For(TTL);
        let setup = Arc::new(Setup::new(config(), source));
        let reader = |pause: Duration| {
            let setup = Arc::clone(&setup);
            thread::spawn(move || {
                sleep(pause);
                let began = Instant::now();
                let version = setup.get(&[1]).unwrap()[0].expect("a block");
                let versions = setup.source.versions.lock().unwrap();
                let replaced = versions.get(usize::from(version) + 1).copied();
                assert!(
                    replaced.is_none_or(|replaced| began < replaced + TTL),
                    "{version} of {versions:?} at {began:?}"
                );
            })
        };
        let readers = [reader(TTL), reader(TTL / 2), reader(2 * TTL)];
        for _ in 0..3 {
            sleep(TTL / 2);
            setup.source.change();
        }
        readers.into_iter().for_each(joined);
        setup.finish();
    });
}

#[test]
fn memory_is_kept_to_and_nobody_waits_for_it_for_ever() {
    // Where it holds one block, and where it holds a request of two for each connection.
    for n_blocks in [1, 16] {
        check(&format!("memory for {n_blocks} blocks is kept to"), move || {
            let memory_bytes = n_blocks * (BLOCK_BYTES + 192);
            let most_bytes = (memory_bytes / 4).max(BLOCK_BYTES);
            let mut source = Scripted::new(|_, _| Act::Give);
            source.most_bytes = most_bytes;
            let setup = Arc::new(Setup::new(CacheConfig { memory_bytes, ..config() }, source));
            let readers = [setup.reader(&[1, 2]), setup.reader(&[2, 3]), setup.reader(&[3, 1])];
            let [first, second, third] = readers.map(joined);
            assert_eq!(first.unwrap(), [held(1), held(2)]);
            assert_eq!(second.unwrap(), [held(2), held(3)]);
            assert_eq!(third.unwrap(), [held(3), held(1)]);
            setup.finish();
            setup.cache.engine.memory.trim();
            let held_bytes = setup.cache.status().held_bytes;
            assert!(held_bytes <= memory_bytes, "{held_bytes} bytes are held");
        });
    }
}

#[test]
fn a_view_that_became_ready_lets_all_go_on() {
    check("a view that became ready lets all go on", || {
        let source = Scripted::new(|_, _| Act::Give);
        source.n_unprepared.store(1, Ordering::Relaxed);
        let setup = Arc::new(Setup::new(config(), source));
        let reader = |blocks: &'static [i64]| {
            let setup = Arc::clone(&setup);
            thread::spawn(move || setup.get_in(View::Bodies, blocks))
        };
        let readers = [reader(&[1]), reader(&[1, 2])];
        let body = |x| held(x).map(|voxel| voxel ^ 0xFF);
        let [one, two] = readers.map(joined);
        assert_eq!(one.unwrap(), [body(1)]);
        assert_eq!(two.unwrap(), [body(1), body(2)]);
        assert_eq!(setup.source.n_blocks.load(Ordering::Relaxed), 2);
        setup.finish();
    });
}

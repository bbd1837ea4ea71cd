//! Fetches that fail, servers that go away, and the end: everybody is answered, and once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::dvid::{ErrorKind, View};

use super::super::sync::{sleep, thread};
use super::source::{Act, Scripted, held};
use super::{Answer, Setup, check, config, joined};

/// The first request comes to this, all others give.
fn first(act: Act) -> Scripted {
    Scripted::new(move |_, number| if number == 0 { act.clone() } else { Act::Give })
}

/// A server that is away is asked so often in vain: by a moment it would be back before anybody had asked.
const REQUESTS_WHILE_AWAY: usize = 6;

/// Whoever was given something was given this.
fn check_given(answer: &Answer, x: i64) {
    if let Ok(blocks) = answer {
        assert_eq!(*blocks, [held(x)]);
    }
}

#[test]
fn a_failure_is_shared_and_poisons_nothing() {
    check("a failure is shared and poisons nothing", || {
        let setup = Arc::new(Setup::new(config(), first(Act::Fail(ErrorKind::Denied))));
        let readers = [setup.reader(&[1]), setup.reader(&[1]), setup.reader(&[1])];
        let answers = readers.map(joined);
        answers.iter().for_each(|answer| check_given(answer, 1));
        let errors: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!(!errors.is_empty(), "the fetch failed, and nobody was told");
        for error in &errors {
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(Arc::ptr_eq(&error.source, &errors[0].source), "two errors of one fetch");
        }
        sleep(config().failure_memory);
        assert_eq!(setup.get(&[1]).unwrap(), [held(1)]);
        assert_eq!(setup.source.n_requests.load(Ordering::Relaxed), 2);
        setup.finish();
    });
}

#[test]
fn a_panic_of_the_fetch_answers_all_who_wait() {
    for act in [Act::Panic, Act::PanicLater] {
        check(&format!("all are answered after a panic: {act:?}"), move || {
            let setup = Arc::new(Setup::new(config(), first(act.clone())));
            let reader = |view| {
                let setup = Arc::clone(&setup);
                thread::spawn(move || setup.get_in(view, &[1]))
            };
            for answer in [reader(View::Stored), reader(View::Bodies), reader(View::Stored)].map(joined) {
                let kind = answer.err().map(|error| error.kind());
                assert!(matches!(kind, None | Some(ErrorKind::Abandoned)), "{kind:?}");
            }
            sleep(config().failure_memory);
            assert_eq!(setup.get(&[1]).unwrap(), [held(1)]);
            setup.finish();
        });
    }
}

#[test]
fn an_end_answers_everybody_once() {
    check("an end answers everybody once", || {
        // Some wait for a retry when it comes, or for their view.
        let source = first(Act::Fail(ErrorKind::Busy));
        source.n_unprepared.store(1, Ordering::Relaxed);
        let setup = Arc::new(Setup::new(config(), source));
        let answers: [Arc<AtomicUsize>; 3] = Default::default();
        let reads = [(View::Stored, &[1][..]), (View::Stored, &[1, 2]), (View::Bodies, &[3])];
        let begun = reads.into_iter().zip(&answers).map(|((view, blocks), answers)| {
            let (setup, answers) = (Arc::clone(&setup), Arc::clone(answers));
            thread::spawn(move || setup.begin(view, blocks, &answers))
        });
        let begun: Vec<_> = begun.collect();
        let waiting = setup.reader(&[2]);
        thread::yield_now();
        setup.finish();
        begun.into_iter().for_each(joined);
        check_given(&joined(waiting), 2);
        let late = setup.get(&[1]);
        assert!(late.is_ok() || late.is_err_and(|error| error.kind() == ErrorKind::Abandoned));
        for answers in &answers {
            assert_eq!(answers.load(Ordering::Relaxed), 1);
        }
    });
}

#[test]
fn a_server_that_is_away_is_asked_by_one_and_all_are_served_after_it() {
    check("a server that is away is asked by one", || {
        let cache: Arc<std::sync::OnceLock<std::sync::Weak<crate::cache::BlockCache>>> = Arc::default();
        let asked = Arc::clone(&cache);
        let source = Scripted::new(move |source, number| {
            if number >= REQUESTS_WHILE_AWAY {
                return Act::Give;
            }
            // Longer than until the next may ask.
            sleep(Duration::from_secs(1));
            let status = asked.get().and_then(std::sync::Weak::upgrade).map(|cache| cache.status());
            let is_away = status.is_some_and(|status| status.is_server_away);
            let n_others = source.n_flying() - 1;
            source.expect(!is_away || n_others == 0, || format!("it is away, and {n_others} others ask it"));
            Act::Fail(ErrorKind::Unreachable)
        });
        let setup = Arc::new(Setup::new(config(), source));
        cache.set(Arc::downgrade(&setup.cache)).expect("set once");
        let readers = [setup.reader(&[1]), setup.reader(&[3]), setup.reader(&[5])];
        let [first, second, third] = readers.map(joined);
        assert_eq!(first.unwrap(), [held(1)]);
        assert_eq!(second.unwrap(), [held(3)]);
        assert_eq!(third.unwrap(), [held(5)]);
        assert!(!setup.cache.status().is_server_away);
        setup.finish();
    });
}

//! A reference model: lists of operations at random, over the filesystem and over a real mount, and a plain account of
//! what may be read at each moment (R44).
//!
//! A version of the voxels may be given only if the server had it within the ttl before the read; after another instance
//! took the place of what was mounted, ESTALE or bytes of the old one, never of the new one. Nothing that fails looks like
//! absence. How many lists there are, `DVIDFS_MODEL_VFS` and `DVIDFS_MODEL_MOUNT` say.

mod ops;
mod over_mount;
mod over_vfs;
mod truth;
mod world;

use std::cell::RefCell;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};

use self::over_mount::OverMount;
use self::over_vfs::OverVfs;
use self::world::{Host, Seen, Tree, World};
use crate::support::{can_mount, time_limit};

/// How many lists: as the environment says, or few.
fn n_lists(variable: &str, few: u32) -> u32 {
    std::env::var(variable).map_or(few, |text| text.parse().unwrap())
}

/// Lives through so many lists in so many threads; those that failed before come first. What was seen in all of them.
fn live_through<T: Tree>(what: &'static str, n_lists: u32, n_threads: u32, longest: usize) -> Seen {
    let (began, all) = (Instant::now(), Mutex::new(Seen::default()));
    std::thread::scope(|scope| {
        for thread in 0..n_threads {
            let all = &all;
            scope.spawn(move || {
                let cases = n_lists / n_threads + u32::from(thread < n_lists % n_threads);
                let seen = run::<T>(what, thread == 0, cases, longest);
                all.lock().unwrap().add(seen);
            });
        }
    });
    let seen = all.into_inner().unwrap();
    println!("model over {what}: {n_lists} lists in {:?}: {seen:?}", began.elapsed());
    seen
}

fn run<T: Tree>(what: &str, replays: bool, cases: u32, longest: usize) -> Seen {
    let file: &'static str = Box::leak(format!("proptest-regressions/model/{what}.txt").into_boxed_str());
    let mut config = Config { cases, max_shrink_time: 120_000, max_shrink_iters: 300, ..Config::default() };
    config.failure_persistence = replays.then(|| Box::new(FileFailurePersistence::Direct(file)) as Box<_>);
    let (host, seen) = (RefCell::new(Host::new()), RefCell::new(Seen::default()));
    let result = TestRunner::new(config).run(&ops::plans(longest), |plan| {
        let mut host = host.borrow_mut();
        let mut live = || {
            let mut world = World::<T>::new(&mut host, plan.setting)?;
            for (at, op) in plan.ops.iter().enumerate() {
                world.step(op).map_err(|why| format!("operation {at}: {why}"))?;
            }
            world.end().map_err(|why| format!("at the end: {why}"))
        };
        seen.borrow_mut().add(live().map_err(TestCaseError::fail)?);
        Ok(())
    });
    match result {
        Ok(()) => seen.into_inner(),
        Err(TestError::Fail(why, plan)) => panic!("{what}: {why}\n{plan:?}"),
        Err(TestError::Abort(why)) => panic!("{what}: {why}"),
    }
}

impl Seen {
    fn add(&mut self, other: Self) {
        let Self { ops, reads, bytes, failed, stale, mixed, damaged } = other;
        self.ops += ops;
        self.reads += reads;
        self.bytes += bytes;
        self.failed += failed;
        self.stale += stale;
        self.mixed += mixed;
        self.damaged += damaged;
    }

    /// Each kind of thing has happened.
    fn is_wide(&self) -> bool {
        let Self { ops, reads, bytes, failed, stale, mixed, damaged } = *self;
        [ops, reads, bytes, failed, stale, mixed, damaged].iter().all(|&n| n > 0)
    }
}

#[test]
fn lists_of_operations_over_the_filesystem_follow_the_model() {
    let n = n_lists("DVIDFS_MODEL_VFS", 300);
    let seen = live_through::<OverVfs>("vfs", n, 12.min(n.max(1)), 16);
    assert!(n < 100 || seen.is_wide(), "{seen:?}");
}

#[test]
fn lists_of_operations_over_a_mount_follow_the_model() {
    if !can_mount() {
        return;
    }
    let n = n_lists("DVIDFS_MODEL_MOUNT", 6);
    let _limit = time_limit(Duration::from_secs(u64::from(n) * 30 + 300));
    let seen = live_through::<OverMount>("mount", n, 3.min(n.max(1)), 12);
    assert!(n < 100 || seen.is_wide(), "{seen:?}");
}

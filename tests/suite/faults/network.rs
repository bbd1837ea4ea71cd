//! A: a server that is away, that comes back, or that is another; and what lies between it and the mount.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use dvidfs::demo::lasting_port;
use nix::sys::signal::Signal;

use super::*;
use crate::support::{Mode, Namespace, Proxy, refused, survival};

const OPTIONS: [&str; 9] =
    ["--settle", "0", "--no-prefetch", "--time-scale", "0.05", "--patience", "2m", "--mount-wait", "60s"];

fn dataset(names: &[&str]) -> Dataset {
    Dataset::test().only(names)
}

fn demo_at(port: u16, names: &[&str]) -> Demo {
    Demo::start(DemoOptions { dataset: dataset(names), port: Some(port), ..DemoOptions::default() }).unwrap()
}

/// A mount of a server behind a proxy.
fn behind(proxy: &Proxy, demo: &Demo, more: &[&str]) -> Mounted {
    let source = format!("http://127.0.0.1:{}/{}", proxy.port(), demo.dataset().root());
    Mounted::new(&source, &[&OPTIONS, more].concat())
}

/// Reads a target in a thread of its own while something is done; it must be right after all.
fn read_during(id: &str, target: &Target, mut something: impl FnMut()) {
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(target));
        something();
        let outcome = reader.join().unwrap();
        assert!(outcome.as_deref() == Ok(&target.expected), "{id}: wrong outcome: {:?}", outcome.err());
    });
}

/// Until the daemon tells of it: kept connections have to fail first, one after the other.
fn until_told(survival: &Survival, mounted: &Mounted, code: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while !survival.log(mounted).contains(&format!("code=\"{code}\"")) {
        assert!(Instant::now() < end, "{code} is not told:\n{}", survival.log(mounted));
        sleep(50);
    }
}

fn sleep(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_server_that_is_down_at_the_mount_is_waited_for() {
    let _limit = time_limit(Duration::from_secs(120));
    let port = lasting_port().unwrap();
    let source = format!("http://127.0.0.1:{port}/a40d");
    let refusal = refused(dvidfs(), &source, &["--mount-wait", "1s"]);
    assert!(refusal.code == Some(32) && refusal.has_code("mount_unreachable"), "A1: {refusal:?}");
    assert!(refusal.line().contains("check the address"), "A1: {refusal:?}");
    assert!(refusal.took >= Duration::from_secs(1), "A1: {refusal:?}");
    survival::report("A1", 0);
    if !can_mount() {
        return;
    }
    let demo = thread::spawn(move || {
        sleep(3000);
        demo_at(port, &["gray"])
    });
    let mut mounted = Mounted::new(&source, &OPTIONS);
    let demo = demo.join().unwrap();
    let target = targets(&mounted, demo.dataset(), &["gray"], "", "subvolblocks").swap_remove(0);
    assert_eq!(read(&target).as_ref(), Ok(&target.expected), "A2");
    assert!(mounted.log().contains("code=\"connect_retry\""), "A2: {}", mounted.log());
    Survival::begin("A2", &mounted).end(&mut mounted, 1, &[], target.expected.len() as u64);
}

#[test]
fn a_server_that_is_killed_between_reads_or_in_their_midst_costs_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(120));
    let port = lasting_port().unwrap();
    let names = ["gray", "u16"];
    let mut demo = demo_at(port, &names);
    let mut mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &OPTIONS);
    let targets = targets(&mounted, demo.dataset(), &names, "", "subvolblocks");
    let cases = [ok("A5", FaultKind::Reset, &["fetch_cut"]), ok("A6", FaultKind::Closed, &["fetch_cut"])];
    survive_each(&cases, &targets, &demo, &mut mounted);
    let target = &targets[cases.len()];
    let survival = Survival::begin("A4", &mounted);
    demo.stop();
    let mut again = None;
    read_during("A4", target, || {
        sleep(2000);
        again = Some(demo_at(port, &names));
    });
    survival.check(&mut mounted, 1, &["server_lost"]);
    survival.end(&mut mounted, 1, &["server_back"], target.expected.len() as u64);
}

#[test]
fn connections_that_the_server_closes_while_they_are_idle_are_replaced_unseen() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(60));
    let demo = test_demo(&["gray"]);
    let proxy = Proxy::plain(demo.port());
    let mut mounted = behind(&proxy, &demo, &[]);
    let targets = targets(&mounted, demo.dataset(), &["gray"], "", "subvolblocks");
    let survival = Survival::begin("A13", &mounted);
    let failed = || (mounted.counter("dvid_failed_requests"), mounted.counter("dvid_retried_requests"));
    let before = failed();
    proxy.set(Mode::CloseIdle(Duration::from_millis(100)));
    for target in &targets[..3] {
        assert_eq!(read(target).as_ref(), Ok(&target.expected), "A13");
        sleep(400);
    }
    // And such as close behind every answer, without a word.
    proxy.set(Mode::Pass);
    demo.set_faults(vec![Fault::always("", FaultKind::ClosedAfter)]);
    for target in &targets[3..6] {
        assert_eq!(read(target).as_ref(), Ok(&target.expected), "A13");
    }
    let happened = demo.fault_hits(0);
    demo.set_faults(Vec::new());
    assert_eq!(failed(), before, "A13: a closed idle connection counts as a failure");
    survival.end(&mut mounted, happened, &[], 6 * targets[0].expected.len() as u64);
}

#[test]
fn something_else_at_the_address_is_refused() {
    let _limit = time_limit(Duration::from_secs(60));
    let banner = Mode::Say(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec());
    let demo = test_demo(&["gray"]);
    let proxy = Proxy::plain(demo.port());
    proxy.set(banner.clone());
    let source = format!("http://127.0.0.1:{}/a40d", proxy.port());
    let refusal = refused(dvidfs(), &source, &["--mount-wait", "1s"]);
    assert!(refusal.code == Some(32) && refusal.has_code("bad_http"), "A18: {refusal:?}");
    assert!(refusal.line().contains("not a DVID server") && proxy.hits() > 0, "A18: {refusal:?}");
    proxy.set(Mode::Pass);
    if !can_mount() {
        return;
    }
    let mut mounted = behind(&proxy, &demo, &[]);
    let target = targets(&mounted, demo.dataset(), &["gray"], "", "subvolblocks").swap_remove(0);
    let survival = Survival::begin("A18", &mounted);
    proxy.set(banner);
    sleep(100);
    assert_eq!(read(&target), Err(nix::libc::EIO), "A18");
    let happened = proxy.hits();
    proxy.set(Mode::Pass);
    let compared = recovers("A18", &target);
    survival.end(&mut mounted, happened, &["bad_http"], compared);
}

/// Chunks of a volume without an end, in a row.
fn far_chunks(mounted: &Mounted, dataset: &Dataset, from: i64, n: i64) -> Vec<Target> {
    let level = &levels(&mounted.root().join("grayscale"))[0];
    let spec = dataset.instance("grayscale").unwrap();
    let chunk = |index: i64| {
        let chunk = chunk_of(level, Coordinate::new(index / 100, index % 100, 7));
        let expected = file_values(dataset, 0, &spec, level.scale, false, chunk.voxels);
        Target { chunk, expected, matches: "/grayscale/subvolblocks/".into(), n_blocks: 1 }
    };
    (from..from + n).map(chunk).collect()
}

fn endless_demo(port: u16) -> Demo {
    let dataset = Dataset::large().only(&["grayscale"]);
    Demo::start(DemoOptions { dataset, port: Some(port), ..DemoOptions::default() }).unwrap()
}

#[test]
fn a_thousand_readers_of_a_dead_server_ask_it_twice_a_second_at_most_and_are_all_served_after_it() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(180));
    let demo = endless_demo(lasting_port().unwrap());
    let proxy = Proxy::plain(demo.port());
    let mut mounted = behind(&proxy, &demo, &[]);
    let targets = Arc::new(far_chunks(&mounted, demo.dataset(), 0, 64));
    let survival = Survival::begin("A19", &mounted);
    proxy.set(Mode::Refuse);
    sleep(100);
    let n_done = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..1000)
        .map(|n| {
            let (targets, n_done) = (Arc::clone(&targets), Arc::clone(&n_done));
            let work = move || {
                let target = &targets[n % targets.len()];
                let right = read(target).as_deref() == Ok(&target.expected);
                n_done.fetch_add(1, Ordering::SeqCst);
                (right, Instant::now())
            };
            thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap()
        })
        .collect();
    sleep(2000);
    // From here on nothing is asked on behalf of a reader that has just come.
    let since = Instant::now();
    sleep(6000);
    let window = since.elapsed();
    let n_connects = proxy.accepted().iter().filter(|&&at| at >= since).count();
    assert_eq!(n_done.load(Ordering::SeqCst), 0, "A19: a reader was answered by a dead server");
    let happened = proxy.hits();
    let back = Instant::now();
    proxy.set(Mode::Pass);
    let ends: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(ends.iter().all(|(right, _)| *right), "A19: wrong bytes");
    let last = ends.iter().map(|(_, at)| at.duration_since(back)).max().unwrap();
    let rate = n_connects as f64 / window.as_secs_f64();
    figure(
        "R11",
        format!("1,000 readers: {rate:.1} connections/s, all served {last:.1?} after the return"),
        "2 /s, 5 s",
    );
    assert!(n_connects > 0 && n_connects as f64 <= 2.0 * window.as_secs_f64() + 1.0, "A19: {n_connects} in {window:?}");
    // 5 s on a machine that does nothing else.
    assert!(last < Duration::from_secs(if is_long() { 5 } else { 10 }), "A19: {last:?}");
    survival.check(&mut mounted, happened, &["breaker_open"]);
    survival.end(&mut mounted, happened, &["breaker_closed"], 1000 * targets[0].expected.len() as u64);
}

#[test]
fn a_server_that_is_started_again_and_again_under_load_costs_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let port = lasting_port().unwrap();
    let mut demo = endless_demo(port);
    let mut mounted = Mounted::new(&format!("{}/a40d", demo.origin()), &OPTIONS);
    let survival = Survival::begin("A20", &mounted);
    let (is_over, next, n_bytes) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let restarts = 20;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        let index = i64::try_from(next.fetch_add(1, Ordering::SeqCst)).unwrap();
                        let target = far_chunks(&mounted, demo_dataset(), index, 1).swap_remove(0);
                        let outcome = read(&target);
                        assert!(outcome.as_deref() == Ok(&target.expected), "A20: chunk {index}: {:?}", outcome.err());
                        n_bytes.fetch_add(target.expected.len(), Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for _ in 0..restarts {
            sleep(150);
            demo.stop();
            sleep(50);
            demo = endless_demo(port);
        }
        sleep(1000);
        is_over.store(true, Ordering::SeqCst);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    let compared = n_bytes.load(Ordering::SeqCst) as u64;
    println!("A20: {restarts} restarts, {} MiB right", compared >> 20);
    assert!(compared > 0);
    survival.check(&mut mounted, restarts, &["server_lost", "fetch_cut"]);
    survival.end(&mut mounted, restarts, &["server_back", "fetch_cut"], compared);
}

/// The demo's data, whichever server it is that serves them.
fn demo_dataset() -> &'static Dataset {
    static DATASET: std::sync::LazyLock<Dataset> = std::sync::LazyLock::new(|| Dataset::large().only(&["grayscale"]));
    &DATASET
}

fn signal(pid: u32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// Cuts the connections that there are, at their next packet.
const CUT: &str = "tcp dport PORT tcp flags & syn == 0 counter reject with tcp reset";
/// Nothing that begins a connection arrives.
const NO_SYN: &str = "tcp dport PORT tcp flags & (syn | ack) == syn counter drop";

#[test]
fn a_network_that_drops_or_stops_costs_time_and_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let Some(namespace) = Namespace::new("A7-A12", &["--delay", "300"]) else { return };
    let mut mounted = namespace.mount(&OPTIONS);
    let data = dataset(&["gray", "u16"]);
    let targets = targets(&mounted, &data, &["gray", "u16"], "", "subvolblocks");
    let mut targets = targets.iter();
    let mut next = || targets.next().unwrap();
    let size = |target: &Target| target.expected.len() as u64;

    let (survival, target) = (Survival::begin("A7", &mounted), next());
    signal(namespace.pid(), Signal::SIGSTOP);
    read_during("A7", target, || {
        sleep(5000);
        signal(namespace.pid(), Signal::SIGCONT);
    });
    survival.end(&mut mounted, 1, &["fetch_timeout"], size(target));

    let (survival, target) = (Survival::begin("A8", &mounted), next());
    namespace.rules(&[CUT, NO_SYN]);
    let mut happened = 0;
    read_during("A8", target, || {
        until_told(&survival, &mounted, "connect_timeout");
        happened = namespace.packets();
        namespace.clear();
    });
    survival.end(&mut mounted, happened, &["connect_timeout"], size(target));

    let (survival, target) = (Survival::begin("A9", &mounted), next());
    read_during("A9", target, || {
        sleep(150);
        namespace.run("ip", &["link", "set", "lo", "down"]);
        sleep(4500);
        namespace.run("ip", &["link", "set", "lo", "up"]);
    });
    survival.end(&mut mounted, 1, &["fetch_timeout"], size(target));

    let survival = Survival::begin("A12", &mounted);
    let (mut happened, mut compared) = (0, 0);
    for _ in 0..4 {
        let target = next();
        let every_second =
            "tcp dport PORT tcp flags & (syn | ack) == syn numgen inc mod 2 == 0 counter reject with tcp reset";
        namespace.rules(&[CUT, every_second]);
        read_during("A12", target, || {
            sleep(100);
            happened += namespace.packets();
            namespace.rules(&[every_second]);
        });
        happened += namespace.packets();
        compared += size(target);
    }
    namespace.clear();
    survival.end(&mut mounted, happened, &["connect_retry"], compared);
}

#[test]
fn a_network_that_loses_packets_or_is_slow_costs_time_and_no_byte() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let Some(namespace) = Namespace::new("A10 A11", &[]) else { return };
    let mut mounted = namespace.mount(&["--settle", "0", "--no-prefetch", "--mount-wait", "60s"]);
    let data = dataset(&["gray", "u16"]);
    let all = targets(&mounted, &data, &["gray", "u16"], "", "subvolblocks");

    let survival = Survival::begin("A10", &mounted);
    namespace.run("ip", &["link", "set", "lo", "mtu", "1500"]);
    namespace.rules(&[
        "tcp dport PORT numgen random mod 100 < 20 counter drop",
        "tcp sport PORT numgen random mod 100 < 20 counter drop",
    ]);
    let mut compared = 0;
    for target in &all[..3] {
        assert!(read(target).as_deref() == Ok(&target.expected), "A10");
        compared += target.expected.len() as u64;
    }
    let happened = namespace.packets();
    namespace.clear();
    survival.end(&mut mounted, happened, &[], compared);

    let survival = Survival::begin("A11", &mounted);
    namespace
        .run("tc", &["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "16kb", "latency", "400ms"]);
    // Its voxels do not become fewer bytes on the way.
    let target = &targets(&mounted, &data, &["u16"], "", "subvolblocks")[0];
    let retried = mounted.counter("dvid_retried_requests");
    let began = Instant::now();
    assert!(read(target).as_deref() == Ok(&target.expected), "A11");
    let took = began.elapsed();
    assert_eq!(mounted.counter("dvid_retried_requests"), retried, "A11: a slow answer was given up");
    namespace.run("tc", &["qdisc", "del", "dev", "lo", "root"]);
    println!("A11: {} bytes in {took:?}", target.expected.len());
    survival.end(
        &mut mounted,
        u64::from(took > Duration::from_secs(1)),
        &["slow_server"],
        target.expected.len() as u64,
    );
}

const HOST: &str = "dvid.test";

#[test]
fn names_that_are_not_known_or_mean_another_address_are_looked_up_again() {
    if !can_mount() {
        return;
    }
    let _limit = time_limit(Duration::from_secs(240));
    let Some(namespace) = Namespace::new("A14-A17", &[]) else { return };
    let silent = "udp dport 53 counter drop";
    let refusal = refused(namespace.named(), &namespace.source(HOST), &["--mount-wait", "30s"]);
    assert!(refusal.code == Some(32) && refusal.has_code("dns_failed"), "A14: {refusal:?}");
    assert!(refusal.line().contains("the name of the server is not known"), "A14: {refusal:?}");
    namespace.resolver("files dns", "127.0.0.9");
    namespace.rules(&[silent]);
    let refusal =
        refused(namespace.named(), &namespace.source("silent.test"), &["--mount-wait", "30s", "--time-scale", "0.2"]);
    assert!(refusal.code == Some(32) && refusal.has_code("dns_timeout"), "A15: {refusal:?}");
    assert!(refusal.took < Duration::from_secs(5) && namespace.packets() > 0, "A15: {refusal:?}");
    namespace.clear();

    namespace.hosts(&format!("127.0.0.1 {HOST}\n"));
    let mut mounted = namespace.mount_named(HOST, &OPTIONS);
    let data = dataset(&["gray"]);
    let all = targets(&mounted, &data, &["gray"], "", "subvolblocks");
    let size = all[0].expected.len() as u64;
    for (id, services, code, target) in
        [("A14", "files", "dns_failed", &all[0]), ("A15", "files dns", "dns_timeout", &all[1])]
    {
        let survival = Survival::begin(id, &mounted);
        namespace.resolver(services, "127.0.0.9");
        namespace.hosts("");
        namespace.rules(&[CUT, silent, "tcp dport PORT counter reject with tcp reset"]);
        let mut happened = 0;
        read_during(id, target, || {
            until_told(&survival, &mounted, code);
            happened = namespace.packets();
            namespace.rules(&[silent]);
            namespace.hosts(&format!("127.0.0.1 {HOST}\n"));
        });
        namespace.clear();
        survival.end(&mut mounted, happened, &[code], size);
    }
    namespace.resolver("files", "");

    // The server is at another address now, and nobody at the old one.
    let survival = Survival::begin("A16", &mounted);
    namespace.hosts(&format!("127.0.0.2 {HOST}\n"));
    let moved = "nat ip daddr 127.0.0.2 tcp dport PORT counter dnat to 127.0.0.1:PORT";
    namespace.rules(&["ct original ip daddr 127.0.0.1 tcp dport PORT counter reject with tcp reset", moved]);
    assert!(read(&all[2]).as_deref() == Ok(&all[2].expected), "A16");
    let happened = namespace.packets();
    namespace.clear();
    survival.end(&mut mounted, happened, &[], size);
    drop(mounted);

    // The resolver's own order begins with the address that is dead.
    namespace.hosts(&format!("127.0.0.1 {HOST}\n127.0.0.3 {HOST}\n"));
    let good = "nat ip daddr 127.0.0.3 tcp dport PORT dnat to 127.0.0.1:PORT";
    namespace.rules(&["ct original ip daddr 127.0.0.1 tcp dport PORT counter drop", good]);
    let began = Instant::now();
    let mut mounted = namespace.mount_named(HOST, &["--settle", "0", "--no-prefetch", "--mount-wait", "60s"]);
    let survival = Survival::begin("A17", &mounted);
    let happened = namespace.packets();
    let target = &targets(&mounted, &data, &["gray"], "", "subvolblocks")[0];
    assert!(read(target).as_deref() == Ok(&target.expected), "A17");
    let took = began.elapsed();
    println!("A17: mounted and read in {took:?}");
    assert!(took < Duration::from_secs(5), "A17: {took:?}");
    survival.end(&mut mounted, happened, &[], size);
}

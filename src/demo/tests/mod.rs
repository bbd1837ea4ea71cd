//! The server as a client sees it, over a plain socket.

mod client;
mod faults;
mod forms;
mod voxels;

use std::net::TcpStream;
use std::time::Duration;

use super::*;
use client::{Client, get};

fn start(faults: Vec<Fault>) -> Demo {
    Demo::start(DemoOptions { dataset: Dataset::test(), faults, ..DemoOptions::default() }).unwrap()
}

#[test]
fn a_stopped_server_cuts_its_connections_and_starts_again_on_its_port() {
    let port = lasting_port();
    let mut demo = Demo::start(DemoOptions { port, dataset: Dataset::test(), ..DemoOptions::default() }).unwrap();
    let mut idle = Client::new(&demo);
    let before = idle.get("/api/node/a40d/gray/info").unwrap();
    demo.set_faults(vec![Fault::always("raw", FaultKind::HangBeforeHeaders { ms: 600_000 })]);
    let mut hanging = Client::new(&demo);
    hanging.send("GET", "/api/node/a40d/gray/raw/0_1_2/8_8_8/0_0_0", &[]);
    // The answer that was given before may still be counted for a moment.
    while demo.fault_hits(0) == 0 || demo.in_flight().0 > 1 {
        std::thread::yield_now();
    }
    assert_eq!((demo.connections().0, demo.in_flight().0), (2, 1));
    demo.stop();
    assert_eq!((demo.connections().0, demo.in_flight().0), (0, 0), "no thread is left");
    assert!(hanging.receive(false).is_none() && idle.get("/api/heartbeat").is_none());
    assert!(TcpStream::connect(("127.0.0.1", demo.port())).is_err());
    let again = Demo::start(DemoOptions { port, dataset: Dataset::test(), ..DemoOptions::default() }).unwrap();
    assert_eq!(get(&again, "/api/node/a40d/gray/info").body, before.body);
}

#[test]
fn a_connection_carries_many_requests_and_each_is_logged() {
    let demo = start(Vec::new());
    let mut client = Client::new(&demo);
    for _ in 0..3 {
        // After an error too.
        assert_eq!(client.get("/api/node/a40d/nope/info").unwrap().status, 400);
        assert_eq!(client.get("/api/heartbeat?u=me").unwrap().body, b"OK");
    }
    assert_eq!((demo.count("heartbeat?u=me"), demo.requests().len()), (3, 6));
    assert_eq!(demo.connections(), (1, 1));
    client.send("POST", "/api/node/c33/gray/raw/0_1_2/8_8_8/0_0_0", b"data");
    assert_eq!(client.receive(false).unwrap().status, 400);
    assert_eq!(demo.count("POST "), 1);
}

#[test]
fn a_token_is_asked_for() {
    let options = DemoOptions { dataset: Dataset::test(), token: Some("secret".into()), ..DemoOptions::default() };
    let demo = Demo::start(options).unwrap();
    let mut client = Client::new(&demo);
    assert_eq!(client.get("/api/node/a40d/gray/info").unwrap().status, 401);
    client.authorization = Some("Bearer secret".into());
    assert_eq!(client.get("/api/node/a40d/gray/info").unwrap().status, 200);
}

#[test]
fn a_delay_is_kept_for_voxels_alone() {
    let demo = start(Vec::new());
    demo.set_delay(Duration::from_millis(120));
    let time = |target| {
        let started = std::time::Instant::now();
        get(&demo, target);
        started.elapsed()
    };
    assert!(time("/api/node/a40d/gray_none/raw/0_1_2/8_8_8/0_0_0") >= Duration::from_millis(120));
    assert!(time("/api/heartbeat") < Duration::from_millis(100));
}

#[test]
fn a_mapping_grows_while_it_is_loaded() {
    let loading = Duration::from_millis(1500);
    let options = DemoOptions { dataset: Dataset::test(), mapping_loads_for: loading, ..DemoOptions::default() };
    let demo = Demo::start(options).unwrap();
    let pairs = |demo| get(demo, "/api/node/a40d/segmentation/mappings?format=binary").body.len() / 16;
    let voxels = |demo| get(demo, "/api/node/a40d/segmentation/raw/0_1_2/60_60_60/0_0_0").body;
    let (early_pairs, early_voxels) = (pairs(&demo), voxels(&demo));
    std::thread::sleep(loading);
    let whole = demo.dataset().mapping(0, "segmentation").len();
    assert!(early_pairs < whole && pairs(&demo) == whole);
    assert!(early_voxels != voxels(&demo), "bodies were wrong with status 200");
}

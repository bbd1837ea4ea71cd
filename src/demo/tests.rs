//! The server as a client sees it, over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::geometry::{Coordinate, Scale, VoxelBox};

/// One request on a connection of its own; the whole answer as bytes.
fn ask(demo: &Demo, target: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", demo.port())).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let mut answer = Vec::new();
    // The connection stays open: the answer has ended when nothing more comes.
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn body(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    &answer[end + 4..]
}

fn start(faults: Vec<Fault>) -> Demo {
    Demo::start(DemoOptions { dataset: Dataset::test(), faults, ..DemoOptions::default() }).unwrap()
}

#[test]
fn raw_is_the_pure_function() {
    let demo = start(Vec::new());
    let answer = ask(&demo, "/api/node/a40d/u16/raw/0_1_2/5_4_3/30_31_29");
    let wanted = VoxelBox::from_shape(Coordinate::new(29, 31, 30), Coordinate::new(3, 4, 5)).unwrap();
    let dataset = Dataset::test();
    let spec = dataset.instance("u16").unwrap();
    let expected: Vec<u8> = wanted
        .indices()
        .flat_map(|voxel| dataset.voxel_at(0, &spec, Scale::FULL, voxel).to_le_bytes()[..2].to_vec())
        .collect();
    assert_eq!(body(&answer), expected);
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"));
}

#[test]
fn blocks_hold_what_raw_holds() {
    let demo = start(Vec::new());
    let answer = ask(&demo, "/api/node/a40d/gray_none/subvolblocks/64_64_64/0_0_0?compression=uncompressed");
    let raw = ask(&demo, "/api/node/a40d/gray_none/raw/0_1_2/64_64_64/0_0_0");
    // Each is one chunk: a line, the bytes, an end of seven bytes.
    let chunk = |answer: &[u8]| {
        let body = body(answer);
        let line = body.windows(2).position(|two| two == b"\r\n").unwrap();
        body[line + 2..body.len() - 7].to_vec()
    };
    assert_eq!(chunk(&answer)[16..], chunk(&raw));
}

#[test]
fn what_is_wrong_is_said_in_dvids_words() {
    let demo = start(Vec::new());
    let cases = [
        ("/api/node/a40d/nope/info", "400", "invalid data instance name"),
        ("/api/node/b7/gray/info", "400", "more than one UUID matches"),
        ("/api/node/a40d/gray/subvolblocks/64_64_64/1_0_0", "400", "non-block aligned"),
        ("/api/node/a40d/gray/subvolblocks/64_64_64/0_0_0?compression=lz4", "400", "compression"),
        ("/api/nope", "404", "page not found"),
    ];
    for (target, status, words) in cases {
        let answer = String::from_utf8_lossy(&ask(&demo, target)).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{target}: {answer}");
    }
}

#[test]
fn every_fault_of_the_transport_is_seen_and_counted() {
    let kinds = [
        FaultKind::HangBeforeHeaders { ms: 50 },
        FaultKind::HangAfterHeaders { ms: 50 },
        FaultKind::LengthTooLarge,
        FaultKind::LengthTooSmall,
        FaultKind::NoLastChunk,
        FaultKind::CutInChunk,
        FaultKind::Http10Cut,
        FaultKind::Reset,
        FaultKind::TextAppended,
        FaultKind::OneShort,
    ];
    let target = "/api/node/a40d/gray/subvolblocks/64_64_64/0_0_0";
    let demo = start(Vec::new());
    let good = ask(&demo, target);
    for kind in kinds {
        demo.set_faults(vec![Fault { matches: "subvolblocks".into(), nth: 0, count: 1, kind: kind.clone() }]);
        assert_ne!(ask(&demo, target), good, "{kind:?}");
        assert_eq!(demo.fault_hits(0), 1, "{kind:?}");
        assert_eq!(ask(&demo, target), good, "after {kind:?}");
    }
}

#[test]
fn a_stopped_server_starts_again_on_its_port() {
    let mut demo = start(Vec::new());
    let port = demo.port();
    let target = "/api/heartbeat";
    let before = ask(&demo, target);
    demo.stop();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let again =
        Demo::start(DemoOptions { port: Some(port), dataset: Dataset::test(), ..DemoOptions::default() }).unwrap();
    assert_eq!(ask(&again, target), before);
}

#[test]
fn a_mapping_grows_while_it_is_loaded() {
    let loading = std::time::Duration::from_millis(600);
    let options = DemoOptions { dataset: Dataset::test(), mapping_loads_for: loading, ..DemoOptions::default() };
    let demo = Demo::start(options).unwrap();
    let target = "/api/node/a40d/segmentation/mappings?format=binary";
    let early = ask(&demo, target).len();
    std::thread::sleep(loading);
    assert!(early < ask(&demo, target).len());
}

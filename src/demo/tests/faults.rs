//! Every kind of fault, seen by a client.

use std::time::{Duration, Instant};

use super::client::Client;
use super::*;

const GRAY: &str = "/api/node/a40d/gray/subvolblocks/128_64_64/0_0_0";
const LABELS: &str = "/api/node/a40d/segmentation/blocks/128_64_64/0_0_0?compression=blocks&supervoxels=true";

/// A server of which only the first request for blocks goes wrong.
fn once(kind: FaultKind) -> Demo {
    start(vec![Fault { matches: "blocks/".into(), nth: 0, count: 1, kind }])
}

/// What a fault of the connection sends, up to 64 KiB; and that the next request is answered well.
fn bytes_of(kind: FaultKind, target: &str) -> (String, Vec<u8>, bool) {
    // Blocks are made when they are first asked for, and the client does not wait for that.
    let demo = start(Vec::new());
    assert_eq!(get(&demo, target).status, 200);
    demo.set_faults(vec![Fault { matches: "blocks/".into(), nth: 0, count: 1, kind }]);
    let mut client = Client::impatient(&demo, Duration::from_millis(400));
    client.send("GET", target, &[]);
    let (bytes, reset) = client.everything(1 << 22);
    assert_eq!(demo.fault_hits(0), 1);
    assert_eq!(get(&demo, target).status, 200, "it happens once");
    assert_eq!(demo.fault_hits(0), 1);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes[end..].to_vec(), reset)
}

#[test]
fn answers_that_hang_or_drip_are_cut_when_the_client_goes() {
    let (head, body, _) = bytes_of(FaultKind::HangBeforeHeaders { ms: 60_000 }, GRAY);
    assert_eq!((head.as_str(), body.len()), ("", 0));
    let (head, body, _) = bytes_of(FaultKind::HangAfterHeaders { ms: 60_000 }, GRAY);
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty());
    let (_, body, _) = bytes_of(FaultKind::Drip { ms: 500 }, GRAY);
    assert_eq!(body.len(), 1);
}

#[test]
fn lengths_and_chunks_lie_as_the_script_says() {
    let whole = get(&start(Vec::new()), GRAY).body;
    let length = |head: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        line.map(|n| n.parse::<usize>().unwrap())
    };
    let (head, body, _) = bytes_of(FaultKind::LengthTooLarge, GRAY);
    assert!(length(&head).unwrap() > body.len() && body == whole);
    let (head, body, _) = bytes_of(FaultKind::LengthTooSmall, GRAY);
    assert!(length(&head).unwrap() < body.len() && body == whole);
    let (head, _, _) = bytes_of(FaultKind::TwoLengths, GRAY);
    assert_eq!(head.matches("Content-Length").count(), 2);
    let (head, body, _) = bytes_of(FaultKind::LengthAndChunked, GRAY);
    assert!(length(&head).is_some() && head.contains("chunked") && body.ends_with(b"0\r\n\r\n"));
    let (_, body, _) = bytes_of(FaultKind::NoLastChunk, GRAY);
    assert!(body.len() > whole.len() && !body.ends_with(b"0\r\n\r\n"));
    let (head, body, _) = bytes_of(FaultKind::CutInChunk, GRAY);
    assert!(head.contains("chunked") && body.len() < whole.len());
    let (head, body, _) = bytes_of(FaultKind::Http10Cut, GRAY);
    assert!(head.starts_with("HTTP/1.0 200") && length(&head).is_none() && body == whole[..whole.len() / 2]);
}

#[test]
fn what_has_no_end_goes_on_until_the_client_leaves() {
    let (_, body, _) = bytes_of(FaultKind::EndlessBody, GRAY);
    assert!(body.len() > 1 << 20);
    let (head, _, _) = bytes_of(FaultKind::EndlessHeaders, GRAY);
    assert!(head.len() > 1 << 20 && !head.ends_with("\r\n\r\n"));
    let (head, rest, _) = bytes_of(FaultKind::ContinueFlood, GRAY);
    assert!(head.starts_with("HTTP/1.1 100") && rest.starts_with(b"HTTP/1.1 100"));
}

#[test]
fn connections_end_as_the_script_says() {
    let whole = get(&start(Vec::new()), GRAY).body;
    let (_, body, reset) = bytes_of(FaultKind::Reset, GRAY);
    assert!(reset && body.len() < whole.len());
    let (_, body, reset) = bytes_of(FaultKind::Closed, GRAY);
    assert!(!reset && body == whole[..whole.len() / 2]);
    let (head, _, reset) = bytes_of(FaultKind::ResetAtOnce, GRAY);
    assert!(reset && head.is_empty());
    let (head, _, _) = bytes_of(FaultKind::Banner, GRAY);
    assert!(head.starts_with("SSH-2.0"));
    let (head, _, _) = bytes_of(FaultKind::BadHeader, GRAY);
    assert!(head.contains('\0'));
    let demo = once(FaultKind::ClosedAfter);
    let mut client = Client::new(&demo);
    assert_eq!(client.get(GRAY).unwrap().body, whole);
    assert!(client.get(GRAY).is_none(), "the connection is gone");
}

#[test]
fn slow_answers_are_right_and_slow() {
    for kind in [FaultKind::Delay { ms: 150 }, FaultKind::Stall { ms: 150 }] {
        let demo = once(kind);
        let started = Instant::now();
        let mut client = Client::new(&demo);
        let answer = client.get(GRAY).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(150));
        assert_eq!(answer.body, client.get(GRAY).unwrap().body);
        assert_eq!(demo.fault_hits(0), 1);
    }
}

#[test]
fn statuses_and_headers_are_those_of_the_script() {
    let busy = FaultKind::Status { status: 503, retry_after: Some("2".into()) };
    let answer = get(&once(busy), GRAY);
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("2")));
    let answer = get(&once(FaultKind::Redirect { to: "http://127.0.0.1:1/".into() }), GRAY);
    assert_eq!((answer.status, answer.header("Location")), (302, Some("http://127.0.0.1:1/")));
    let other = r#"[{"match": "blocks/", "kind": "answer", "status": 308, "headers": [["Location", "file:///x"]]}]"#;
    let answer = get(&start(serde_json::from_str(other).unwrap()), GRAY);
    assert_eq!((answer.status, answer.header("Location")), (308, Some("file:///x")));
    for status in [204, 304] {
        let answer = get(&once(FaultKind::Answer { status, headers: Vec::new(), body: String::new() }), GRAY);
        assert_eq!((answer.status, answer.header("Content-Length")), (status, None));
    }
    let whole = get(&start(Vec::new()), GRAY).body;
    let answer = get(&once(FaultKind::Encoded), GRAY);
    assert_eq!((answer.header("Content-Encoding"), answer.body == whole), (Some("gzip"), true));
    let answer = get(&once(FaultKind::ReallyEncoded), GRAY);
    assert!(answer.header("Content-Encoding") == Some("gzip") && answer.body.starts_with(&[0x1f, 0x8b]));
    let other = GRAY.replace("0_0_0", "0_64_0");
    let answer = get(&once(FaultKind::OtherAnswer { target: other.clone() }), GRAY);
    assert_eq!(answer.body, get(&start(Vec::new()), &other).body);
}

#[test]
fn bodies_are_damaged_as_the_script_says() {
    let whole = get(&start(Vec::new()), GRAY);
    let frames = whole.frames();
    let body = |kind| {
        let demo = once(kind);
        let body = get(&demo, GRAY).body;
        assert_eq!(demo.fault_hits(0), 1);
        body
    };
    let n = whole.body.len();
    assert_eq!(body(FaultKind::OneShort), whole.body[..n - 1]);
    assert_eq!(body(FaultKind::OneLong)[..n], whole.body);
    assert_eq!(body(FaultKind::CutHeader { left: 7 }).len(), n + 7);
    assert_eq!(body(FaultKind::Empty), b"");
    assert!(body(FaultKind::Html).starts_with(b"<!DOCTYPE"));
    assert!(body(FaultKind::TextAppended).starts_with(&whole.body) && body(FaultKind::TextAppended).ends_with(b").\n"));
    let cut = body(FaultKind::ErrorMidStream);
    let first = 16 + frames[0].1.len();
    assert!(cut[..first] == whole.body[..first] && cut[first..].starts_with(b"Unable to read"));
    assert_eq!(body(FaultKind::StrangeBlock)[..4], 0x00ab_cdef_i32.to_le_bytes());
    assert_eq!(body(FaultKind::DuplicateBlock).len(), n + first);
    assert_eq!(body(FaultKind::FrameLength { length: -1 })[12..16], [0xff; 4]);
    assert_eq!(body(FaultKind::EmptyFrame)[12..16], [0; 4]);
    assert_eq!(body(FaultKind::BlockLeftOut), whole.body[first..]);
    assert_eq!(body(FaultKind::Permuted), [&whole.body[first..], &whole.body[..first]].concat());
    let flipped = body(FaultKind::FlippedBit { bit: 8005 });
    let differ: Vec<_> = (0..n).filter(|&i| flipped[i] != whole.body[i]).collect();
    assert_eq!((differ, flipped[1016] ^ whole.body[1016]), (vec![1016], 1 << 5));
}

#[test]
fn payloads_are_damaged_within_right_frames() {
    let demo = start(Vec::new());
    let whole: std::collections::BTreeMap<_, _> = get(&demo, LABELS).frames().into_iter().collect();
    let damaged = |kind: FaultKind| {
        let demo = once(kind.clone());
        let frames = get(&demo, LABELS).frames();
        assert_eq!(demo.fault_hits(0), 1, "{kind:?}");
        // The frames come in any order; one payload is another than it was.
        let changed: Vec<_> = frames.into_iter().filter(|(place, payload)| whole[place] != *payload).collect();
        assert_eq!(changed.len(), 1, "{kind:?}");
        (whole[&changed[0].0].clone(), changed[0].1.clone())
    };
    let inflate = |member: &[u8]| {
        let mut bytes = vec![0; u32::from_le_bytes(*member.last_chunk().unwrap()) as usize];
        libdeflater::Decompressor::new().gzip_decompress(member, &mut bytes).unwrap();
        bytes
    };
    let (before, after) = damaged(FaultKind::CutPayload);
    assert_eq!(after, before[..before.len() / 2]);
    let (before, after) = damaged(FaultKind::PayloadGarbage);
    assert!(after.len() > before.len() && after.starts_with(&before));
    let (before, after) = damaged(FaultKind::PayloadTwice);
    assert_eq!(after, before.repeat(2));
    let (before, after) = damaged(FaultKind::PayloadInflated);
    assert_eq!(after, inflate(&before));
    let (_, after) = damaged(FaultKind::GzipBomb { mib: 16 });
    assert!(after.len() < 1 << 20 && inflate(&after).len() > 16_000_000);
    for damage in [
        LabelDamage::Shape,
        LabelDamage::NoLabels,
        LabelDamage::TooManyLabels,
        LabelDamage::OverflowingLabels,
        LabelDamage::TooManyInSubBlock,
        LabelDamage::IndexOutOfRange,
        LabelDamage::ValueOutOfRange,
        LabelDamage::BitsShort,
        LabelDamage::BytesLeft,
    ] {
        let (before, after) = damaged(FaultKind::LabelBlock { damage });
        let (before, after) = (inflate(&before), inflate(&after));
        let same = before.iter().zip(&after).filter(|(a, b)| a == b).count();
        assert!(before != after && same + 4 >= before.len().min(after.len()), "{damage:?} changes a word at most");
    }
    let jpeg = "/api/node/a40d/gray_jpeg/subvolblocks/64_64_64/0_0_0";
    let frames = get(&once(FaultKind::OtherJpeg { side: 300 }), jpeg).frames();
    let mut decoder = jpeg_decoder::Decoder::new(frames[0].1.as_slice());
    decoder.read_info().unwrap();
    assert_eq!(decoder.info().map(|info| (info.width, info.height)), Some((300, 300)));
}

#[test]
fn damage_that_changes_nothing_is_no_hit() {
    let demo = start(vec![Fault::always("raw", FaultKind::DuplicateBlock)]);
    let target = "/api/node/a40d/gray/raw/0_1_2/20_20_20/0_0_0";
    let right = get(&start(Vec::new()), target);
    assert_eq!((get(&demo, target).body, demo.fault_hits(0)), (right.body, 0));
}

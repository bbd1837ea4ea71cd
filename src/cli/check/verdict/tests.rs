use serde_json::json;

use super::*;

/// What a mount tells after these failures (time, path), of which only the last `kept` are remembered.
fn told(all: &[(f64, &str)], kept: usize) -> (Value, String) {
    let line = |(time, path): &(f64, &str)| {
        json!({"time": time, "path": path, "offset": 0, "size": 1, "code": "fetch_cut", "cause": "cut"}).to_string()
            + "\n"
    };
    let errors = all[all.len() - kept..].iter().map(line).collect();
    let time = |at: Option<&(f64, &str)>| at.map_or(Value::Null, |(time, _)| (*time).into());
    let failed = json!({"n": all.len(), "first": time(all.first()), "last": time(all.last())});
    let none = json!({"n": 0, "first": null, "last": null});
    let events = json!({"failed_reads": failed, "panics": none, "identity_changes": none});
    (json!({"mounted": 1000.0, "events": events, "now": {"server_is_away": false}}), errors)
}

fn lines((stats, errors): &(Value, String), since: Option<f64>) -> Vec<String> {
    verdict(stats, errors, since).lines
}

const FOUR: [(f64, &str); 4] = [(2000.0, "a"), (2001.0, "b"), (2002.0, "a"), (2003.5, "c")];

#[test]
fn nothing_failed() {
    for since in [None, Some(1000.0), Some(5000.0)] {
        assert_eq!(lines(&told(&[], 0), since), [""; 0]);
    }
    assert_eq!(lines(&told(&FOUR, 4), Some(2004.0)), [""; 0]);
    assert_eq!(
        verdict(&told(&[], 0).0, "", None).summary,
        "no read has failed since the mount was made at 1970-01-01T00:16:40Z"
    );
    assert_eq!(verdict(&told(&[], 0).0, "", Some(2000.0)).summary, "no read has failed since 1970-01-01T00:33:20Z");
}

#[test]
fn each_file_that_failed_has_a_line() {
    let told = told(&FOUR, 4);
    assert_eq!(
        lines(&told, None),
        [
            "a: 2 failed reads, the last at 1970-01-01T00:33:22Z: fetch_cut: cut",
            "b: 1 failed read, the last at 1970-01-01T00:33:21Z: fetch_cut: cut",
            "c: 1 failed read, the last at 1970-01-01T00:33:23Z: fetch_cut: cut",
        ]
    );
    let n_since = |since| lines(&told, Some(since)).len();
    assert_eq!((n_since(2001.0), n_since(2002.0), n_since(2003.0), n_since(2003.5)), (3, 2, 1, 1));
    assert!(verdict(&told.0, &told.1, None).summary.contains("reads of 3 files failed since"));
}

#[test]
fn failures_that_are_no_longer_remembered_are_not_forgotten() {
    let told = told(&FOUR, 1);
    assert_eq!(lines(&told, None).len(), 2);
    assert!(lines(&told, None)[1].starts_with("3 failed reads more, whose files are no longer remembered"));
    // The oldest that is remembered is younger than the moment: whether more failed since then is not known.
    assert!(lines(&told, Some(1500.0)).iter().any(|line| line.starts_with("perhaps more: 3 failed reads")));
    // It is older: all since the moment are remembered.
    assert_eq!(lines(&told, Some(2003.6)), [""; 0]);
    // None has a name: a panic of ours, say.
    let nameless = self::told(&[(2000.0, "a")], 0);
    assert_eq!((lines(&nameless, None).len(), lines(&nameless, Some(1999.0)).len()), (1, 1));
    assert_eq!(lines(&nameless, Some(2001.0)), [""; 0]);
}

#[test]
fn other_faults_are_told_too() {
    for (key, value, words) in [
        ("/events/panics", json!({"n": 2, "first": 2000.0, "last": 2500.0}), "2 times: a fault of dvidfs itself"),
        (
            "/events/identity_changes",
            json!({"n": 1, "first": 2000.0, "last": 2500.0}),
            "other data under the same name",
        ),
        ("/now/server_is_away", json!(true), "the server does not answer now"),
    ] {
        let mut told = told(&[], 0);
        *told.0.pointer_mut(key).unwrap() = value;
        let lines = lines(&told, Some(2400.0));
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    }
    let mut told = told(&[], 0);
    told.0["died_before"] = json!(998.0);
    assert!(lines(&told, None)[0].contains("died and was started again"));
    assert!(lines(&told, Some(997.0))[0].contains("died and was started again"));
    for since in [998.5, 999.5] {
        let said = lines(&told, Some(since));
        assert!(
            said.len() == 1 && said[0].contains("died and was started again"),
            "until it was mounted again: {said:?}"
        );
    }
    assert_eq!(lines(&told, Some(1000.5)), [""; 0]);
}

#[test]
fn nothing_is_promised_for_the_time_before_the_mount() {
    let told = told(&[], 0);
    let said = lines(&told, Some(998.5));
    let words = "reads between 1970-01-01T00:16:38Z and 1970-01-01T00:16:40Z, when the mount was made, are not known";
    assert!(said.len() == 1 && said[0].starts_with(words), "{said:?}");
    assert!(verdict(&told.0, &told.1, Some(998.5)).summary.contains("since the mount was made at"));
    // `date +%s` in the second of the mount.
    assert_eq!(lines(&told, Some(999.5)), [""; 0]);
}

use super::super::scripted_server::{Act, ScriptedServer, answer, chunked};
use super::super::settled::is_settled;
use super::super::test_support::{body, recorded};
use super::*;

const ROOT: &str = "653cea621da34bbcbb12949a4e937b29";
const HEAD: &str = "f897475764764333941b4adf93ac49ae";
const EXP: &str = "2652a0397bba4b8299821d9d4beb29d5";

/// The recorded server. Refs that nobody recorded get its words; every instance of every node has the info of the root.
fn respond(target: &str) -> (u16, Vec<u8>) {
    let parts: Vec<_> = target.split(['/', '?']).collect();
    match parts.as_slice() {
        ["", "api", "repo", reference, "info", ..] => match *reference {
            "6" => (400, b"more than one UUID matches 6 (/api/repo/6/info).\n".to_vec()),
            "ffff" => (400, b"could not find UUID with partial match to ffff (/api/repo/ffff/info).\n".to_vec()),
            "old:master~1" => (400, b"branch \"master~1\" not found (/api/repo).\n".to_vec()),
            _ => (200, body("repo-info")),
        },
        ["", "api", "node", _, name, "info", ..] => {
            recorded(&format!("/api/node/{ROOT}/{name}/info")).unwrap_or((400, b"no such instance\n".to_vec()))
        }
        _ => recorded(target).unwrap_or((404, b"404 page not found\n".to_vec())),
    }
}

fn serve(respond: impl Fn(&str) -> (u16, Vec<u8>) + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::start(move |request, _| {
        let (status, body) = respond(request.split(' ').nth(1).unwrap());
        vec![Act::Send(if status == 200 && body.len() > 2048 { chunked(&body) } else { answer(status, &body) })]
    })
}

fn options() -> NodeOptions {
    NodeOptions { patience: Duration::from_millis(300), ..NodeOptions::default() }
}

fn open(scripted: &ScriptedServer, reference: &str, options: NodeOptions) -> Result<Node, OpenError> {
    let address: Address = format!("{}/{reference}", scripted.origin).parse().unwrap();
    Node::open(&address, HttpConfig::default(), options, Arc::default())
}

#[track_caller]
fn check_ref(reference: &str, uuid: &str) {
    let node = open(&serve(respond), reference, options()).unwrap_or_else(|error| panic!("{reference}: {error:?}"));
    assert_eq!(node.info.uuid, uuid, "{reference}");
    assert_eq!(node.reference, reference);
}

#[test]
fn every_form_of_a_ref_is_pinned_to_the_full_uuid() {
    check_ref(ROOT, ROOT);
    check_ref("653ce", ROOT);
    check_ref("653ce:", ROOT);
    check_ref("653ce:master", HEAD);
    check_ref("653ce:~0", HEAD);
    check_ref("653ce:master~2", ROOT);
    check_ref("653ce:exp", EXP);
    check_ref("653ce:exp~1", ROOT);
    check_ref("v1.0", "v1.0");
    check_ref("653ce:tag-v1.0", "v1.0");
    check_ref("old:master~1", "6cb91b467aa8417b8d96b92602fee0b5"); // a server that knows no ~1
}

#[test]
fn a_ref_that_means_no_node_is_told_in_the_servers_words() {
    let scripted = serve(respond);
    for (reference, words) in [
        ("6", "more than one UUID matches 6: give more letters"),
        ("ffff", "could not find UUID with partial match to ffff"),
        ("653ce:nope", "no branch \"nope\""),
        ("653ce:master~3", "too far"),
    ] {
        let error = open(&scripted, reference, options()).unwrap_err();
        assert!(matches!(error, OpenError::BadRef { .. }) && !error.is_usage(), "{error:?}");
        let line = error.to_string();
        assert!(line.contains(words) && line.contains(reference) && !line.contains('\n'), "{line}");
        assert!(!line.contains("/api/"), "{line}");
    }
}

#[test]
fn a_node_knows_what_the_server_says_of_it() {
    let node = open(&serve(respond), "653ce", options()).unwrap();
    assert!(node.info.locked && node.info.parents.is_empty() && node.info.children.contains(&EXP.to_owned()));
    assert_eq!((node.root.as_str(), node.info.branch.as_str()), (ROOT, ""));
    assert!(node.updated_seconds() > 1_700_000_000);
    assert!(node.instances.is_sorted_by(|a, b| a.name < b.name));
    let gray = node.instances.iter().find(|info| info.name == "grayscale").unwrap();
    assert_eq!(*gray.json, *body("info-grayscale"), "byte for byte");
    assert!(node.instance(gray).is_ok());
    let keys = node.instances.iter().find(|info| info.name == "kv").unwrap();
    assert!(node.instance(keys).is_err());
    assert!(node.instances.iter().any(|info| info.name == "odd%name" && !info.json.is_empty()));
}

#[test]
fn instances_made_on_another_branch_are_not_visible() {
    let scripted = serve(respond);
    let has_late =
        |reference| open(&scripted, reference, options()).unwrap().instances.iter().any(|i| i.name == "late");
    assert!(has_late(EXP));
    assert!(!has_late(ROOT) && !has_late(HEAD));
}

#[test]
fn an_instance_that_is_forbidden_or_broken_hides_no_other() {
    let scripted = serve(|target| match target {
        _ if target.contains("/grayscale/info") => (403, vec![]),
        _ if target.contains("/segmentation/info") => (200, b"<html>".to_vec()),
        _ => respond(target),
    });
    let node = open(&scripted, ROOT, NodeOptions { patience: Duration::from_secs(2), ..options() }).unwrap();
    let voxels = |name: &str| node.instances.iter().find(|info| info.name == name).unwrap().voxels.clone();
    assert!(voxels("grayscale").unwrap_err().to_string().contains("access denied"));
    assert!(voxels("segmentation").is_err());
    assert!(voxels("gray32").is_ok());
}

#[test]
fn only_locked_and_versioned_data_is_for_ever() {
    let of = |scripted: &ScriptedServer, reference: &str, name: &str, settle: Duration| {
        let node = open(scripted, reference, NodeOptions { settle, ..options() }).unwrap();
        let info = node.instances.iter().find(|info| info.name == name).unwrap();
        node.freshness(info)
    };
    let ttl = Freshness::For(Duration::from_secs(5));
    let scripted = serve(respond);
    let soon = Duration::ZERO;
    assert_eq!(of(&scripted, ROOT, "grayscale", soon), Freshness::Forever);
    assert_eq!(of(&scripted, ROOT, "unversioned", soon), ttl);
    assert_eq!(of(&scripted, HEAD, "grayscale", soon), ttl, "open");
    assert_eq!(of(&scripted, ROOT, "grayscale", Duration::from_secs(86_400 * 365)), ttl, "just committed");
    let mutable = serve(|target| match target {
        _ if target.contains("server/info") => {
            let info = String::from_utf8(body("server-info")).unwrap();
            (200, info.replacen('{', "{\"Mode\":\"allow writes on committed nodes\",", 1).into_bytes())
        }
        _ => respond(target),
    });
    assert_eq!(of(&mutable, ROOT, "grayscale", soon), ttl);
}

#[test]
fn the_age_of_a_commit_is_taken_by_the_servers_clock() {
    let node = |locked, updated: &str| NodeInfo { locked, updated: updated.into(), ..NodeInfo::default() };
    let server = |time: i64| ServerInfo { time: Some(time), mode: String::new(), start: None };
    let updated = "1970-01-02T00:00:00Z";
    let settle = Duration::from_secs(600);
    assert!(is_settled(&node(true, updated), &server(86_400 + 600), settle));
    assert!(!is_settled(&node(true, updated), &server(86_400 + 599), settle));
    assert!(!is_settled(&node(true, updated), &server(0), settle), "a commit in the future");
    assert!(!is_settled(&node(false, updated), &server(1 << 30), settle));
    assert!(!is_settled(&node(true, "long ago"), &server(1 << 30), settle));
}

#[test]
fn whoever_answers_must_be_a_dvid() {
    let html = serve(|_| (200, b"<html>a console</html>".to_vec()));
    assert!(matches!(open(&html, ROOT, options()).unwrap_err(), OpenError::NotDvid { .. }));
    let denied = serve(|_| (401, vec![]));
    assert!(open(&denied, ROOT, options()).unwrap_err().is_usage());
    let old = serve(|target| match target {
        _ if target.contains("server/info") => (404, vec![]),
        _ if target.contains("heartbeat") => (200, b"OK".to_vec()),
        _ => respond(target),
    });
    assert!(open(&old, ROOT, options()).is_ok());
    let began = Instant::now();
    let silent = ScriptedServer::always(vec![Act::Close]);
    assert!(matches!(open(&silent, ROOT, options()).unwrap_err(), OpenError::Unreachable(_)));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn three_hundred_infos_are_asked_for_side_by_side() {
    let entry = |n: u32| {
        format!(
            r#""i{n}":{{"Base":{{"TypeName":"keyvalue","Name":"i{n}","DataUUID":"{n}","RepoUUID":"{ROOT}"}},"Extended":{{}}}}"#
        )
    };
    let all: Vec<_> = (0..300).map(entry).collect();
    let repo = format!(
        r#"{{"Root":"{ROOT}","DataInstances":{{{}}},"DAG":{{"Root":"{ROOT}","Nodes":{{"{ROOT}":{{"UUID":"{ROOT}","VersionID":1,"Locked":true}}}}}}}}"#,
        all.join(",")
    );
    let scripted = serve(move |target| match target {
        _ if target.contains("/api/repo/") => (200, repo.clone().into_bytes()),
        _ if target.contains("server/info") => (200, body("server-info")),
        _ => {
            thread::sleep(Duration::from_millis(5));
            let name = target.split('/').nth(4).unwrap();
            let json = format!(
                r#"{{"Base":{{"TypeName":"keyvalue","DataUUID":"{}","Name":"{name}"}},"Extended":{{}}}}"#,
                &name[1..]
            );
            (200, json.into_bytes())
        }
    });
    let node = open(&scripted, ROOT, NodeOptions { patience: Duration::from_secs(10), ..options() }).unwrap();
    assert_eq!(node.instances.len(), 300);
    assert_eq!(scripted.n_connections(), 4);
}

/// How long the opening of a node took that came to nothing.
fn time_of_failure(origin: &str, patience: Duration) -> (Duration, OpenError) {
    let address: Address = format!("{origin}/{ROOT}").parse().unwrap();
    let began = Instant::now();
    let options = NodeOptions { patience, ..NodeOptions::default() };
    let error = Node::open(&address, HttpConfig::default(), options, Arc::default()).unwrap_err();
    (began.elapsed(), error)
}

#[track_caller]
fn check_silence(silent: &ScriptedServer) {
    for patience in [Duration::ZERO, Duration::from_millis(1500)] {
        let (took, error) = time_of_failure(&silent.origin, patience);
        assert!(matches!(error, OpenError::Unreachable(_)), "{error:?}");
        assert!(took >= patience && took < patience + Duration::from_millis(1900), "{took:?} of {patience:?}");
    }
}

#[test]
fn a_server_that_never_answers_is_given_up_when_the_wait_is_over() {
    let hang = Act::Wait(Duration::from_secs(20));
    check_silence(&ScriptedServer::always(vec![hang.clone()]));
    // Nor behind its head, nor at a later question.
    let head = Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec());
    check_silence(&ScriptedServer::always(vec![head, hang.clone()]));
    check_silence(&ScriptedServer::start(move |request, _| match request.split(' ').nth(1).unwrap() {
        target if target.contains("server/info") => vec![Act::Send(answer(200, &body("server-info")))],
        target if target.contains("/api/repo/") => vec![Act::Send(chunked(&body("repo-info")))],
        _ => vec![hang.clone()],
    }));
}

#[test]
fn a_refused_connection_is_tried_until_the_wait_is_over() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let patience = Duration::from_millis(1200);
    let (took, _) = time_of_failure(&format!("http://{closed}"), patience);
    assert!(took >= patience && took < patience + Duration::from_secs(1), "{took:?}");
    let (took, _) = time_of_failure(&format!("http://{closed}"), Duration::ZERO);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_server_that_comes_up_within_the_wait_is_found() {
    let began = Instant::now();
    let scripted = ScriptedServer::start(move |request, _| {
        if began.elapsed() < Duration::from_millis(1500) {
            return vec![Act::Reset];
        }
        let (status, body) = respond(request.split(' ').nth(1).unwrap());
        vec![Act::Send(if status == 200 && body.len() > 2048 { chunked(&body) } else { answer(status, &body) })]
    });
    assert!(open(&scripted, ROOT, NodeOptions { patience: Duration::from_millis(2200), ..options() }).is_ok());
}

#[test]
fn what_waiting_cannot_mend_is_told_at_once() {
    let plain = ScriptedServer::start_raw(vec![Act::Send(answer(400, b"no"))]);
    let (took, error) = time_of_failure(&plain.origin.replace("http://", "https://"), Duration::from_secs(30));
    assert!(matches!(error, OpenError::Insecure(_)), "{error:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

//! TLS that cannot be: each is told at the first attempt.

use std::net::TcpListener;
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::retry::{Attempts, Decision, decide};
use super::super::scripted_server::{Act, ScriptedServer, answer};
use super::*;

#[track_caller]
fn check_refusal(origin: &str, words: &str) {
    let server = Server::new(origin, HttpConfig::default(), Arc::default()).unwrap();
    let error = server.get("/api/server/info", 1000).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!((error.kind(), error.kind().code()), (ErrorKind::TlsFailed, "tls_failed"), "{why}");
    assert_eq!(decide(&error, Attempts::default().and(error.kind()), 1.0), Decision::Stop);
    assert!(why.contains(words), "{why}");
}

#[test]
fn a_server_without_tls_is_told_so() {
    let plain = ScriptedServer::start_raw(vec![Act::Send(answer(400, b"client sent no HTTP"))]);
    check_refusal(&plain.origin.replace("http://", "https://"), "write http:// in place of https://");
}

#[test]
fn a_certificate_that_nobody_signed_is_not_believed() {
    let fixture =
        |name: &str| std::fs::read(format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let certificate = CertificateDer::from(fixture("self-signed.der"));
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(fixture("self-signed-key.der")));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // It ends when the client refuses it.
            let _ = StreamOwned::new(connection, stream).read(&mut [0]);
        }
    });
    check_refusal(&origin, "only certificates of public authorities are believed"); // C3
}

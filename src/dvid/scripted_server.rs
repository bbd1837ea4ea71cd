//! A server on loopback for tests, which answers with the raw bytes that it is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is done after a request was read.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// These bytes, at once.
    Send(Vec<u8>),
    /// These bytes, one at a time, so long apart.
    Drip(Vec<u8>, Duration),
    /// Nothing, for so long.
    Wait(Duration),
    /// These bytes again and again, until the client closes.
    Repeat(Vec<u8>),
    /// The connection ends.
    Close,
    /// The connection is reset.
    Reset,
}

type Script = dyn Fn(&str, u64) -> Vec<Act> + Send + Sync;

/// Runs until the process ends; its threads end with their connections.
pub(super) struct ScriptedServer {
    pub(super) origin: String,
    requests: Arc<Mutex<Vec<String>>>,
    n_connections: Arc<AtomicU64>,
}

impl ScriptedServer {
    /// `script` gets a whole request (head and body) and how many came before it.
    pub(super) fn start(script: impl Fn(&str, u64) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (requests, n_connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicU64::new(0)));
        let server = Self { origin, requests: Arc::clone(&requests), n_connections: Arc::clone(&n_connections) };
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                n_connections.fetch_add(1, Ordering::SeqCst);
                let (requests, script) = (Arc::clone(&requests), Arc::clone(&script));
                thread::spawn(move || serve(stream, &requests, &*script));
            }
        });
        server
    }

    /// Whatever is asked, this is done.
    pub(super) fn always(acts: Vec<Act>) -> Self {
        Self::start(move |_, _| acts.clone())
    }

    /// Whatever comes first, request or not, this is done.
    pub(super) fn start_raw(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.read(&mut [0; 1000]);
                let _ = acts.iter().all(|act| perform(&mut stream, act.clone()));
            }
        });
        Self { origin, requests: Arc::default(), n_connections: Arc::default() }
    }

    /// The first lines of all requests so far, without ` HTTP/1.1`.
    pub(super) fn asked(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|request| request.split(" HTTP").next().unwrap().to_owned()).collect()
    }

    /// All requests so far, whole.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn n_connections(&self) -> u64 {
        self.n_connections.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>, script: &Script) {
    while let Some(request) = read_request(&mut stream) {
        let acts = {
            let mut requests = requests.lock().unwrap();
            requests.push(request.clone());
            let before = requests.len() as u64 - 1;
            drop(requests);
            script(&request, before)
        };
        for act in acts {
            if !perform(&mut stream, act) {
                return;
            }
        }
    }
}

/// Whether the connection goes on.
fn perform(stream: &mut TcpStream, act: Act) -> bool {
    match act {
        Act::Send(bytes) => stream.write_all(&bytes).is_ok(),
        Act::Drip(bytes, pause) => bytes.iter().all(|&byte| {
            thread::sleep(pause);
            stream.write_all(&[byte]).is_ok()
        }),
        Act::Wait(time) => {
            thread::sleep(time);
            true
        }
        Act::Repeat(bytes) => {
            while stream.write_all(&bytes).is_ok() {}
            false
        }
        Act::Close => {
            let _ = stream.shutdown(Shutdown::Both);
            false
        }
        Act::Reset => {
            // Zero seconds to linger: a reset in place of an orderly end.
            let zero = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(&*stream, nix::sys::socket::sockopt::Linger, &zero).unwrap();
            false
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = vec![];
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    bytes.extend(body);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A complete answer with a length.
pub(super) fn answer(status: u16, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The same in chunks, as DVID sends what is longer than 2048 bytes.
pub(super) fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(2048) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

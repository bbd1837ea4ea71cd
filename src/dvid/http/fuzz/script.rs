//! A connection in memory whose other side follows a script.

use std::cell::RefCell;
use std::io;

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use super::super::connection::{self, Patient};
use super::super::{Inner, Server};
use crate::dvid::http_config::{HttpConfig, Until};
use crate::dvid::token::TokenKeeper;

/// What the other side of each connection does.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// What it says.
    pub(super) answer: Vec<u8>,
    /// In pieces of so many bytes.
    pub(super) piece: usize,
    /// What comes then.
    pub(super) end: End,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum End {
    /// It is closed.
    #[default]
    Close,
    /// Nothing comes any more.
    Silence,
    /// It is reset.
    Reset,
}

/// What was seen of the requests of this thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// All that was sent.
    pub(super) sent: Vec<u8>,
    /// How often something was waited for.
    pub(super) n_waits: usize,
}

thread_local! {
    static SCRIPT: RefCell<Script> = RefCell::default();
    static SEEN: RefCell<Seen> = RefCell::default();
    /// Making one costs more than a request.
    static SERVER: Server = server();
}

/// Calls with a server whose connections follow the script, and what it saw.
pub(super) fn with_script<T>(script: Script, call: impl FnOnce(&Server) -> T) -> (T, Seen) {
    SCRIPT.set(script);
    SEEN.take();
    let result = SERVER.with(call);
    (result, SEEN.take())
}

fn server() -> Server {
    let config = HttpConfig::default();
    let shared = Inner {
        origin: "http://scripted:8000".to_owned(),
        agent: connection::agent_over(&config, Dial),
        config,
        signature: "app=dvidfs".to_owned(),
        token: TokenKeeper::open(None).expect("no token file"),
        metrics: std::sync::Arc::default(),
    };
    Server { shared: std::sync::Arc::new(shared), until: Until::default() }
}

#[derive(Debug)]
struct Dial;

impl Connector<()> for Dial {
    type Out = Patient<Scripted>;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Patient::new(Scripted { buffers, n_said: 0 }, 1)))
    }
}

/// The own side of a connection.
#[derive(Debug)]
pub(super) struct Scripted {
    buffers: LazyBuffers,
    n_said: usize,
}

impl Transport for Scripted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        SEEN.with_borrow_mut(|seen| seen.sent.extend_from_slice(&self.buffers.output()[..amount]));
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        SEEN.with_borrow_mut(|seen| seen.n_waits += 1);
        let room = self.buffers.input_append_buf();
        let (n, end) = SCRIPT.with_borrow(|script| {
            let left = &script.answer[self.n_said..];
            let n = left.len().min(script.piece).min(room.len());
            room[..n].copy_from_slice(&left[..n]);
            (n, left.is_empty().then_some(script.end))
        });
        self.n_said += n;
        match end {
            Some(End::Silence) => return Err(ureq::Error::Timeout(timeout.reason)),
            Some(End::Reset) => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            Some(End::Close) | None => self.buffers.input_appended(n),
        }
        Ok(n > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

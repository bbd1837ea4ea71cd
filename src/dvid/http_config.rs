//! How a server is spoken to, and one request to it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::pace::SlowRate;

/// An answer of metadata is never larger.
pub(super) const METADATA_LIMIT: u64 = 64 << 20;

/// The metadata of one instance are never larger: a labelmap lists a label for each of its versions.
pub(super) const INFO_LIMIT: u64 = 4 << 20;

/// How a server is spoken to.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// A connection is given up after this.
    pub connect: Duration,
    /// An answer must begin within this: a busy server is slow.
    pub first_byte: Duration,
    /// A begun answer must go on within this.
    pub per_read: Duration,
    /// The least that an answer must bring in a window.
    pub slow_rate: SlowRate,
    /// The mapping of a labelmap must begin within this: the server may have to load it first.
    pub mapping_first_byte: Duration,
    /// A server that asks for more time than this is asked again after it.
    pub longest_retry_after: Duration,
    /// Connections that are kept.
    pub max_connections: usize,
    /// Certificates (DER) of the authorities that are believed; those of the public if there are none.
    pub authorities: Vec<Vec<u8>>,
    /// A file that holds a bearer token.
    pub token_file: Option<PathBuf>,
    /// Send the token over plain HTTP to another machine.
    pub insecure_token: bool,
    /// Who asks (`u=`), for the server's log; empty for nobody.
    pub user: String,
    /// Ask for nothing at all: each request fails at once.
    pub offline: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(60),
            per_read: Duration::from_secs(20),
            slow_rate: SlowRate { bytes: 20_000, window: Duration::from_secs(20) },
            mapping_first_byte: Duration::from_secs(600),
            longest_retry_after: Duration::from_secs(60),
            max_connections: 4,
            authorities: Vec::new(),
            token_file: None,
            insecure_token: false,
            user: String::new(),
            offline: false,
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// Path and query.
    pub(super) path: &'a str,
    /// DVID's batch calls are GETs with a body.
    pub(super) body: Option<&'a [u8]>,
    /// The answer must begin within this.
    pub(super) first_byte: Duration,
    /// More bytes than this are no right answer.
    pub(super) limit: u64,
}

/// Until when attempts may go on, if their time is limited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Until(pub(super) Option<Instant>);

impl Until {
    /// A limit of one wait, or what is left of the time of all; a second even then: less is no attempt.
    pub(super) fn limit(self, limit: Duration) -> Duration {
        let left = |until: Instant| until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        self.0.map_or(limit, |until| limit.min(left(until)))
    }
}

impl HttpConfig {
    /// The same with all waits this many times as long: tests do not wait for minutes.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let scaled = |wait: Duration| wait.mul_f64(factor);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // a small count
        let bytes = (self.slow_rate.bytes as f64 * factor) as u64;
        Self {
            connect: scaled(self.connect),
            first_byte: scaled(self.first_byte),
            per_read: scaled(self.per_read),
            slow_rate: SlowRate { bytes, window: scaled(self.slow_rate.window) },
            mapping_first_byte: scaled(self.mapping_first_byte),
            longest_retry_after: scaled(self.longest_retry_after),
            ..self
        }
    }
}

//! What a server says about itself: its clock, and since when it runs.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::answer::words_of;
use super::error::{Error, ErrorKind};
use super::http::Server;
use super::http_config::INFO_LIMIT;
use super::json::Text;
use super::server_time::{go_duration, unix_seconds};

/// Path of the request.
pub(super) const SERVER_INFO: &str = "/api/server/info";

/// The answer of `GET /api/server/info`.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// The server's clock in unix seconds, if it tells.
    pub time: Option<i64>,
    /// `read only`, `allow writes on committed nodes`, or empty.
    pub mode: String,
    /// When it runs since, if it tells.
    pub start: Option<ServerStart>,
}

/// What is of use in an answer that may hold anything.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RawServerInfo {
    #[serde(rename = "Datastore Version")]
    datastore: Text,
    #[serde(rename = "DVID Version")]
    dvid: Text,
    #[serde(rename = "Server time")]
    time: Text,
    #[serde(rename = "Server uptime")]
    uptime: Text,
    #[serde(rename = "Mode")]
    mode: Text,
}

impl Server {
    /// What the server says about itself.
    ///
    /// # Errors
    /// As [`get`](Self::get), and if no DVID answers.
    pub fn server_info(&self) -> Result<ServerInfo, Error> {
        ServerInfo::parse(&self.get(SERVER_INFO, INFO_LIMIT)?)
    }
}

impl ServerInfo {
    /// Reads an answer that came just now.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::new(ErrorKind::Malformed, SERVER_INFO).with_code("bad_metadata");
        let raw: RawServerInfo = serde_json::from_slice(json).map_err(|error| malformed().with_source(error))?;
        if raw.datastore.0.or(raw.dvid.0).is_none() {
            return Err(malformed().with_detail(format!("no DVID says this: {}", words_of(json))));
        }
        Ok(Self {
            time: raw.time.0.as_deref().and_then(unix_seconds),
            mode: raw.mode.0.unwrap_or_default(),
            start: raw
                .uptime
                .0
                .as_deref()
                .and_then(go_duration)
                .map(|uptime| ServerStart { seen: Instant::now(), uptime }),
        })
    }

    /// Whether even committed nodes of this server may change.
    #[must_use]
    pub fn writes_committed_nodes(&self) -> bool {
        self.mode == "allow writes on committed nodes"
    }
}

/// For how long a server had run at some moment: two of these tell whether it was restarted in between.
#[derive(Clone, Copy, Debug)]
pub struct ServerStart {
    seen: Instant,
    uptime: Duration,
}

impl ServerStart {
    /// Whether the server that said `later` is still the run that said `self`.
    #[must_use]
    pub fn is_same_run(self, later: Self) -> bool {
        // Answers come late by unequal times, never by so much; and a restart costs all of the uptime.
        let slack = Duration::from_secs(1).min(self.uptime / 2);
        let expected = self.uptime + later.seen.saturating_duration_since(self.seen);
        later.uptime + slack >= expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_its_clock_and_its_uptime() {
        let info = ServerInfo::parse(
            br#"{"Cores":"2","DVID Version":"notag","Datastore Version":"0.11.0","Server time":"2026-11-23 22:24:08.91956209 +0000 UTC m=+14.667378569","Server uptime":"14.649765878s"}"#,
        )
        .unwrap();
        assert_eq!(info.time, Some(1_795_472_648));
        assert_eq!(info.start.unwrap().uptime, Duration::from_nanos(14_649_765_878));
        assert!(!info.writes_committed_nodes());
    }

    #[test]
    fn what_is_not_a_dvid_is_told() {
        for body in ["<html>console</html>", "{}", "[]", "{\"version\":\"1\"}", "null"] {
            assert_eq!(ServerInfo::parse(body.as_bytes()).unwrap_err().kind(), ErrorKind::Malformed, "{body}");
        }
    }

    #[test]
    fn a_restart_is_seen_by_the_uptime() {
        let began = Instant::now();
        let at = |seen_s: u64, uptime_s: u64| ServerStart {
            seen: began + Duration::from_secs(seen_s),
            uptime: Duration::from_secs(uptime_s),
        };
        assert!(at(0, 100).is_same_run(at(50, 150)));
        assert!(at(0, 100).is_same_run(at(0, 100)));
        assert!(!at(0, 100).is_same_run(at(50, 120)));
        assert!(!at(0, 100).is_same_run(at(1, 0)));
        assert!(!at(0, 2).is_same_run(at(1, 0)));
        assert!(!at(0, 2).is_same_run(at(3600, 3000)));
    }
}

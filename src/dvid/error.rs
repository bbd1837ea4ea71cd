//! What can become of a request to DVID.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::payload_error::PayloadError;

/// What became of a request. Each kind says how it is retried (`retry.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No connection, or it broke before an answer. Retried until patience ends.
    Unreachable,
    /// The server's name has no address. Retried until patience ends, but not at the mount.
    UnknownHost,
    /// The server speaks no TLS, or shows a certificate that proves nothing. Never retried.
    TlsFailed,
    /// No answer in time, or too slow an answer. Retried until patience ends.
    Timeout,
    /// The answer broke off. Retried until patience ends.
    Cut,
    /// 429, 502, 503, 504: the server asks for time. Retried until patience ends.
    Busy,
    /// Any other status but success. Three tries.
    Status(u16),
    /// 401 or 403. Never retried.
    Denied,
    /// A redirect: never followed, never retried.
    Redirected,
    /// A complete answer that cannot be right: length, frame, checksum, label block. Three tries.
    Malformed,
    /// An answer larger than it can rightly be. Three tries.
    OverLimit,
    /// The server holds other data under this name than at the mount. Never retried.
    IdentityChanged,
    /// The server is still loading a body mapping. Retried until patience ends.
    MappingLoading,
    /// The fetch ended without an answer of its own: a panic, or the program is ending. Never retried.
    Abandoned,
    /// No server is asked for anything: the mount stands on what was kept of an earlier one. Never retried.
    Offline,
}

impl ErrorKind {
    /// The code of this kind in log lines and in `errors.jsonl`, where an error has none of its own.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "server_lost",
            Self::UnknownHost => "dns_failed",
            Self::TlsFailed => "tls_failed",
            Self::Timeout => "fetch_timeout",
            Self::Cut => "fetch_cut",
            Self::Busy => "throttled",
            Self::Status(_) => "http_status",
            Self::Denied => "auth_failed",
            Self::Redirected => "redirect_refused",
            Self::Malformed => "bad_frame",
            Self::OverLimit => "over_limit",
            Self::IdentityChanged => "identity_changed",
            Self::MappingLoading => "mapping_loading",
            Self::Abandoned => "abandoned",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("server unreachable"),
            Self::UnknownHost => f.write_str("unknown host"),
            Self::TlsFailed => f.write_str("no secure connection"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Cut => f.write_str("answer cut short"),
            Self::Busy => f.write_str("server busy"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Denied => f.write_str("access denied"),
            Self::Redirected => f.write_str("redirect refused"),
            Self::Malformed => f.write_str("malformed answer"),
            Self::OverLimit => f.write_str("answer over its limit"),
            Self::IdentityChanged => f.write_str("the server holds other data under this name than at the mount"),
            Self::MappingLoading => f.write_str("the server is still loading its body mapping"),
            Self::Abandoned => f.write_str("fetch abandoned"),
            Self::Offline => f.write_str("not kept on disk, and no server is asked (--offline)"),
        }
    }
}

/// Why an answer was refused, or what the server said: the source of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Detail(pub String);

/// A request to DVID failed. Says which request, and what became of it.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    /// Finer than that of the kind.
    code: Option<&'static str>,
    request: String,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind. `request` is path and query, never the credentials.
    #[must_use]
    pub fn new(kind: ErrorKind, request: impl Into<String>) -> Self {
        Self { kind, code: None, request: request.into(), retry_after: None, source: None }
    }

    /// The error that an answer with such a payload is.
    #[must_use]
    pub fn of_payload(error: PayloadError, request: impl Into<String>) -> Self {
        Self::new(error.kind(), request).with_code(error.code()).with_source(error)
    }

    /// The same error with a log code that is finer than that of its kind.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// The same error with a sentence that says why: the server's words, or what was wrong with the answer.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        self.with_source(Detail(detail.into()))
    }

    /// The same error with the time that the server asked to wait.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// What became of the request.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The code in log lines and in `errors.jsonl`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.unwrap_or_else(|| self.kind.code())
    }

    /// Path and query of the request.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }

    /// How long the server asked to wait, at most 60 s.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in GET {}", self.kind, self.request)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

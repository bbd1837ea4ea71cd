//! Why a node could not be opened: one clear line, and whose fault it is.

use super::address::AddressError;
use super::error::{Error, ErrorKind};
use super::token::TokenError;

/// A node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is none.
    #[error("bad address")]
    Address(#[from] AddressError),
    /// The token cannot be used.
    #[error("the token is not used")]
    Token(#[source] TokenText),
    /// The server lets us not in.
    #[error("the server denies access: give it a valid token with --token-file")]
    Denied(#[source] Error),
    /// Nobody answers.
    #[error("no answer from the server")]
    Unreachable(#[source] Error),
    /// No connection that is safe.
    #[error("no secure connection to the server")]
    Insecure(#[source] Error),
    /// Nobody has heard of the server's name.
    #[error("the name of the server is not known")]
    UnknownHost(#[source] Error),
    /// Somebody answers, and it is no DVID.
    #[error("{server} is not a DVID server, or not at this address")]
    NotDvid {
        /// The server.
        server: String,
        /// What it said.
        #[source]
        source: Error,
    },
    /// The ref means no node, or more than one.
    #[error("{reference} is no node of {server}: {words}")]
    BadRef {
        /// The server.
        server: String,
        /// The ref.
        reference: String,
        /// Why, in the server's words where it has any.
        words: String,
    },
    /// The repo is larger than it may be.
    #[error("the repo has {n} instances, more than the {limit} that may be")]
    TooManyInstances {
        /// So many it has.
        n: usize,
        /// So many it may have.
        limit: usize,
    },
    /// The server answers, and not what it should.
    #[error("the node cannot be opened")]
    Failed(#[source] Error),
}

/// What a [`TokenError`] says, with its cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenText(String);

impl OpenError {
    /// Whether it was asked for wrongly (exit code 1); else the mount failed (exit code 32).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Address(_) | Self::Token(_) | Self::Denied(_) => true,
            Self::Unreachable(_)
            | Self::Insecure(_)
            | Self::UnknownHost(_)
            | Self::NotDvid { .. }
            | Self::BadRef { .. }
            | Self::TooManyInstances { .. }
            | Self::Failed(_) => false,
        }
    }
}

impl OpenError {
    /// The code in log lines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::BadRef { .. } => "bad_ref",
            Self::Token(_) => "token_file",
            Self::Unreachable(_) => "mount_unreachable",
            Self::Denied(error) | Self::Insecure(error) | Self::UnknownHost(error) | Self::Failed(error) => {
                error.code()
            }
            Self::NotDvid { source, .. } => source.code(),
            Self::TooManyInstances { .. } => ErrorKind::OverLimit.code(),
        }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        let cause = std::error::Error::source(&error);
        if let Some(token) = cause.and_then(|cause| cause.downcast_ref::<TokenError>()) {
            let why = std::error::Error::source(token).map(|why| format!(": {why}")).unwrap_or_default();
            return Self::Token(TokenText(format!("{token}{why}")));
        }
        match error.kind() {
            ErrorKind::Denied => Self::Denied(error),
            ErrorKind::TlsFailed => Self::Insecure(error),
            ErrorKind::UnknownHost => Self::UnknownHost(error),
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Cut | ErrorKind::Busy => Self::Unreachable(error),
            ErrorKind::Status(_)
            | ErrorKind::Redirected
            | ErrorKind::Malformed
            | ErrorKind::OverLimit
            | ErrorKind::IdentityChanged
            | ErrorKind::MappingLoading
            | ErrorKind::Abandoned
            | ErrorKind::Offline => Self::Failed(error),
        }
    }
}

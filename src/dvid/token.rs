//! The bearer token: read from a private file, sent to one origin, never shown.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;

use super::address::host_and_port;
use super::endpoint::encoded;

/// No token is longer.
const MAX_TOKEN_BYTES: u64 = 64 << 10;
/// What stands in the place of a token.
const REDACTED: &str = "[token]";
/// A shorter token may be a word of the metadata, which must not be changed.
const LEAST_UNMISTAKABLE: usize = 16;
/// So many tokens of before are kept from being seen, too.
const MOST_SENT: usize = 8;

/// Why a token is not used: what is wrong with its file, or with where it would go.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("token file {path:?} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file may be read by others, is not a plain file, or holds no token.
    #[error("token file {path:?} {why}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// The token would go over the network for all to read.
    #[error(
        "a token is sent only over https or to this machine, not to {origin}; --insecure-token sends it all the same"
    )]
    Insecure {
        /// The server.
        origin: String,
    },
}

/// A token, or `[token]` to whoever prints it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Token {
    /// Reads a token from a plain file that only we can read. A newline at its end is no part of it.
    ///
    /// # Errors
    /// If the file is not such a file, or what it holds cannot be a token.
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let unfit = |why| TokenError::Unfit { path: path.to_owned(), why };
        // Neither a link to elsewhere nor a pipe that never ends its silence.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unfit("is not a regular file"));
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(unfit("belongs to another user"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(unfit("can be read by others: chmod 600 it"));
        }
        let mut text = String::new();
        file.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_TOKEN_BYTES {
            return Err(unfit("is too long for a token"));
        }
        let token = text.trim_end_matches(['\n', '\r']);
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(unfit("holds no token: one line of visible ASCII is one"));
        }
        Ok(Self(token.to_owned()))
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// The same text without the token, should a server echo it: as it is, in other letters, or as in a URL.
    fn redact(&self, text: &str) -> String {
        let without = |text: &str, echo: &str| {
            let (mut out, mut rest) = (String::with_capacity(text.len()), text);
            while let Some(at) = find(rest.as_bytes(), echo.as_bytes()) {
                out += &rest[..at];
                out += REDACTED;
                rest = &rest[at + echo.len()..];
            }
            out + rest
        };
        let (redacted, in_url) = (without(text, &self.0), encoded(&self.0));
        if in_url == self.0 { redacted } else { without(&redacted, &in_url) }
    }

    /// Whether a text that holds it can hardly mean anything else.
    fn is_unmistakable(&self) -> bool {
        self.0.len() >= LEAST_UNMISTAKABLE
    }
}

/// The token of a file, as it was last read.
#[derive(Debug, Default)]
pub(super) struct TokenKeeper {
    file: Option<PathBuf>,
    /// Held for a clone only.
    current: Mutex<Option<Token>>,
    /// Those before it, the latest first. Held for a clone only.
    sent: Mutex<Vec<Token>>,
    /// The server refuses the token since its last answer.
    is_refused: AtomicBool,
}

impl TokenKeeper {
    /// Reads the token, if there is a file.
    ///
    /// # Errors
    /// If the file is unfit.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, TokenError> {
        let token = file.map(Token::read).transpose()?;
        Ok(Self { file: file.map(Path::to_owned), current: Mutex::new(token), ..Self::default() })
    }

    /// Takes note of whether an answer was a refusal, and says once that the server lets us in again. Who was refused
    /// tells of it himself.
    pub(super) fn note(&self, is_taken: bool) {
        if !is_taken {
            self.is_refused.store(true, Ordering::Release);
        } else if self.is_refused.load(Ordering::Relaxed) && self.is_refused.swap(false, Ordering::AcqRel) {
            tracing::info!(target: "dvidfs", code = "auth_ok", "the server lets us in again");
        }
    }

    pub(super) fn current(&self) -> Option<Token> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The token of the file, if it is another one than was just refused.
    pub(super) fn newer_than(&self, refused: Option<&Token>) -> Option<Token> {
        let newer = Token::read(self.file.as_deref()?)
            .inspect_err(|error| {
                let cause: &(dyn std::error::Error + 'static) = error;
                tracing::warn!(target: "dvidfs", code = "token_file", cause);
            })
            .ok()?;
        let older = self.current.lock().unwrap_or_else(PoisonError::into_inner).replace(newer.clone());
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = older.filter(|older| *older != newer && !sent.contains(older)) {
            sent.truncate(MOST_SENT - 1);
            sent.insert(0, older);
        }
        drop(sent);
        (Some(&newer) != refused).then_some(newer)
    }

    /// The same text without any token that was sent: an answer may come late.
    pub(super) fn redacted(&self, text: &str) -> String {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let current = self.current();
        current.iter().chain(&sent).fold(text.to_owned(), |text, token| token.redact(&text))
    }

    /// The same bytes without any token that was sent.
    pub(super) fn redacted_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let current = self.current();
        let tokens = current.iter().chain(&sent).filter(|token| token.is_unmistakable());
        let is_in = |token: &&Token| {
            [token.0.as_str(), &encoded(&token.0)].iter().any(|echo| find(&bytes, echo.as_bytes()).is_some())
        };
        let found: Vec<_> = tokens.filter(is_in).collect();
        match std::str::from_utf8(&bytes) {
            Ok(text) if !found.is_empty() => {
                found.iter().fold(text.to_owned(), |text, token| token.redact(&text)).into_bytes()
            }
            // What is no text is no metadata either.
            Ok(_) | Err(_) => bytes,
        }
    }
}

/// Where a text of ASCII first stands, whatever the case of its letters.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window.eq_ignore_ascii_case(text))
}

/// Whether a token may go to this origin: over TLS, or to this machine.
pub(super) fn is_private(origin: &str) -> bool {
    let is_loopback = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    origin.starts_with("https://") || host_and_port(origin).is_some_and(|(host, _)| is_loopback(host))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn a_file(directory: &Path, text: &[u8], mode: u32) -> PathBuf {
        let path = directory.join(format!("token-{mode:o}-{}", text.len()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_private_file_gives_its_token_without_the_newline() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["abc.def-123", "abc.def-123\n", "abc.def-123\r\n"] {
            let token = Token::read(&a_file(directory.path(), text.as_bytes(), 0o600)).unwrap();
            assert_eq!(token.header(), "Bearer abc.def-123");
            assert_eq!(format!("{token:?}"), "[token]");
        }
    }

    #[test]
    fn a_file_that_is_not_private_and_plain_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let good = a_file(directory.path(), b"abc", 0o400);
        let link = directory.path().join("link");
        symlink(&good, &link).unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for path in [
            a_file(directory.path(), b"abc", 0o644),
            a_file(directory.path(), b"abc", 0o640),
            a_file(directory.path(), b"", 0o600),
            a_file(directory.path(), b"two\nlines", 0o600),
            a_file(directory.path(), &[b'a'; 65_537], 0o600),
            a_file(directory.path(), &[0xff; 3], 0o600),
            directory.path().join("absent"),
            directory.path().to_owned(),
            link,
            pipe,
        ] {
            assert!(Token::read(&path).is_err(), "{path:?}");
        }
        assert!(Token::read(&good).is_ok());
    }

    #[test]
    fn no_text_repeats_a_token_of_now_or_of_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = a_file(directory.path(), b"Secret+Of/Many-Letters", 0o600);
        let keeper = TokenKeeper::open(Some(&file)).unwrap();
        let check = |keeper: &TokenKeeper| {
            for (text, expected) in [
                ("x Secret+Of/Many-Letters y", "x [token] y"),
                ("Bearer secret+of/many-letters", "Bearer [token]"),
                ("http://e/?t=Secret%2BOf%2FMany-Letters&u", "http://e/?t=[token]&u"),
                ("secret+of/many-letter", "secret+of/many-letter"),
            ] {
                assert_eq!(keeper.redacted(text), expected);
                assert_eq!(keeper.redacted_bytes(text.as_bytes().to_vec()), expected.as_bytes());
            }
        };
        check(&keeper);
        fs::write(&file, "token").unwrap();
        assert!(keeper.newer_than(None).is_some());
        check(&keeper);
        assert_eq!(keeper.redacted("a token"), "a [token]");
        // A word that names an instance is no echo.
        assert_eq!(keeper.redacted_bytes(b"{\"tokens\": 1}".to_vec()), b"{\"tokens\": 1}");
    }

    #[test]
    fn a_token_goes_over_tls_or_nowhere_else() {
        for (origin, private) in [
            ("https://h:1", true),
            ("http://localhost:1", true),
            ("http://127.0.0.9", true),
            ("http://[::1]:1", true),
            ("http://h:1", false),
            ("http://127.evil.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_private(origin), private, "{origin}");
        }
    }
}

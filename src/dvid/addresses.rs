//! The addresses of a server's name, asked for once and again after they have failed.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A connection is tried for at least so long at each address.
const SHORTEST_TRY: Duration = Duration::from_millis(10);

/// Where a server is: the address that last worked stands first.
#[derive(Debug)]
pub(super) struct Addresses {
    host: String,
    port: u16,
    /// Guards nothing but the list: neither the resolver nor a connection is waited for under it.
    known: Mutex<Vec<SocketAddr>>,
}

impl Addresses {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, known: Mutex::default() }
    }

    /// Connects with `dial` to the first address that answers within its part of the time; all together get `limit`.
    ///
    /// # Errors
    /// If the name has no address, or none of them answers: then the name is looked up anew next time.
    pub(super) fn connect<T, E: From<io::Error>>(
        &self,
        limit: Duration,
        mut dial: impl FnMut(SocketAddr, Duration) -> Result<T, E>,
    ) -> Result<T, E> {
        let deadline = Instant::now() + limit;
        let mut addresses = self.known().clone();
        if addresses.is_empty() {
            addresses = self.resolve(limit)?;
        }
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address").into();
        for (position, &address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - position).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match dial(address, share.max(SHORTEST_TRY)) {
                Ok(connection) => {
                    addresses[..=position].rotate_right(1);
                    *self.known() = addresses;
                    return Ok(connection);
                }
                Err(error) => failure = error,
            }
        }
        self.known().clear();
        Err(failure)
    }

    /// Looks the name up in a thread of its own, since a silent resolver cannot be interrupted. The thread ends when
    /// the resolver gives up, and nobody waits for it.
    fn resolve(&self, limit: Duration) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let (tell, told) = mpsc::sync_channel(1);
        let name = (self.host.clone(), self.port);
        thread::Builder::new().name("resolve".to_owned()).spawn(move || {
            // A failure to send means that nobody waits any longer.
            let _ = tell.send(name.to_socket_addrs().map(Iterator::collect));
        })?;
        told.recv_timeout(limit).map_err(|_| io::Error::new(io::ErrorKind::TimedOut, SilentResolver))?
    }

    fn known(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        // A list is whole even if a thread panicked that held it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resolver did not answer in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the resolver is silent")]
struct SilentResolver;

/// Whether the resolver did not answer in time.
pub(super) fn is_silent_resolver(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<SilentResolver>())
}

/// Whether the resolver failed to answer, for whatever reason.
pub(super) fn is_unresolved(error: &io::Error) -> bool {
    error.to_string().contains("failed to lookup address information")
}

/// Whether the resolver says that there is no such name, which it may also be too busy to know.
///
/// The standard library hands on no code, only its words: those of glibc and of musl.
pub(super) fn is_unknown_host(error: &io::Error) -> bool {
    let said = error.to_string();
    ["Name or service not known", "No address associated with hostname", "Name does not resolve"]
        .iter()
        .any(|words| said.contains(words))
}

/// Says that there are too few descriptors, if that is why no connection was made. More may be free later.
pub(super) fn note_descriptors(error: &dyn std::error::Error) {
    let said = error.to_string();
    if ["(os error 24)", "(os error 23)"].iter().any(|code| said.contains(code)) {
        tracing::warn!(target: "dvidfs", code = "fd_limit", cause = %said, "allow more open files (ulimit -n)");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connect(addresses: &Addresses) -> io::Result<TcpStream> {
        addresses.connect(Duration::from_secs(5), |address, limit| TcpStream::connect_timeout(&address, limit))
    }

    #[test]
    fn the_address_that_answers_is_tried_first_from_then_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let addresses = Addresses::new("two.example", 1);
        *addresses.known() = vec![dead, good];
        assert_eq!(connect(&addresses).unwrap().peer_addr().unwrap(), good);
        assert_eq!(*addresses.known(), [good, dead]);
    }

    #[test]
    fn addresses_that_all_fail_are_forgotten() {
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let addresses = Addresses::new("127.0.0.1", dead.port());
        *addresses.known() = vec![dead];
        assert!(connect(&addresses).is_err());
        assert!(addresses.known().is_empty());
        let _listener = TcpListener::bind(dead).unwrap();
        assert!(connect(&addresses).is_ok());
    }

    #[test]
    fn a_name_that_nobody_has_is_told_from_a_resolver_that_cannot_say() {
        let of = |words: &str| is_unknown_host(&io::Error::other(words.to_owned()));
        assert!(of("failed to lookup address information: Name or service not known"));
        assert!(!of("failed to lookup address information: Temporary failure in name resolution"));
        assert!(!of("Connection refused (os error 111)"));
    }

    #[test]
    fn a_name_is_resolved() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = Addresses::new("localhost", listener.local_addr().unwrap().port());
        assert!(connect(&addresses).is_ok());
    }
}

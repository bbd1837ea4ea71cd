//! Why a secure connection was not made, in words that say what to do. The only file that names the TLS library.

use std::io;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, Error, InvalidMessage};

use super::server_time::{date_of_unix_seconds, now_seconds};

/// The certificates (DER) of a PEM text.
///
/// # Errors
/// Why, if it holds none, or anything that cannot be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        found.push(certificate.map_err(|error| error.to_string())?.to_vec());
    }
    if found.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(found) }
}

/// What is wrong with the server's TLS, if this error says so and no further try can mend it.
///
/// A record that came damaged is no such fault: the next connection may bring it whole.
pub(super) fn tls_failure(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    words_of(error, now_seconds())
}

/// Whether TLS failed, for good or for once.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<Error>())
}

#[allow(clippy::wildcard_enum_match_arm)] // the library's list of errors is open
fn words_of(error: &Error, now: i64) -> Option<String> {
    let what_to_do = match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return Some("the server speaks no TLS: write http:// in place of https://".to_owned());
        }
        Error::InvalidCertificate(why) => certificate(why, now),
        Error::NoCertificatesPresented | Error::UnsupportedNameType => {
            "ask who runs the server for a certificate".into()
        }
        Error::PeerIncompatible(_) | Error::AlertReceived(_) | Error::NoApplicationProtocol => {
            "server and program share no version of TLS: ask who runs the server for TLS 1.2 or newer".into()
        }
        _ => return None,
    };
    Some(format!("{error}: {what_to_do}"))
}

#[allow(clippy::wildcard_enum_match_arm)] // as above
fn certificate(why: &CertificateError, now: i64) -> String {
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => format!(
            "by the clock of this machine it is {}: correct the clock, or ask who runs the server for a new certificate",
            date_of_unix_seconds(now)
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use the name that the certificate is for".into()
        }
        // A server that signs for itself mostly signs as an authority, which no server may be.
        CertificateError::UnknownIssuer | CertificateError::Other(_) => {
            "only certificates of public authorities are believed, or of those that --cacert FILE names".into()
        }
        _ => "ask who runs the server for another certificate".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_that_lasts_says_what_to_do() {
        let of = |error: Error| words_of(&error, 1_764_000_000);
        for (error, words) in [
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "write http://"),
            (Error::InvalidCertificate(CertificateError::Expired), "it is 2025-11-24: correct the clock"), // C1
            (Error::InvalidCertificate(CertificateError::NotValidYet), "correct the clock"),
            (Error::InvalidCertificate(CertificateError::NotValidForName), "use the name"), // C2
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "public authorities"), // C3
            (Error::InvalidCertificate(CertificateError::Revoked), "another certificate"),
            (Error::AlertReceived(rustls::AlertDescription::ProtocolVersion), "TLS 1.2 or newer"), // C4
        ] {
            let said = of(error).unwrap();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_damaged_record_is_worth_another_try() {
        assert_eq!(words_of(&Error::DecryptError, 0), None); // C8
        assert_eq!(tls_failure(&io::Error::from(io::ErrorKind::UnexpectedEof)), None); // C5
    }
}

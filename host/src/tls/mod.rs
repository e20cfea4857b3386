//! TLS for both sides: from files to what the data path needs. The only place that builds rustls
//! configurations.
//!
//! Everything here is made by the control plane, with a provider of cryptography named each time:
//! nothing depends on a default of the process. The data path gets `Arc`s and never reads a file.

pub mod ciphers; // which suites are offered
mod file; // what is in a file that the configuration names
mod certificate; // chains, keys, and whether they go together
mod facts; // what they say to operators
mod ordered; // those that were ordered, and those that prove a domain
mod ocsp; // responses, and whether they are worth stapling
mod choose; // by the name that a client asks for
mod resumption; // tickets and sessions, shared by all workers
mod verify; // the other side's certificate
pub(crate) mod peer; // what it says, as nginx's variables have it
pub(crate) mod server; // towards clients
pub(crate) mod client; // towards endpoints

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::config::model::{Cipher, TlsVersion};
use crate::config::problem::Problem;

pub(crate) use self::client::{ClientTls, SystemRoots};
pub(crate) use self::facts::CertificateFacts;
pub(crate) use self::ordered::{ACME_TLS, challenge, usable};
pub(crate) use self::server::ServerTls;
pub(crate) use self::verify::{is_self_signed, reason_with_number};

/// What is odd about files that can be used all the same: to be logged, and reported by
/// `waypost check`.
pub(crate) type Warnings = Vec<Problem>;

/// Whether bytes that begin with this one may be TLS: from 20 to 23 are its records (RFC 8446 section
/// 5.1), from 0x80 on SSL 2 to nginx, which is refused as TLS is. No request begins so.
pub(crate) fn may_be_tls(first: u8) -> bool {
    matches!(first, 20..=23 | 0x80..)
}

/// The cryptography of both sides, with the suites that a list allows: see [`ciphers::allowed`].
fn provider(ciphers: &[&'static Cipher]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = ciphers::allowed(ciphers, &provider.cipher_suites);
    Arc::new(provider)
}

fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    [
        (TlsVersion::Tls12, &rustls::version::TLS12),
        (TlsVersion::Tls13, &rustls::version::TLS13),
    ]
    .into_iter()
    .filter(|(version, _)| (min..=max).contains(version))
    .map(|(_, version)| version)
    .collect()
}

//! TLS for both sides: from files to what the data path needs. The only place that builds rustls
//! configurations.
//!
//! Everything here is made by the control plane, with a provider of cryptography named each time:
//! nothing depends on a default of the process. The data path gets `Arc`s and never reads a file.

pub mod ciphers; // what the suites are called
mod file; // what is in a file that the configuration names
mod certificate; // chains, keys, and whether they go together
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
use rustls::pki_types::ServerName;

use self::ciphers::Cipher;
use crate::config::model::TlsVersion;
use crate::config::problem::Problem;

pub(crate) use self::client::{ClientTls, SystemRoots};
pub(crate) use self::server::ServerTls;
pub(crate) use self::verify::reason_with_number;

/// What is odd about files that can be used all the same: to be logged, and reported by
/// `waypost check`.
pub(crate) type Warnings = Vec<Problem>;

/// Whether a server could be asked for, and verified, by this name or address.
pub(crate) fn is_server_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

/// The host of a server's address: `app.example` of `app.example:443`, `::1` of `[::1]:443`; none
/// of a unix socket.
pub(crate) fn host(server: &str) -> Option<&str> {
    if server.starts_with("unix:") {
        return None;
    }
    if let Some(rest) = server.strip_prefix('[') {
        return rest.split_once(']').map(|(host, _)| host);
    }
    Some(server.rsplit_once(':').map_or(server, |(host, _)| host))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_a_certificate_is_made_out_for() {
        for (address, expected) in [
            ("app.example", Some("app.example")),
            ("app.example:8443", Some("app.example")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("192.0.2.1:443", Some("192.0.2.1")),
            ("unix:/run/app.sock", None),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
    }
}

//! Cipher suites of the provider, by the names that the configuration has for them.

use rustls::SupportedCipherSuite;

use crate::config::model::{CIPHERS, Cipher, TlsVersion};

/// What a connection speaks, by OpenSSL's name.
pub(crate) fn openssl_name(suite: SupportedCipherSuite) -> Option<&'static str> {
    let known = CIPHERS.iter().find(|cipher| cipher.suite == suite.suite());
    known.map(|cipher| cipher.openssl)
}

/// Those of a provider that a list allows: of a version of which it names none, all.
pub(super) fn allowed(
    ciphers: &[&'static Cipher],
    offered: &[SupportedCipherSuite],
) -> Vec<SupportedCipherSuite> {
    let version = |suite: &SupportedCipherSuite| match suite {
        SupportedCipherSuite::Tls12(_) => TlsVersion::Tls12,
        SupportedCipherSuite::Tls13(_) => TlsVersion::Tls13,
    };
    let named = ciphers.iter().filter_map(|cipher| {
        let mut offered = offered.iter();
        offered.find(|suite| suite.suite() == cipher.suite)
    });
    let unnamed = offered.iter().filter(|suite| {
        let version = version(suite);
        ciphers.iter().all(|cipher| cipher.version != version)
    });
    named.chain(unnamed).copied().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use crate::config::model::CIPHERS;

    fn offered() -> Vec<SupportedCipherSuite> {
        rustls::crypto::aws_lc_rs::default_provider().cipher_suites
    }

    #[test]
    fn every_suite_of_the_provider_has_a_name_and_no_name_stands_for_nothing() {
        let named: Vec<_> = CIPHERS.iter().map(|cipher| cipher.suite).collect();
        let offered: Vec<_> = offered().iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(named, offered);
    }

    #[test]
    fn a_version_of_which_no_suite_is_named_keeps_all_of_them() {
        let only = [Cipher::by_name("ECDHE-RSA-AES128-GCM-SHA256").unwrap()];
        let allowed = allowed(&only, &offered());
        assert_eq!(allowed.len(), 4);
        assert_eq!(allowed[0].suite(), only[0].suite);
    }
}

//! Cipher suites by their names: IANA's, which TLS 1.3 users know, and OpenSSL's, which stand in
//! `ssl_ciphers`.

use rustls::CipherSuite;

use super::TlsVersion;

/// A suite that can be spoken. All of them have forward secrecy and authenticated encryption; there
/// are no others here.
#[derive(Debug)]
pub struct Cipher {
    /// What rustls knows it by.
    pub suite: CipherSuite,
    pub version: TlsVersion,
    /// IANA's name.
    pub name: &'static str,
    /// OpenSSL's name, as `$ssl_cipher` has it.
    pub openssl: &'static str,
}

impl PartialEq for Cipher {
    fn eq(&self, other: &Cipher) -> bool {
        self.suite == other.suite
    }
}

const fn tls13(suite: CipherSuite, name: &'static str) -> Cipher {
    Cipher {
        suite,
        version: TlsVersion::Tls13,
        name,
        openssl: name,
    }
}

const fn tls12(suite: CipherSuite, name: &'static str, openssl: &'static str) -> Cipher {
    Cipher {
        suite,
        version: TlsVersion::Tls12,
        name,
        openssl,
    }
}

/// In the order in which they are preferred.
pub static CIPHERS: [Cipher; 9] = [
    tls13(
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        "TLS_AES_256_GCM_SHA384",
    ),
    tls13(
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_128_GCM_SHA256",
    ),
    tls13(
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    tls12(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    tls12(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    tls12(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    tls12(
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    tls12(
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    tls12(
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

impl Cipher {
    /// The suite of a name of either kind; case does not matter.
    pub fn by_name(name: &str) -> Option<&'static Cipher> {
        CIPHERS.iter().find(|cipher| {
            cipher.name.eq_ignore_ascii_case(name) || cipher.openssl.eq_ignore_ascii_case(name)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_found_by_either_name() {
        let cipher = Cipher::by_name("ecdhe-rsa-aes128-gcm-sha256").unwrap();
        assert_eq!(
            Cipher::by_name("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            Some(cipher)
        );
        assert_eq!(Cipher::by_name("AES128-SHA"), None);
    }
}

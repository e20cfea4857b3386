//! Which certificate is shown, by the name that a client asks for (RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Certificates {
    /// In the order of the configuration.
    keys: Vec<Arc<CertifiedKey>>,
    /// By name, in the same order.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// `*.example.com`, by `example.com`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
    /// Those for clients that name nobody, or somebody unknown.
    default: Vec<usize>,
}

impl Certificates {
    /// At least one, each with the names that it is shown for, in lower case.
    pub(super) fn new(certificates: Vec<(CertifiedKey, Vec<String>)>) -> Certificates {
        let mut chosen = Certificates {
            keys: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: Vec::new(),
        };
        let first: Vec<String> = certificates
            .first()
            .map_or(Vec::new(), |(_, names)| names.clone());
        for (index, (key, names)) in certificates.into_iter().enumerate() {
            chosen.keys.push(Arc::new(key));
            // One made out for the same, with another kind of key, goes with the first.
            if index == 0 || (!names.is_empty() && names == first) {
                chosen.default.push(index);
            }
            for name in names {
                let of_name = match name.strip_prefix("*.") {
                    Some(domain) => chosen.wildcard.entry(domain.into()).or_default(),
                    None => chosen.exact.entry(name.into()).or_default(),
                };
                of_name.push(index);
            }
        }
        chosen
    }

    /// The certificates of a name in lower case: exact before wildcard, which stands for one label (RFC 6125 section
    /// 6.4.3). None where the name is unknown.
    pub(super) fn of(&self, name: &str) -> Option<&[usize]> {
        let exact = self.exact.get(name);
        let found = exact.or_else(|| self.wildcard.get(name.split_once('.')?.1));
        found.map(Vec::as_slice)
    }

    /// As [`of`](Self::of), where there may be no name, or an unknown one.
    pub(super) fn of_any(&self, name: Option<&str>) -> &[usize] {
        name.and_then(|name| self.of(name)).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let indexes = self.of_any(name.as_deref());
        let keys = || indexes.iter().map(|index| &self.keys[*index]);
        let can_be_checked =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // Where none can, the handshake fails with the words for it.
        keys()
            .find(can_be_checked)
            .or_else(|| keys().next())
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::SignatureAlgorithm;
    use rustls::SignatureScheme;
    use rustls::sign::{Signer, SigningKey};

    #[derive(Debug)]
    struct NoKey;

    impl SigningKey for NoKey {
        fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            None
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::ED25519
        }
    }

    fn certificates(names: &[&[&str]]) -> Certificates {
        let of = |names: &&[&str]| {
            let key = CertifiedKey::new(Vec::new(), Arc::new(NoKey));
            (key, names.iter().map(|name| (*name).to_owned()).collect())
        };
        Certificates::new(names.iter().map(of).collect())
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_an_unknown_one_gets_the_first() {
        let all = certificates(&[
            &["a.example"],
            &["*.b.example"],
            &["x.b.example", "b.example"],
        ]);
        assert_eq!(all.of_any(Some("a.example")), [0]);
        assert_eq!(all.of_any(Some("y.b.example")), [1]);
        assert_eq!(all.of_any(Some("x.b.example")), [2]);
        assert_eq!(all.of_any(Some("b.example")), [2]);
        assert_eq!(all.of("c.example"), None);
        assert_eq!(all.of_any(Some("c.example")), [0]);
        assert_eq!(all.of_any(None), [0]);
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let all = certificates(&[&["*.example.com"]]);
        assert_eq!(all.of("a.example.com"), Some(&[0][..]));
        assert_eq!(all.of("a.b.example.com"), None);
        assert_eq!(all.of("example.com"), None);
    }

    #[test]
    fn certificates_of_one_name_stay_together() {
        let all = certificates(&[&["a.example"], &["b.example"], &["a.example"]]);
        assert_eq!(all.of_any(Some("a.example")), [0, 2]);
        assert_eq!(all.of_any(None), [0, 2]);
    }
}

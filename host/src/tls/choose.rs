//! Which certificate is shown, by the name that a client asks for (RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::end;
use super::facts::CertificateFacts;
use super::ocsp::Staple;

/// A certificate with its key, as it is shown.
#[derive(Debug)]
pub(super) struct Shown {
    key: Arc<CertifiedKey>,
    /// With an OCSP response, until it expires.
    stapled: Option<(Arc<CertifiedKey>, Option<UnixTime>)>,
}

impl Shown {
    pub(super) fn new(key: CertifiedKey, staple: Option<Staple>) -> Shown {
        let stapled = staple.map(|staple| {
            let ocsp = Some(staple.response);
            let key = CertifiedKey {
                ocsp,
                ..key.clone()
            };
            (Arc::new(key), staple.until)
        });
        Shown {
            key: Arc::new(key),
            stapled,
        }
    }

    /// When the certificate ends, in seconds since 1970.
    pub(super) fn end(&self) -> i64 {
        self.key.cert.first().map_or(0, end)
    }

    /// What the certificate says.
    pub(super) fn facts(&self) -> Option<CertificateFacts> {
        self.key.cert.first().and_then(CertificateFacts::of)
    }

    fn at(&self, now: UnixTime) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, until)) if until.is_none_or(|until| now <= until) => stapled,
            _ => &self.key,
        }
    }
}

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Certificates {
    /// In the order of the configuration.
    shown: Vec<Shown>,
    /// By name, in the same order.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// `*.example.com`, by `example.com`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
    /// Those for clients that send no server name (SNI), or an unknown one.
    default: Vec<usize>,
}

impl Certificates {
    /// Each with the names that it is shown for, in lower case.
    pub(super) fn new(certificates: Vec<(Shown, Vec<String>)>) -> Certificates {
        let mut chosen = Certificates {
            shown: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: Vec::new(),
        };
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        let first = certificates
            .first()
            .map_or(Vec::new(), |(_, names)| sorted(names));
        for (index, (shown, names)) in certificates.into_iter().enumerate() {
            chosen.shown.push(shown);
            // One made out for the same, with another kind of key, goes with the first.
            if index == 0 || (!names.is_empty() && sorted(&names) == first) {
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

    /// In the order of the configuration.
    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// The certificates of a name in lower case: exact before wildcard, which stands for one label
    /// (RFC 6125 section 6.4.3). None where the name is unknown.
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
        let keys = || indexes.iter().map(|index| &self.shown[*index]);
        let can_be_checked = |shown: &&Shown| {
            let schemes = hello.signature_schemes();
            shown.key.key.choose_scheme(schemes).is_some()
        };
        // Where none can, the handshake fails with the words for it.
        let shown = keys().find(can_be_checked).or_else(|| keys().next())?;
        Some(shown.at(UnixTime::now()).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            (
                Shown::new(key, None),
                names.iter().map(|name| (*name).to_owned()).collect(),
            )
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
    fn an_ocsp_response_is_stapled_until_it_expires() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let stapled = |until: Option<u64>, now| {
            let staple = Staple {
                response: vec![1],
                until: until.map(at),
            };
            let key = CertifiedKey::new(Vec::new(), Arc::new(NoKey));
            Shown::new(key, Some(staple)).at(at(now)).ocsp.is_some()
        };
        assert!(stapled(Some(5), 5));
        assert!(!stapled(Some(5), 6));
        assert!(stapled(None, 6));
    }

    #[test]
    fn certificates_of_one_name_stay_together() {
        let all = certificates(&[
            &["a.example", "www.a.example"],
            &["b.example"],
            &["www.a.example", "a.example"],
        ]);
        assert_eq!(all.of_any(Some("a.example")), [0, 2]);
        assert_eq!(all.of_any(None), [0, 2]);
    }
}

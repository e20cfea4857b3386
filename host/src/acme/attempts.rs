//! What has failed is remembered across starts: a process that is started again and again, by a
//! supervisor or in despair, orders no more often than one that goes on.
//!
//! A file of the store, which may be missing or nonsense: then nothing has failed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{renewal, store};
use crate::config::model::AcmeAuthority;
use crate::file::read_regular;

/// Bytes of the file.
const MOST: u64 = 4 << 20;
/// Domains in it; of more, the oldest failures are forgotten.
const MOST_DOMAINS: usize = 1000;
/// Characters of an error.
const MOST_OF_ERROR: usize = 1000;
/// Seconds after which a failure is of no account.
const OLD: i64 = 7 * 86_400;

/// What has failed at an authority.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// A digest of what the configuration says of the authority: what has failed with other words may
    /// be mended.
    settings: String,
    pub(super) authority: Option<Failed>,
    pub(super) domains: BTreeMap<String, Failed>,
}

/// A failure. Moments are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    at: i64,
    /// How often in a row.
    pub(super) failures: u32,
    /// It is not tried before; none where the authority as a whole is not.
    next: Option<i64>,
    pub(super) error: String,
}

impl Failed {
    pub(super) fn now(failures: u32, next: Option<i64>, error: &str) -> Failed {
        Failed {
            at: renewal::now(),
            failures,
            next,
            error: error.chars().take(MOST_OF_ERROR).collect(),
        }
    }

    /// How many seconds it is left alone. Whatever the file and the clock say: no longer than an
    /// authority may ask for.
    pub(super) fn left(&self) -> Option<u64> {
        let left = self.next?.saturating_sub(renewal::now());
        let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
        Some(left.min(renewal::LONGEST_ASKED.as_secs()))
    }
}

impl Attempts {
    /// Those of an authority. Waits for the disk.
    pub(super) fn read(authority: &AcmeAuthority) -> Attempts {
        let settings = fingerprint(authority);
        let known = read_regular(&path(authority), MOST).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<Attempts>(&bytes).ok());
        match known {
            Some(known) if known.settings == settings => known,
            _ => Attempts {
                settings,
                ..Attempts::default()
            },
        }
    }

    /// Changes what is remembered, of whatever other processes have written meanwhile. Only whoever has
    /// the lock does. Waits for the disk.
    pub(super) fn change(authority: &AcmeAuthority, change: impl FnOnce(&mut Attempts)) {
        let mut attempts = Attempts::read(authority);
        let before = (attempts.authority.clone(), attempts.domains.clone());
        change(&mut attempts);
        attempts.forget_old();
        if before == (attempts.authority.clone(), attempts.domains.clone()) {
            return;
        }
        let bytes = serde_json::to_vec_pretty(&attempts).unwrap_or_default();
        if let Err(error) = store::write(&path(authority), &bytes) {
            // The store is told of with each order that cannot be written.
            tracing::debug!("what has failed is not remembered: {error}");
        }
    }

    fn forget_old(&mut self) {
        let since = renewal::now() - OLD;
        self.domains.retain(|_, failed| failed.at > since);
        let excess = self.domains.len().saturating_sub(MOST_DOMAINS);
        let mut oldest: Vec<(i64, String)> = match excess {
            0 => return,
            _ => {
                let all = self.domains.iter();
                all.map(|(domain, failed)| (failed.at, domain.clone()))
                    .collect()
            }
        };
        oldest.sort_unstable();
        for (_, domain) in oldest.into_iter().take(excess) {
            self.domains.remove(&domain);
        }
    }
}

fn path(authority: &AcmeAuthority) -> PathBuf {
    authority.folder().join("attempts.json")
}

fn fingerprint(authority: &AcmeAuthority) -> String {
    let eab = authority.eab.as_ref();
    let ca = authority.trusted_certificate.as_ref();
    let challenges = authority.challenges.iter().map(|kind| kind.spelling());
    let said = format!(
        "{:?}",
        (
            &authority.directory,
            &authority.email,
            eab.map(|eab| (&eab.kid, &eab.key)),
            ca.map(|file| &file.path),
            challenges.collect::<Vec<_>>(),
        )
    );
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, said.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::model::{AcmeStore, ChallengeKind};

    fn authority(store: &std::path::Path) -> AcmeAuthority {
        AcmeAuthority {
            directory: "https://acme.example/directory".to_owned(),
            email: None,
            eab: None,
            trusted_certificate: None,
            challenges: vec![ChallengeKind::Http01],
            store: AcmeStore::new(store.to_owned()),
        }
    }

    #[test]
    fn what_has_failed_is_read_again_unless_the_configuration_says_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = authority(directory.path());
        let failed = Failed::now(3, Some(renewal::now() + 100), &"x".repeat(9000));
        assert_eq!(failed.error.len(), MOST_OF_ERROR);
        let of = failed.clone();
        Attempts::change(&authority, |all| {
            all.domains.insert("a.example".to_owned(), of);
        });
        let read = Attempts::read(&authority);
        assert_eq!(read.domains["a.example"], failed);
        assert!((98..=100).contains(&read.domains["a.example"].left().unwrap()));
        let mode = std::fs::metadata(path(&authority)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        authority.email = Some("ops@example.com".to_owned());
        assert!(Attempts::read(&authority).domains.is_empty());
    }

    #[test]
    fn a_file_of_nonsense_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let authority = authority(directory.path());
        store::write(&path(&authority), b"{\"domains\": 7").unwrap();
        assert!(Attempts::read(&authority).domains.is_empty());
        // Nor does a clock that was wrong.
        let failed = Failed::now(u32::MAX, Some(i64::MAX), "");
        assert_eq!(failed.left(), Some(24 * 3600));
        assert_eq!(Failed::now(1, Some(i64::MIN), "").left(), None);
    }

    #[test]
    fn the_file_is_bounded_and_forgets_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let authority = authority(directory.path());
        Attempts::change(&authority, |all| {
            for number in 0..MOST_DOMAINS + 10 {
                let mut failed = Failed::now(1, None, "");
                failed.at += i64::try_from(number).unwrap();
                all.domains.insert(format!("{number}.example"), failed);
            }
            let mut old = Failed::now(1, None, "");
            old.at -= OLD;
            all.domains.insert("old.example".to_owned(), old);
        });
        let kept = Attempts::read(&authority).domains;
        assert_eq!(kept.len(), MOST_DOMAINS);
        assert!(!kept.contains_key("9.example") && kept.contains_key("10.example"));
        assert!(!kept.contains_key("old.example"));
    }
}

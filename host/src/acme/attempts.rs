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

use super::failure::one_line;
use super::{renewal, store};
use crate::config::model::{AcmeAuthority, KeyType};
use crate::file::read_regular;

/// Bytes of the file.
const MOST: u64 = 4 << 20;
/// Domains in it; of more, the oldest failures are forgotten.
const MOST_DOMAINS: usize = 1000;
/// Characters of an error.
const MOST_OF_ERROR: usize = 1000;
/// Seconds after which a failure is of no account.
const OLD: i64 = 7 * 86_400;
/// Seconds that another machine's clock may be ahead by.
const AHEAD: i64 = 300;

/// What has failed at an authority.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempts {
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
    /// None of an authority, where it is that of a domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
    /// An order had begun: a failure once whoever has the lock finds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_under_way: bool,
    /// Orders in a row that came too early; no failures.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) early: u32,
    /// See [`fingerprint`].
    settings: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Failed {
    pub(super) fn now(failures: u32, next: Option<i64>, error: &str, settings: String) -> Failed {
        Failed {
            at: renewal::now(),
            failures,
            next,
            error: one_line(error, MOST_OF_ERROR),
            is_under_way: false,
            early: 0,
            settings,
        }
    }

    /// Besides, so many orders in a row came too early.
    pub(super) fn early(self, early: u32) -> Failed {
        Failed { early, ..self }
    }

    /// An order that begins; what is kept of it if nobody comes to tell how it ended.
    pub(super) fn begun(failures: u32, settings: String) -> Failed {
        let pause = renewal::pause(failures, None).as_secs();
        let next = renewal::now().saturating_add(i64::try_from(pause).unwrap_or(i64::MAX));
        let error = "the process ended while the order was under way";
        Failed {
            is_under_way: true,
            ..Failed::now(failures, Some(next), error, settings)
        }
    }

    /// How many seconds it is left alone. Whatever the file and the clock say: no longer than an
    /// authority may ask for.
    pub(super) fn left(&self) -> Option<u64> {
        let left = self.next?.saturating_sub(renewal::now());
        let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
        Some(left.min(renewal::LONGEST_ASKED.as_secs()))
    }

    /// Whether it was later than a certificate's file was written.
    pub(super) fn is_since(&self, written: i64) -> bool {
        self.at >= written
    }

    /// Whether it came of these settings.
    pub(super) fn is_of(&self, settings: &str) -> bool {
        self.settings == settings
    }

    fn is_of_account(&self) -> bool {
        let now = renewal::now();
        (now - OLD..=now + AHEAD).contains(&self.at)
    }
}

impl Attempts {
    /// Those of an authority, also of processes with other settings. Waits for the disk.
    pub(super) fn read(authority: &AcmeAuthority) -> Attempts {
        let known = read_regular(&path(authority), MOST).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<Attempts>(&bytes).ok());
        let mut known = known.unwrap_or_default();
        known.authority = known.authority.filter(Failed::is_of_account);
        known.domains.retain(|_, failed| failed.is_of_account());
        for failed in known.domains.values_mut() {
            failed.error = one_line(&failed.error, MOST_OF_ERROR);
        }
        known
    }

    /// Changes what is remembered, of whatever other processes have written meanwhile. Only whoever has
    /// the lock does. Waits for the disk.
    pub(super) fn change(authority: &AcmeAuthority, change: impl FnOnce(&mut Attempts)) {
        let mut attempts = Attempts::read(authority);
        let before = attempts.clone();
        change(&mut attempts);
        attempts.forget_oldest();
        if before == attempts {
            return;
        }
        let bytes = serde_json::to_vec_pretty(&attempts).unwrap_or_default();
        if let Err(error) = store::write(&path(authority), &bytes) {
            // The store is told of with each order that cannot be written.
            tracing::debug!("what has failed is not remembered: {error}");
        }
    }

    fn forget_oldest(&mut self) {
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

/// A digest of what the configuration says of the authority, and of a domain's key: what has failed
/// with other words may be mended.
pub(super) fn fingerprint(authority: &AcmeAuthority, key_type: Option<KeyType>) -> String {
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
            key_type.map(KeyType::spelling),
        )
    );
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, said.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::model::tests_authority as authority;

    fn failed(failures: u32, next: Option<i64>, error: &str) -> Failed {
        Failed::now(failures, next, error, String::new())
    }

    #[test]
    fn what_has_failed_is_read_again_with_whose_settings_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = authority(directory.path());
        let own = fingerprint(&authority, None);
        let next = Some(renewal::now() + 100);
        let failed = Failed::now(3, next, &"x".repeat(9000), own.clone());
        assert!(failed.error.len() < MOST_OF_ERROR + 10);
        let of = failed.clone();
        Attempts::change(&authority, |all| {
            all.domains.insert("a.example".to_owned(), of);
        });
        let read = Attempts::read(&authority);
        assert_eq!(read.domains["a.example"], failed);
        assert!(read.domains["a.example"].left().unwrap() <= 100);
        let mode = std::fs::metadata(path(&authority)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(failed.is_of(&own));
        assert!(!failed.is_of(&fingerprint(&authority, Some(KeyType::Rsa2048))));
        // A process with other settings leaves it there.
        authority.email = Some("ops@example.com".to_owned());
        let other = fingerprint(&authority, None);
        assert!(!failed.is_of(&other));
        Attempts::change(&authority, |all| {
            let failed = Failed::now(1, None, "", other);
            all.domains.insert("b.example".to_owned(), failed);
        });
        assert_eq!(Attempts::read(&authority).domains["a.example"], failed);
    }

    #[test]
    fn a_file_of_nonsense_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let authority = authority(directory.path());
        store::write(&path(&authority), b"{\"domains\": 7").unwrap();
        assert!(Attempts::read(&authority).domains.is_empty());
        // Nor does a clock that was wrong.
        let wrong = failed(u32::MAX, Some(i64::MAX), "");
        assert_eq!(wrong.left(), Some(24 * 3600));
        assert_eq!(failed(1, Some(i64::MIN), "").left(), None);
        let mut far = (failed(1, None, ""), failed(1, None, ""));
        (far.0.at, far.1.at) = (i64::MAX, i64::MIN);
        assert!(!far.0.is_of_account() && !far.1.is_of_account());
    }

    #[test]
    fn what_is_read_is_recent_and_fit_to_be_shown() {
        let directory = tempfile::tempdir().unwrap();
        let authority = authority(directory.path());
        let (mut old, mut odd) = (failed(9, None, ""), failed(1, None, ""));
        old.at -= OLD + 1;
        odd.error = "\u{1b}[2J\n".to_owned() + &"x".repeat(9000);
        let attempts = Attempts {
            authority: Some(old.clone()),
            domains: [("old.example", old), ("odd.example", odd)]
                .map(|(name, failed)| (name.to_owned(), failed))
                .into(),
        };
        store::write(&path(&authority), &serde_json::to_vec(&attempts).unwrap()).unwrap();
        let read = Attempts::read(&authority);
        assert_eq!(read.authority, None);
        assert_eq!(read.domains.len(), 1);
        let error = &read.domains["odd.example"].error;
        assert!(error.starts_with(" [2J xx") && error.len() < MOST_OF_ERROR + 10);
    }

    #[test]
    fn the_file_is_bounded_and_forgets_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let authority = authority(directory.path());
        Attempts::change(&authority, |all| {
            for number in 0..MOST_DOMAINS + 10 {
                let mut failed = failed(1, None, "");
                failed.at -= i64::try_from(2 * MOST_DOMAINS - number).unwrap();
                all.domains.insert(format!("{number}.example"), failed);
            }
        });
        let kept = Attempts::read(&authority).domains;
        assert_eq!(kept.len(), MOST_DOMAINS);
        assert!(!kept.contains_key("9.example") && kept.contains_key("10.example"));
    }
}

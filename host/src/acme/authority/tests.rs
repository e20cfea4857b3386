//! What is remembered of failures, without an authority that is asked.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::config::model::tests_authority;

const DOMAIN: &str = "a.example";

fn settings(store: &std::path::Path) -> Arc<AcmeAuthority> {
    Arc::new(tests_authority(store))
}

/// A process that starts, and follows one domain.
fn started(settings: &Arc<AcmeAuthority>, key_type: KeyType) -> Authority {
    let shared = Shared::new(unbounded_channel().0);
    let mut authority = Authority::new(settings.clone(), shared);
    authority.follow(DOMAIN.to_owned(), followed(settings, key_type));
    authority
}

fn followed(settings: &AcmeAuthority, key_type: KeyType) -> Followed {
    let file = settings.folder().join("a.example.pem");
    Followed { file, key_type }
}

fn fails(authority: &mut Authority, failure: Failure) {
    assert!(authority.failed(DOMAIN, failure).is_err());
    authority.remember(DOMAIN);
}

#[test]
fn failures_are_counted_up_to_a_bound() {
    let store = tempfile::tempdir().unwrap();
    let settings = settings(store.path());
    let mut authority = started(&settings, KeyType::Ecdsa);
    authority.failures = u32::MAX;
    authority.certificates.get_mut(DOMAIN).unwrap().failures = u32::MAX;
    fails(&mut authority, Failure::of_authority("not there"));
    fails(&mut authority, Failure::of_domain("no"));
    authority.succeeded(DOMAIN);
    let mut next = started(&settings, KeyType::Ecdsa);
    assert_eq!(next.failures, u32::MAX);
    fails(&mut next, Failure::of_domain("no"));
    assert_eq!(next.certificates[DOMAIN].failures, u32::MAX);
}

#[test]
fn another_type_of_key_ends_a_pause_by_reload_and_by_start() {
    let store = tempfile::tempdir().unwrap();
    let settings = settings(store.path());
    let mut authority = started(&settings, KeyType::Rsa2048);
    fails(&mut authority, Failure::of_domain("no such keys"));
    let is_held = |authority: &Authority| authority.certificates[DOMAIN].held_until.is_some();
    assert!(is_held(&started(&settings, KeyType::Rsa2048)));
    assert!(!is_held(&started(&settings, KeyType::Ecdsa)));
    assert!(is_held(&authority));
    let other = followed(&settings, KeyType::Ecdsa);
    authority.follow(DOMAIN.to_owned(), other);
    assert!(!is_held(&authority) && authority.next_due().is_some());
}

#[test]
fn processes_that_differ_keep_what_the_others_remember() {
    let store = tempfile::tempdir().unwrap();
    let one = settings(store.path());
    let mut other = (*one).clone();
    other.email = Some("ops@example.com".to_owned());
    let other = Arc::new(other);
    let mut failing = started(&one, KeyType::Ecdsa);
    fails(&mut failing, Failure::of_authority("no such account"));
    let mut going = started(&other, KeyType::Ecdsa);
    assert_eq!((going.failures, going.held_until), (0, None));
    going.succeeded(DOMAIN);
    going.remember(DOMAIN);
    assert!(started(&one, KeyType::Ecdsa).held_until.is_some());
}

#[test]
fn what_was_written_since_a_failure_ends_its_pause() {
    let store = tempfile::tempdir().unwrap();
    let settings = settings(store.path());
    let file = followed(&settings, KeyType::Ecdsa).file;
    store::write(&file, b"a certificate").unwrap();
    let mut authority = started(&settings, KeyType::Ecdsa);
    fails(&mut authority, Failure::of_domain("no"));
    let is_held = || {
        let authority = started(&settings, KeyType::Ecdsa);
        authority.certificates[DOMAIN].held_until.is_some()
    };
    assert!(is_held());
    let later = SystemTime::now() + Duration::from_secs(10);
    let opened = std::fs::OpenOptions::new().write(true).open(&file);
    opened.unwrap().set_modified(later).unwrap();
    assert!(!is_held());
}

#[test]
fn an_order_that_was_under_way_when_its_process_died_is_a_failure_and_one_given_up_is_none() {
    let store = tempfile::tempdir().unwrap();
    let settings = settings(store.path());
    let dying = started(&settings, KeyType::Ecdsa);
    let begun = dying.begin(DOMAIN);
    // As long as the lock is held, nobody knows.
    let mut next = started(&settings, KeyType::Ecdsa);
    assert_eq!(next.next_due().as_deref(), Some(DOMAIN));
    assert!(next.was_interrupted(DOMAIN));
    assert_eq!(
        (next.next_due(), next.certificates[DOMAIN].failures),
        (None, 1)
    );
    // Who asks for it is not kept waiting.
    let asker = oneshot::channel().0;
    next.hear(Told::Renew(DOMAIN.to_owned(), asker));
    assert!(!next.was_interrupted(DOMAIN));
    drop(begun);
    let mut next = started(&settings, KeyType::Ecdsa);
    assert!(!next.was_interrupted(DOMAIN));
}

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
    assert!(next.is_left_alone(DOMAIN));
    assert_eq!(
        (next.next_due(), next.certificates[DOMAIN].failures),
        (None, 1)
    );
    // Who asks for it is not kept waiting.
    let asker = oneshot::channel().0;
    next.hear(Told::Renew(DOMAIN.to_owned(), asker));
    assert!(!next.is_left_alone(DOMAIN));
    drop(begun);
    let mut next = started(&settings, KeyType::Ecdsa);
    assert!(!next.is_left_alone(DOMAIN));
}

/// A certificate that began and ends so many seconds from now, that nothing holds up and that its
/// window wants renewed.
fn wanted_by_its_window(authority: &mut Authority, (begins, ends): (i64, i64)) -> &mut Certificate {
    let (certificate, now) = (
        authority.certificates.get_mut(DOMAIN).unwrap(),
        renewal::now(),
    );
    certificate.facts = Some(CertificateFacts {
        key_type: Some(KeyType::Ecdsa),
        names: Vec::new(),
        issuer: String::new(),
        not_before: now + begins,
        not_after: now + ends,
        serial: Vec::new(),
        authority_key: None,
    });
    (certificate.suggested, certificate.held_until) = (Some(now - 1), None);
    certificate
}

#[test]
fn what_its_window_wants_again_and_again_is_left_alone_for_longer_and_longer_by_all_processes() {
    let store = tempfile::tempdir().unwrap();
    let settings = settings(store.path());
    let mut other = started(&settings, KeyType::Ecdsa);
    let mut authority = started(&settings, KeyType::Ecdsa);
    for (early, least) in [(1, 60), (2, 240), (3, 960)] {
        wanted_by_its_window(&mut authority, (-3600, 90 * 86_400));
        authority.succeeded(DOMAIN);
        authority.remember(DOMAIN);
        let certificate = &authority.certificates[DOMAIN];
        let held = certificate.held_until.unwrap() - Instant::now();
        assert!(held.as_secs() + 1 >= least && held.as_secs() < 2 * least);
        // It is no failure: the next order is answered as the one before.
        assert_eq!((certificate.early, certificate.failures), (early, 0));
        assert!(other.is_left_alone(DOMAIN));
        let (of_other, next) = (
            &other.certificates[DOMAIN],
            started(&settings, KeyType::Ecdsa),
        );
        let next = &next.certificates[DOMAIN];
        assert_eq!((of_other.early, next.early), (early, early));
        assert!(of_other.held_until.is_some() && next.held_until.is_some());
        assert!(of_other.last_error.is_none() && next.last_error.is_none());
    }
    // One that is renewed in its time is none of that.
    wanted_by_its_window(&mut authority, (-14 * 3600, 10 * 3600));
    authority.succeeded(DOMAIN);
    let certificate = &authority.certificates[DOMAIN];
    assert_eq!((certificate.early, certificate.held_until), (0, None));
}

#[test]
fn a_pause_does_not_outlast_the_time_at_which_its_life_has_it_renewed() {
    let store = tempfile::tempdir().unwrap();
    let mut authority = started(&settings(store.path()), KeyType::Ecdsa);
    wanted_by_its_window(&mut authority, (-600, 3000)).early = 100;
    // The one in its place has as long to live.
    authority.succeeded(DOMAIN);
    let held = authority.certificates[DOMAIN].held_until.unwrap() - Instant::now();
    assert!((1600..=1800).contains(&held.as_secs()), "{held:?}");
}

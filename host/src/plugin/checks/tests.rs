//! Hashes of other programs, and what the pool promises.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::watch;

use super::password_hash::PasswordHash;
use super::{CheckFailed, CheckHandle, CheckThreads, Queued, Work, answered, begin, share};

/// Far beyond what a check of these takes.
const LONG: Duration = Duration::from_secs(600);

/// Passwords and their hashes, by OpenSSL 3 (`passwd -apr1`, `-5`, `-6`), libxcrypt 4.4 (`crypt`)
/// and argon2's reference implementation (its `test.c`).
const HASHED: &[(&str, &str)] = &[
    ("secret", "$apr1$xxxxxxxx$/mULyOsdWlXlIt5U99q7h1"),
    ("", "$apr1$abc$BfqKdn9xFDWJPa3kcp/PH0"),
    (
        "a longer password, of more than sixteen bytes",
        "$apr1$12345678$4FM/O7GvV7X6OzrulktsR0",
    ),
    ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
    (
        "secret",
        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
    ),
    (
        "secret",
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq\
         .H91p5hVO1",
    ),
    (
        "secret",
        "$6$rounds=10000$saltstring$8BTo06G/5FoSytD1T0cp9b6u1/eLMbXRWR32saoSVCPI8HactmA7e1cC6THh4\
         kpvGWDoPyAxOz2Ig8bq3eay//",
    ),
    (
        "pässwörd",
        "$6$rounds=2000$sixteenbytessalt$Ux8mlPDYe6fSI7NmhqlLuEjAejdO0s/kpGXlD/d0M6hpVquirDR0B/Wh\
         q2WzJ..uDLvfhswoCy0tA7SpGzv4Y/",
    ),
    (
        "",
        "$6$saltsalt$qkTgsCrWMTAS9gBGcf9W60sFfH.hU0oTCAOJjhbz5tSp/sU3/xXZK4OFwCtq8lIIdpJ6CatVdOTS\
         HKp97TPkt/",
    ),
    (
        "secret",
        "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    ),
    (
        "secret",
        "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    ),
    (
        "secret",
        "$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
    ),
    (
        "password",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ),
    (
        "password",
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
    ),
];

fn belongs(password: &str, hash: &str) -> bool {
    let hash = PasswordHash::parse(hash).unwrap();
    hash.belongs_to(password.as_bytes()).unwrap()
}

#[test]
fn hashes_of_other_programs_belong_to_their_passwords_and_to_no_others() {
    for (password, hash) in HASHED {
        assert!(belongs(password, hash), "{hash}");
        for wrong in ["Secret", "secret ", "passwor"] {
            assert!(!belongs(wrong, hash), "{hash}");
        }
    }
}

#[test]
fn long_passwords_are_told_apart_as_far_as_their_format_goes() {
    let (long, longer) = ("x".repeat(100), "x".repeat(101));
    let sha = "$5$rounds=1000$s$oscHk3Y3kDrDktDAwrqjE5mbhU6gfkxaOUEhOrk6I06";
    assert!(belongs(&long, sha) && !belongs(&longer, sha));
    // bcrypt takes 72 bytes.
    let bcrypt = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
    assert!(belongs(&long, bcrypt) && belongs(&longer, bcrypt) && !belongs("x", bcrypt));
}

#[test]
fn no_password_beyond_the_bound_is_right() {
    let password = "x".repeat(513);
    let sha1 = format!("{{SHA}}{}", {
        use base64::Engine;
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            password.as_bytes(),
        );
        base64::prelude::BASE64_STANDARD.encode(digest)
    });
    assert!(!belongs(&password, &sha1));
}

#[test]
fn hashes_that_would_take_too_long_or_are_not_whole_are_refused() {
    let digest = "a".repeat(86);
    for refused in [
        "",
        "secret",
        "{SHA}",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/Bf==",
        "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
        "$2b$15$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2b$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2b$03$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2x$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIr",
        "$2b$04$äbcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIr",
        &format!("$6$rounds=1000001$salt${digest}"),
        &format!("$6$rounds=999$salt${digest}"),
        &format!("$6$rounds=$salt${digest}"),
        &format!("$6$seventeen-letters${digest}"),
        &format!("$6$salt${digest}$"),
        &format!("$5$salt${digest}"),
        "$6$salt",
        "$6$",
        "$5$",
        "$apr1$123456789$4FM/O7GvV7X6OzrulktsR0",
        "$apr1$12345678$4FM/O7GvV7X6OzrulktsR",
        "$apr1$12345678",
        "$argon2id$v=19$m=131073,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=65536,t=9,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=4294967295,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
        "$argon2id$v=19$m=256,t=2,p=17$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=256,t=2,p=1",
        "$argon2x$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ] {
        assert!(PasswordHash::parse(refused).is_err(), "{refused}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_check_panic(
        hash in "(\\$(2[aby]|5|6|apr1|argon2id)\\$|\\{SHA\\})?\\PC{0,80}", password: Vec<u8>,
    ) {
        if let Ok(hash) = PasswordHash::parse(&hash) {
            // Nothing that was made up belongs to what was made up.
            prop_assert_eq!(hash.belongs_to(&password), Some(false));
        }
    }

    #[test]
    fn a_hash_with_another_byte_belongs_to_no_password(
        which in 0..HASHED.len(), at: prop::sample::Index, byte in "[a-zA-Z0-9./$]",
    ) {
        let (password, hash) = HASHED[which];
        let at = at.index(hash.len());
        let mut changed = hash.to_owned();
        changed.replace_range(at..=at, &byte);
        // bcrypt's versions differ in what they do with passwords that are no ASCII; the last
        // character of a digest has bits that do not count.
        prop_assume!(changed != hash && at > 3 && at + 2 < hash.len());
        if let Ok(changed) = PasswordHash::parse(&changed) {
            prop_assert_eq!(changed.belongs_to(password.as_bytes()), Some(false));
        }
    }
}

#[tokio::test]
async fn a_check_is_done_on_another_thread_and_answers() {
    let hash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    assert_eq!(begin(hash, b"secret".to_vec()).await, Ok(true));
    assert_eq!(begin(hash, b"public".to_vec()).await, Ok(false));
    let refused = begin("plain", b"secret".to_vec()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the hash is not one that can be checked: it is not bcrypt, argon2, SHA-crypt, `$apr1$` or \
         `{SHA}`"
    );
}

#[tokio::test]
async fn a_check_that_panics_or_lacks_memory_fails_and_the_next_one_is_done() {
    let pool = CheckThreads::new(1, 4, LONG);
    let broken = pool.begin(Box::new(|| panic!("on purpose")));
    assert_eq!(broken.await, Err(CheckFailed::Broke));
    let starved = pool.begin(Box::new(|| None));
    assert_eq!(starved.await, Err(CheckFailed::Broke));
    assert_eq!(pool.begin(Box::new(|| Some(true))).await, Ok(true));
}

impl CheckThreads {
    fn begin(&self, work: Work) -> CheckHandle {
        match self.queue(work) {
            Ok(answer) => Box::pin(answered(Rc::new(answer))),
            Err(failed) => Box::pin(async { Err(failed) }),
        }
    }
}

/// A pool of one thread, which is busy until the sender is used.
fn busy_pool(places: usize) -> (CheckThreads, mpsc::Sender<()>) {
    let pool = CheckThreads::new(1, places, LONG);
    let (release, held) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let busy = pool.begin(Box::new(move || {
        begun.send(()).unwrap();
        held.recv().ok().map(|()| true)
    }));
    begins.recv().unwrap();
    drop(busy);
    (pool, release)
}

#[tokio::test]
async fn more_checks_than_the_queue_holds_are_refused_at_once() {
    let (pool, release) = busy_pool(2);
    let waiting = [true, false].map(|passed| pool.begin(Box::new(move || Some(passed))));
    let refused = pool.begin(Box::new(|| Some(true)));
    assert_eq!(refused.await, Err(CheckFailed::QueueFull));
    release.send(()).unwrap();
    let [first, second] = waiting;
    assert_eq!((first.await, second.await), (Ok(true), Ok(false)));
}

#[tokio::test]
async fn checks_that_nobody_waits_for_make_room_for_others() {
    let (pool, release) = busy_pool(2);
    let kept = pool.begin(Box::new(|| Some(false)));
    drop(pool.begin(Box::new(|| Some(true))));
    let next = pool.begin(Box::new(|| Some(true)));
    let refused = pool.begin(Box::new(|| Some(true)));
    assert_eq!(refused.await, Err(CheckFailed::QueueFull));
    release.send(()).unwrap();
    assert_eq!((kept.await, next.await), (Ok(false), Ok(true)));
}

#[tokio::test]
async fn a_check_that_nobody_waits_for_is_not_begun() {
    let (pool, release) = busy_pool(2);
    let (done, dones) = mpsc::channel();
    let cancelled = pool.begin(Box::new(move || done.send(()).ok().map(|()| true)));
    drop(cancelled);
    let last = pool.begin(Box::new(|| Some(true)));
    release.send(()).unwrap();
    assert_eq!(last.await, Ok(true));
    assert!(dones.recv().is_err(), "it was done");
}

#[tokio::test]
async fn a_check_that_waited_too_long_is_given_up() {
    let (answer, handle) = watch::channel(None);
    let late = Queued {
        work: Box::new(|| Some(true)),
        since: Instant::now().checked_sub(Duration::from_secs(11)).unwrap(),
        answer,
    };
    late.carry_out(super::LONGEST_WAIT);
    assert_eq!(answered(Rc::new(handle)).await, Err(CheckFailed::TooLate));
}

#[tokio::test]
async fn there_are_no_more_threads_than_there_may_be() {
    let pool = CheckThreads::new(2, 64, LONG);
    let (sender, threads) = mpsc::channel();
    let checks: Vec<_> = (0..32)
        .map(|_| {
            let sender = sender.clone();
            pool.begin(Box::new(move || {
                let thread = std::thread::current();
                sender
                    .send((thread.id(), thread.name().map(str::to_owned)))
                    .ok()?;
                Some(true)
            }))
        })
        .collect();
    for check in checks {
        assert_eq!(check.await, Ok(true));
    }
    drop(sender);
    let threads: std::collections::HashSet<_> = threads.iter().collect();
    assert!(threads.len() <= 2, "{threads:?}");
    assert!(
        threads
            .iter()
            .all(|(_, name)| name.as_deref() == Some("plugin-check"))
    );
}

#[tokio::test]
async fn those_who_ask_the_same_at_the_same_time_wait_for_one_check() {
    let (pool, release) = busy_pool(8);
    let (done, dones) = mpsc::channel();
    let ask = |key: &'static str| {
        let done = done.clone();
        let work: Work = Box::new(move || done.send(key).ok().map(|()| key == "right"));
        share(key.as_bytes(), || pool.queue(work))
    };
    let mut right: Vec<_> = (0..20).map(|_| ask("right")).collect();
    let wrong = [ask("wrong"), ask("wrong")];
    // The one who began it may leave.
    drop(right.remove(0));
    // What nobody waits for any more is begun anew by the next one.
    drop(ask("left"));
    let left = ask("left");
    release.send(()).unwrap();
    for check in right {
        assert_eq!(check.await, Ok(true));
    }
    for check in wrong {
        assert_eq!(check.await, Ok(false));
    }
    assert_eq!(left.await, Ok(false));
    // And what was answered is over.
    assert_eq!(ask("right").await, Ok(true));
    drop(done);
    let done: Vec<_> = dones.iter().collect();
    assert_eq!(done, ["right", "wrong", "left", "right"]);
}

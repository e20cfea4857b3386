//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use waypost_sdk::log::Level;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};
use waypost_sdk::{Hook, SettingsError, Sharing, Verdict};

use super::BasicAuth;
use super::credentials::Credentials;
use super::users::MOST_BYTES;

const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const OTHER: &str = "$2y$05$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="; // of "secret"
const FILE: &str = "htpasswd";
const SETTINGS: &str = r#"{"realm": "staff", "users_file": "htpasswd"}"#;

fn with_file(content: &str) -> Hooked<BasicAuth> {
    let services = Services::new().file(FILE, content);
    Hooked::with(services, SETTINGS, &["{}"]).unwrap_or_else(|error| panic!("{}", error.message))
}

fn with_users(users: &[(&str, &str)]) -> Hooked<BasicAuth> {
    with_file(
        &users
            .iter()
            .map(|(user, hash)| format!("{user}:{hash}\n"))
            .collect::<String>(),
    )
}

fn request(user: &str, password: &str) -> Request {
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    Request::get("/").header("Authorization", &format!("Basic {encoded}"))
}

/// Asks, and has the host answer the check as the password says, if there is one.
fn ask(hooked: &mut Hooked<BasicAuth>, user: &str, password: &str) -> (Verdict, HookExchange) {
    let mut exchange = hooked.exchange(request(user, password));
    let mut verdict = hooked.on_request(&mut exchange);
    while verdict == Verdict::Wait {
        verdict = hooked.on_check(&mut exchange, password == "secret");
    }
    (verdict, exchange)
}

fn waits(hooked: &mut Hooked<BasicAuth>, user: &str, password: &str) -> bool {
    let mut exchange = hooked.exchange(request(user, password));
    hooked.on_request(&mut exchange) == Verdict::Wait
}

fn assert_asked_for(exchange: &HookExchange, realm: &str) {
    assert_eq!(exchange.answer(), Some((401, "")));
    let challenge = format!("Basic realm=\"{realm}\"");
    assert_eq!(exchange.response_header("WWW-Authenticate"), [challenge]);
    assert_eq!(exchange.attribute("user"), None);
}

#[test]
fn without_credentials_they_are_asked_for() {
    let mut hooked = with_users(&[("ann", SHA)]);
    for header in [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic YW5u",
        "Basic OnNlY3JldA==",
        "Bearer YW5uOnNlY3JldA==",
    ] {
        let mut exchange = hooked.exchange(Request::get("/").header("Authorization", header));
        assert_eq!(
            hooked.on_request(&mut exchange),
            Verdict::Answer,
            "{header}"
        );
        assert_asked_for(&exchange, "staff");
        let line = "no user/password was provided for basic authentication".to_owned();
        assert_eq!(hooked.log_lines(), [(Level::Info, line)]);
    }
    let mut exchange = hooked.exchange(Request::get("/"));
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Answer);
}

#[test]
fn the_right_password_lets_in_and_names_the_user() {
    for hash in [
        SHA,
        BCRYPT,
        "{PLAIN}secret",
        "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
    ] {
        let mut hooked = with_users(&[("bob", SHA), ("ann", hash)]);
        let (verdict, exchange) = ask(&mut hooked, "ann", "secret");
        assert_eq!(verdict, Verdict::Proceed, "{hash}");
        assert_eq!(exchange.attribute("user").as_deref(), Some("ann"));
        assert!(exchange.response_header("WWW-Authenticate").is_empty());
        let (verdict, exchange) = ask(&mut hooked, "ann", "Secret");
        assert_eq!(verdict, Verdict::Answer, "{hash}");
        assert_asked_for(&exchange, "staff");
        let line = (Level::Error, "user \"ann\": password mismatch".to_owned());
        assert_eq!(hooked.log_lines(), [line]);
        assert_eq!(hooked.counter("refused"), 1);
    }
}

#[test]
fn the_host_is_given_the_hash_and_the_password_as_they_are() {
    let mut hooked = with_users(&[("ann", BCRYPT)]);
    let mut exchange = hooked.exchange(request("ann", "pass:wörd"));
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Wait);
    let asked = exchange.changed().check.clone();
    assert_eq!(asked, Some((BCRYPT.to_owned(), "pass:wörd".into())));
}

#[test]
fn an_unknown_user_costs_what_another_one_does_and_is_refused_whatever_the_check_says() {
    let mut hooked = with_users(&[("ann", BCRYPT), ("bob", SHA)]);
    let mut exchange = hooked.exchange(request("eve", "secret"));
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Wait);
    assert_eq!(exchange.changed().check.as_ref().unwrap().0, BCRYPT);
    assert_eq!(hooked.on_check(&mut exchange, true), Verdict::Answer);
    assert_asked_for(&exchange, "staff");
    let line = "user \"eve\" was not found in \"htpasswd\"".to_owned();
    assert_eq!(hooked.log_lines(), [(Level::Error, line)]);
    // The same with a hash that is computed here.
    let mut hooked = with_users(&[("bob", SHA)]);
    assert_eq!(ask(&mut hooked, "eve", "secret").0, Verdict::Answer);
    // And where there is nobody at all.
    assert_eq!(
        ask(&mut with_users(&[]), "eve", "secret").0,
        Verdict::Answer
    );
}

#[test]
fn a_verdict_is_remembered_for_a_while_right_or_wrong_known_or_unknown() {
    let mut hooked = with_users(&[("ann", BCRYPT)]);
    for (user, password, verdict) in [
        ("ann", "secret", Verdict::Proceed),
        ("ann", "wrong", Verdict::Answer),
        ("eve", "secret", Verdict::Answer),
    ] {
        assert!(waits(&mut hooked, user, password));
        assert_eq!(ask(&mut hooked, user, password).0, verdict);
        hooked.pass_us(59_999_999);
        assert!(!waits(&mut hooked, user, password), "{user}");
        assert_eq!(ask(&mut hooked, user, password).0, verdict);
        hooked.pass_us(1);
        assert!(waits(&mut hooked, user, password), "{user}");
    }
    assert_eq!(hooked.counter("checks"), 9);
}

#[test]
fn what_is_remembered_of_one_is_not_taken_for_another() {
    let mut hooked = with_users(&[("ann", BCRYPT), ("annx", BCRYPT), ("bob", OTHER)]);
    assert_eq!(ask(&mut hooked, "ann", "secret").0, Verdict::Proceed);
    for (user, password) in [
        ("ann", "secret2"),
        ("annx", "secret"),
        ("bob", "secret"),
        ("ann", ""),
    ] {
        assert!(waits(&mut hooked, user, password), "{user} {password}");
    }
}

#[test]
fn nothing_is_remembered_for_no_time() {
    let settings = r#"{"realm": "x", "users_file": "htpasswd", "remember": "0s"}"#;
    let services = Services::new().file(FILE, format!("ann:{BCRYPT}"));
    let mut hooked = Hooked::<BasicAuth>::with(services, settings, &["{}"]).unwrap();
    assert_eq!(ask(&mut hooked, "ann", "secret").0, Verdict::Proceed);
    assert!(waits(&mut hooked, "ann", "secret"));
}

#[test]
fn wrong_passwords_do_not_crowd_out_right_ones_and_are_bounded() {
    let mut hooked = with_users(&[("ann", BCRYPT)]);
    ask(&mut hooked, "ann", "secret");
    for guess in 0..1000 {
        ask(&mut hooked, "ann", &format!("guess {guess}"));
    }
    assert!(!waits(&mut hooked, "ann", "secret"));
    assert!(waits(&mut hooked, "ann", "guess 0"));
    assert!(!waits(&mut hooked, "ann", "guess 999"));
}

#[test]
fn exchanges_that_end_while_they_wait_are_forgotten_in_the_end() {
    let mut hooked = with_users(&[("ann", BCRYPT)]);
    let mut first = hooked.exchange(request("ann", "secret"));
    assert_eq!(hooked.on_request(&mut first), Verdict::Wait);
    for guess in 0..10_000 {
        assert!(waits(&mut hooked, "ann", &guess.to_string()));
    }
    assert!(hooked.hook.pending.len() <= super::MOST_PENDING);
    // The one that was forgotten is checked once more.
    assert_eq!(hooked.on_check(&mut first, true), Verdict::Wait);
    assert_eq!(hooked.on_check(&mut first, true), Verdict::Proceed);
}

#[test]
fn a_file_that_changes_counts_at_once_for_what_is_remembered_and_for_what_is_checked() {
    let mut hooked = with_users(&[("ann", BCRYPT)]);
    assert_eq!(ask(&mut hooked, "ann", "secret").0, Verdict::Proceed);
    let mut late = hooked.exchange(request("ann", "other"));
    assert_eq!(hooked.on_request(&mut late), Verdict::Wait);
    hooked.change_file(FILE, Some(&format!("ann:{OTHER}\nbob:{SHA}\n")));
    assert!(
        waits(&mut hooked, "ann", "secret"),
        "the old verdict is about another hash"
    );
    // The check that was under way was about the old hash: it is begun again with the new one.
    assert_eq!(hooked.on_check(&mut late, true), Verdict::Wait);
    assert_eq!(late.changed().check.as_ref().unwrap().0, OTHER);
    assert_eq!(hooked.on_check(&mut late, false), Verdict::Answer);
    assert_eq!(ask(&mut hooked, "bob", "secret").0, Verdict::Proceed);
    // A user who is taken out while the password is checked.
    let mut late = hooked.exchange(request("ann", "third"));
    assert_eq!(hooked.on_request(&mut late), Verdict::Wait);
    hooked.change_file(FILE, Some(&format!("bob:{SHA}\n")));
    let verdict = hooked.on_check(&mut late, true);
    assert_eq!(verdict, Verdict::Answer);
    assert_asked_for(&late, "staff");
}

#[test]
fn nobody_is_let_in_while_the_file_is_gone() {
    let mut hooked = with_users(&[("ann", SHA)]);
    hooked.change_file(FILE, None);
    hooked.log_lines();
    let (verdict, exchange) = ask(&mut hooked, "ann", "secret");
    assert_eq!(
        (verdict, exchange.answer()),
        (Verdict::Answer, Some((403, "")))
    );
    let line = "the users' file \"htpasswd\" is gone".to_owned();
    assert_eq!(hooked.log_lines(), [(Level::Error, line)]);
    hooked.change_file(FILE, Some(&format!("ann:{SHA}")));
    assert_eq!(ask(&mut hooked, "ann", "secret").0, Verdict::Proceed);
}

#[test]
fn lines_are_read_as_in_nginx_and_broken_ones_are_skipped_and_said_so() {
    let file = format!(
        "# staff\n\nann:{SHA}:Ann of sales\r\nnocolon\n:{SHA}\nann:{{PLAIN}}second\n\
         old:abNANd1rDfiNc\nbob:{SHA}"
    );
    let mut hooked = with_file(&file);
    let lines = hooked.log_lines();
    assert_eq!(
        lines,
        [(
            Level::Error,
            "users_file `htpasswd`: 3 lines are skipped, the first is 4: a line is `NAME:HASH`"
                .to_owned()
        )]
    );
    assert_eq!(ask(&mut hooked, "ann", "secret").0, Verdict::Proceed);
    assert_eq!(ask(&mut hooked, "ann", "second").0, Verdict::Answer);
    assert_eq!(ask(&mut hooked, "bob", "secret").0, Verdict::Proceed);
    assert_eq!(ask(&mut hooked, "# staff", "").0, Verdict::Answer);
    assert_eq!(ask(&mut hooked, "old", "secret").0, Verdict::Answer);
}

#[test]
fn realms_have_variables_and_off_asks_for_nothing() {
    let settings = format!(r#"{{"realm": "$arg_realm", "users": {{"ann": "{SHA}"}}}}"#);
    let places = ["{}", r#"{"realm": "off"}"#, r#"{"realm": "two"}"#];
    let mut hooked = Hooked::<BasicAuth>::new(&settings, &places).unwrap();
    let mut at = |place, target: &str| {
        let mut exchange = hooked.exchange_at(place, Request::get(target));
        (hooked.on_request(&mut exchange), exchange)
    };
    let (verdict, exchange) = at(0, r#"/?realm=a"b\c"#);
    assert_eq!(verdict, Verdict::Answer);
    assert_asked_for(&exchange, r#"a\"b\\c"#);
    assert_eq!(at(0, "/?realm=off").0, Verdict::Proceed);
    assert_eq!(at(1, "/").0, Verdict::Proceed);
    assert_asked_for(&at(2, "/").1, "two");
}

#[test]
fn with_satisfy_any_clients_whom_access_allows_are_not_asked() {
    let settings = format!(r#"{{"realm": "x", "users": {{"ann": "{SHA}"}}}}"#);
    let places = [r#"{"satisfy": "any"}"#, r#"{"satisfy": "all"}"#];
    let mut hooked = Hooked::<BasicAuth>::new(&settings, &places).unwrap();
    let mut ask = |place, access: Option<&str>, request: Request| {
        let mut exchange = hooked.exchange_at(place, request);
        if let Some(access) = access {
            exchange.set_attribute("access", access);
        }
        hooked.on_request(&mut exchange)
    };
    assert_eq!(ask(0, Some("allowed"), Request::get("/")), Verdict::Proceed);
    for access in [None, Some("denied"), Some("none"), Some("")] {
        assert_eq!(ask(0, access, Request::get("/")), Verdict::Answer);
        assert_eq!(ask(0, access, request("ann", "secret")), Verdict::Proceed);
    }
    assert_eq!(ask(1, Some("allowed"), Request::get("/")), Verdict::Answer);
}

#[test]
fn each_worker_has_one_instance_with_all_users() {
    let sharing = with_users(&[]).hook.sharing();
    assert!(matches!(sharing, Sharing::PerWorker));
}

#[test]
fn a_file_of_users_has_2_mib_at_the_most() {
    let of = |bytes: usize| format!("ann:{SHA}\n{}", "#".repeat(bytes - SHA.len() - 5));
    let services = Services::new().file(FILE, of(MOST_BYTES + 1));
    let refused = Hooked::<BasicAuth>::with(services, SETTINGS, &["{}"]);
    let refused = refused.err().unwrap();
    let message = "`users_file` has more than 2 MiB: take several hooks with a file each, or `jwt`";
    assert_eq!((&*refused.key, &*refused.message), ("users_file", message));
    let mut hooked = with_file(&of(MOST_BYTES));
    assert_eq!(ask(&mut hooked, "ann", "secret").0, Verdict::Proceed);
}

#[test]
fn users_stay_when_their_file_grows_beyond_its_bound_and_the_log_says_so() {
    let mut hooked = with_users(&[("ann", SHA)]);
    let large = format!("bob:{SHA}\n{}", "#".repeat(MOST_BYTES));
    hooked.change_file(FILE, Some(&large));
    let line = "users_file `htpasswd` has more than 2 MiB: the users from before stay".to_owned();
    assert_eq!(hooked.log_lines(), [(Level::Error, line)]);
    assert_eq!(ask(&mut hooked, "ann", "secret").0, Verdict::Proceed);
    assert_eq!(ask(&mut hooked, "bob", "secret").0, Verdict::Answer);
    hooked.change_file(FILE, Some(&format!("bob:{SHA}\n")));
    assert_eq!(ask(&mut hooked, "bob", "secret").0, Verdict::Proceed);
}

#[test]
fn users_in_whatever_order_are_found_and_the_first_one_is_what_others_are_compared_with() {
    let mut users: Vec<String> = (0..500).map(|number| format!("user{number}")).collect();
    users.push("a".to_owned());
    let file: String = users
        .iter()
        .map(|user| format!("{user}:{SHA}\r\n"))
        .collect();
    let mut hooked = with_file(&format!("zoe:{BCRYPT}\n{file}a:{BCRYPT}\n"));
    for user in &users {
        assert_eq!(
            ask(&mut hooked, user, "secret").0,
            Verdict::Proceed,
            "{user}"
        );
        assert_eq!(ask(&mut hooked, user, "wrong").0, Verdict::Answer, "{user}");
    }
    for unknown in ["user", "user500", "b", "zoe:", "Z", "zz"] {
        let mut exchange = hooked.exchange(request(unknown, "secret"));
        assert_eq!(hooked.on_request(&mut exchange), Verdict::Wait, "{unknown}");
        assert_eq!(exchange.changed().check.as_ref().unwrap().0, BCRYPT);
    }
}

#[test]
fn a_hash_in_the_settings_is_all_of_its_text() {
    let settings = r#"{"realm": "x", "users": {"ann": "{PLAIN}a:b\nc", "bob": "{PLAIN}"}}"#;
    let mut hooked = Hooked::<BasicAuth>::new(settings, &["{}"]).unwrap();
    assert_eq!(ask(&mut hooked, "ann", "a:b\nc").0, Verdict::Proceed);
    assert_eq!(ask(&mut hooked, "ann", "a").0, Verdict::Answer);
    assert_eq!(ask(&mut hooked, "bob", "").0, Verdict::Proceed);
}

#[test]
fn settings_are_checked() {
    let refused = |settings: &str| -> SettingsError {
        let services = Services::new()
            .file(FILE, "")
            .unreadable("secret", "permission denied");
        Hooked::<BasicAuth>::with(services, settings, &["{}"])
            .err()
            .unwrap()
    };
    for (settings, key, message) in [
        (
            r#"{"realm": "x"}"#,
            "users_file",
            "`users` or `users_file` is missing",
        ),
        (
            r#"{"users_file": "htpasswd"}"#,
            "realm",
            "`realm` is missing",
        ),
        (
            r#"{"realm": "x", "users_file": "none"}"#,
            "users_file",
            "there is no file `none`",
        ),
        (
            r#"{"realm": "x", "users_file": "secret"}"#,
            "users_file",
            "cannot read `secret`: permission denied",
        ),
        (
            r#"{"realm": "x", "users_file": "htpasswd", "users": {"a": "{PLAIN}b"}}"#,
            "users_file",
            "there are `users` already: put all into one of the two",
        ),
        (
            r#"{"realm": "x", "users": {"a:b": "{PLAIN}b"}}"#,
            "users.a:b",
            "`a:b` cannot be the name of a user",
        ),
    ] {
        let error = refused(settings);
        assert_eq!((error.key.as_str(), error.message.as_str()), (key, message));
    }
    for hash in [
        "secret",
        "",
        "abNANd1rDfiNc",
        "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
        "{SHA}",
        "{SHA}5en6",
        "{MD5}x",
    ] {
        let error = refused(&format!(
            r#"{{"realm": "x", "users": {{"ann": "{hash}"}}}}"#
        ));
        assert_eq!(error.key, "users.ann");
        assert!(
            error.message.starts_with("a hash is one of bcrypt"),
            "{}",
            error.message
        );
    }
}

#[test]
fn a_hash_by_which_no_password_can_be_verified_is_refused_or_skipped() {
    let (hash, why) = ("$2b$31$x", "the cost of bcrypt must be from 4 to 14");
    let services = || {
        let users = format!("ann:{hash}\neve:{SHA}\n");
        Services::new().bad_hash(hash, why).file(FILE, users)
    };
    let named = format!(r#"{{"realm": "x", "users": {{"ann": "{hash}"}}}}"#);
    let refused = Hooked::<BasicAuth>::with(services(), &named, &["{}"]);
    let refused = refused.err().unwrap();
    assert_eq!((&*refused.key, &*refused.message), ("users.ann", why));
    // Of a file, the others are let in.
    let mut hooked = Hooked::<BasicAuth>::with(services(), SETTINGS, &["{}"]).unwrap();
    let mut ask = |user| {
        let mut exchange = hooked.exchange(request(user, "secret"));
        hooked.on_request(&mut exchange)
    };
    assert_eq!(
        (ask("eve"), ask("ann")),
        (Verdict::Proceed, Verdict::Answer)
    );
}

#[test]
fn what_is_described_is_what_is_taken() {
    let services = Services::new().file(FILE, "");
    let good = [
        r#"{"realm": "x", "users": {"ann": "{PLAIN}x"}, "satisfy": "any", "remember": "1m"}"#,
        SETTINGS,
    ];
    let places = [r#"{"realm": "off", "satisfy": "all"}"#];
    Hooked::<BasicAuth>::check_description(&services, &good, &places);
}

/// Texts of these characters, `most` at most.
fn texts(of: &str, most: usize) -> impl Strategy<Value = String> {
    let of: Vec<char> = of.chars().collect();
    prop::collection::vec(prop::sample::select(of), 0..=most).prop_map(String::from_iter)
}

/// Texts of any characters.
fn any_texts(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..=most).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn credentials_are_read_as_they_were_written(
        user in any_texts(20),
        password in any_texts(20),
    ) {
        let user = format!("u{}", user.replace(':', ""));
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let unpadded = encoded.trim_end_matches('=');
        for header in [format!("Basic {encoded}"), format!("bASIC   {unpadded}")] {
            let read = Credentials::parse(header.as_bytes()).unwrap();
            prop_assert_eq!(&read.user, user.as_bytes());
            prop_assert_eq!(&read.password, password.as_bytes());
        }
    }

    #[test]
    fn nobody_comes_in_with_what_was_made_up(
        header: Vec<u8>,
        file in any_texts(60),
        user in prop::sample::select(vec!['a', 'b', 'c']),
        scheme in prop::sample::select(vec!["{SHA}", "{SSHA}", "$2b$"]),
        hash in texts("ABCXYZabcxyz0123456789+/=$", 40),
    ) {
        let mut hooked = with_file(&format!("{file}\n{user}:{scheme}{hash}"));
        let header = format!("Basic {}", BASE64_STANDARD.encode(&header));
        let mut exchange = hooked.exchange(Request::get("/").header("Authorization", &header));
        let mut verdict = hooked.on_request(&mut exchange);
        if verdict == Verdict::Wait {
            verdict = hooked.on_check(&mut exchange, false);
        }
        prop_assert_eq!(verdict, Verdict::Answer);
    }
}

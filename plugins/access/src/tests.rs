//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use waypost_sdk::log::Level;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};
use waypost_sdk::{Hook, Sharing, Verdict};

use super::Access;
use super::rules::{Decision, Rule, Rules};

fn hooked(rules: &[&str]) -> Hooked<Access> {
    Hooked::of(&format!(r#"{{"rules": {rules:?}}}"#))
}

fn ask(hooked: &mut Hooked<Access>, place: usize, client: &str) -> (Verdict, HookExchange) {
    let client: Option<IpAddr> = (client != "unix:").then(|| client.parse().unwrap());
    let mut exchange = hooked.exchange_at(place, Request::get("/").client(client));
    let verdict = hooked.on_request(&mut exchange);
    (verdict, exchange)
}

fn is_let_in(hooked: &mut Hooked<Access>, client: &str) -> bool {
    ask(hooked, 0, client).0 == Verdict::Proceed
}

#[test]
fn the_first_rule_that_matches_decides() {
    let mut hooked = hooked(&["deny 10.0.0.1", "allow 10.0.0.0/8", "deny all"]);
    for (client, expected) in [
        ("10.0.0.1", false),
        ("10.0.0.0", true),
        ("10.0.0.2", true),
        ("10.255.255.255", true),
        ("9.255.255.255", false),
        ("11.0.0.0", false),
        ("2001:db8::1", false),
        ("unix:", false),
    ] {
        assert_eq!(is_let_in(&mut hooked, client), expected, "{client}");
    }
    // What is behind a rule that covers it says nothing.
    let mut open = self::hooked(&["allow all", "deny 10.0.0.1", "deny all"]);
    assert!(is_let_in(&mut open, "10.0.0.1"));
}

#[test]
fn clients_that_no_rule_matches_are_let_in() {
    let mut hooked = hooked(&["deny 10.0.0.0/8", "deny 2001:db8::/32"]);
    for client in ["127.0.0.1", "2001:db9::", "unix:", "255.255.255.255"] {
        assert!(is_let_in(&mut hooked, client), "{client}");
    }
}

#[test]
fn rules_of_one_family_say_nothing_of_another() {
    let mut hooked = hooked(&["deny ::/0", "allow 0.0.0.0/0", "deny unix:"]);
    assert!(is_let_in(&mut hooked, "10.0.0.1"));
    assert!(!is_let_in(&mut hooked, "::1"));
    assert!(!is_let_in(
        &mut hooked,
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    ));
    assert!(!is_let_in(&mut hooked, "unix:"));
}

#[test]
fn a_mapped_address_in_a_rule_is_the_ipv4_address() {
    let mut hooked = hooked(&["deny ::ffff:10.0.0.0/104", "deny ::ffff:192.0.2.1"]);
    assert!(!is_let_in(&mut hooked, "10.9.9.9"));
    assert!(!is_let_in(&mut hooked, "192.0.2.1"));
    assert!(is_let_in(&mut hooked, "192.0.2.2"));
}

#[test]
fn a_client_that_is_turned_away_gets_403_and_a_line_in_the_log() {
    let mut hooked = hooked(&["deny all"]);
    let (verdict, exchange) = ask(&mut hooked, 0, "10.0.0.1");
    assert_eq!(verdict, Verdict::Answer);
    assert_eq!(exchange.answer(), Some((403, "")));
    let line = (Level::Error, "access forbidden by rule".to_owned());
    assert_eq!(hooked.log_lines(), [line]);
    assert_eq!(hooked.counter("denied"), 1);
}

#[test]
fn low_bits_of_a_block_are_ignored_and_said() {
    let mut hooked = hooked(&["deny 10.1.2.3/8", "deny 2001:db8::1/32", "deny 10.0.0.0/8"]);
    assert!(!is_let_in(&mut hooked, "10.200.0.1"));
    assert!(!is_let_in(&mut hooked, "2001:db8:1::"));
    let warnings: Vec<_> = hooked
        .log_lines()
        .into_iter()
        .filter(|line| line.0 == Level::Warn)
        .collect();
    assert_eq!(warnings.len(), 2);
    assert_eq!(
        warnings[0].1,
        "access: low address bits of 10.1.2.3/8 are meaningless"
    );
}

#[test]
fn rules_of_a_place_take_the_place_of_those_that_are_shared() {
    let shared = r#"{"rules": ["deny 10.0.0.1", "allow all"]}"#;
    let places = [r#"{"rules": "deny 10.0.0.2"}"#, "{}"];
    let mut hooked = Hooked::<Access>::new(shared, &places).unwrap();
    let let_in = |hooked: &mut _, place, client| ask(hooked, place, client).0 == Verdict::Proceed;
    assert!(let_in(&mut hooked, 0, "10.0.0.1") && !let_in(&mut hooked, 0, "10.0.0.2"));
    assert!(!let_in(&mut hooked, 1, "10.0.0.1") && let_in(&mut hooked, 1, "10.0.0.2"));
    // Only places need rules.
    let mut hooked = Hooked::<Access>::new("{}", &[r#"{"rules": "deny all"}"#]).unwrap();
    assert!(!is_let_in(&mut hooked, "10.0.0.1"));
}

#[test]
fn with_satisfy_any_the_hook_behind_learns_what_the_rules_say_and_nothing_is_turned_away() {
    let settings = r#"{"rules": ["allow 10.0.0.1", "deny 10.0.0.0/8"], "satisfy": "any"}"#;
    let mut hooked = Hooked::<Access>::of(settings);
    for (client, said) in [
        ("10.0.0.1", "allowed"),
        ("10.0.0.2", "denied"),
        ("11.0.0.1", "none"),
    ] {
        let (verdict, exchange) = ask(&mut hooked, 0, client);
        assert_eq!(verdict, Verdict::Proceed);
        assert_eq!(exchange.attribute("access").as_deref(), Some(said));
    }
    assert_eq!(hooked.log_lines(), []);
}

#[test]
fn what_rules_from_further_out_said_does_not_stay() {
    let settings = r#"{"rules": ["allow 10.0.0.1"], "satisfy": "any"}"#;
    let mut hooked = Hooked::<Access>::of(settings);
    let client: IpAddr = "11.0.0.1".parse().unwrap();
    let mut exchange = hooked.exchange(Request::get("/").client(client));
    exchange.set_attribute("access", "allowed");
    hooked.on_request(&mut exchange);
    assert_eq!(exchange.attribute("access").as_deref(), Some("none"));
}

#[test]
fn nothing_is_shared_between_workers() {
    assert_eq!(hooked(&["deny all"]).hook.sharing(), Sharing::PerWorker);
}

#[test]
fn what_is_described_is_what_is_taken() {
    let good = [
        r#"{"rules": "deny all"}"#,
        r#"{"rules": ["deny all"], "satisfy": "any"}"#,
    ];
    Hooked::<Access>::check_description(&Services::new(), &good, &good);
}

#[test]
fn settings_are_checked() {
    let refused = |settings: &str, place: &str| {
        let error = Hooked::<Access>::new(settings, &[place]).err().unwrap();
        (error.key, error.message)
    };
    assert_eq!(
        refused("{}", "{}"),
        ("rules".into(), "`rules` is missing".into())
    );
    for (rule, message) in [
        (
            "permit all",
            "a rule begins with `allow` or `deny`, as \"deny 10.0.0.1\"; this is `permit all`",
        ),
        (
            "",
            "a rule begins with `allow` or `deny`, as \"deny 10.0.0.1\"; this is ``",
        ),
        (
            "deny",
            "`deny` must name one address or block: write a rule for each",
        ),
        (
            "deny 10.0.0.1 10.0.0.2",
            "`deny 10.0.0.1 10.0.0.2` must name one address or block: write a rule for each",
        ),
        ("deny all;", "leave out the `;` of `deny all;`"),
        (
            "deny host.example",
            "`host.example` is no address or network such as `192.0.2.1`, `10.0.0.0/8` \
             or `2001:db8::/32`",
        ),
    ] {
        let settings = format!(r#"{{"rules": ["allow 10.0.0.1", {rule:?}]}}"#);
        assert_eq!(
            refused(&settings, "{}"),
            ("rules[1]".into(), message.into())
        );
    }
    for wrong in [
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0",
        "10.0.0.1/8/8",
        "unix",
        "ALL",
    ] {
        let settings = format!(r#"{{"rules": "deny {wrong}"}}"#);
        assert_eq!(refused(&settings, "{}").0, "rules[0]", "{wrong}");
    }
    let (key, message) = refused(r#"{"rules": "deny all"}"#, r#"{"satisfied": "any"}"#);
    assert_eq!(
        (&*key, &*message),
        (
            "satisfied",
            "unknown key `satisfied`; did you mean `satisfy`?"
        )
    );
    assert_eq!(refused("{}", r#"{"satisfy": "some"}"#).0, "satisfy");
}

#[test]
fn in_a_stream_nothing_is_left_to_a_hook_that_asks_for_credentials() {
    let services = || Services::new().streams();
    let (rules, any) = (r#"{"rules": "deny all"}"#, r#"{"satisfy": "any"}"#);
    let refused = Hooked::<Access>::with(services(), rules, &[any]);
    assert_eq!(refused.err().unwrap().key, "satisfy");
    assert!(Hooked::<Access>::with(services(), rules, &["{}"]).is_ok());
}

/// Blocks near each other, so that they overlap.
fn any_rule() -> impl Strategy<Value = (String, IpAddr, u8, bool)> {
    let ipv4 = (0u32..64, 24u8..=32).prop_map(|(low, length)| {
        let address = u32::MAX - 63 + low;
        (IpAddr::V4(Ipv4Addr::from_bits(address)), length)
    });
    let ipv6 = (0u128..64, 120u8..=128)
        .prop_map(|(low, length)| (IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - low)), length));
    (prop_oneof![ipv4, ipv6], any::<bool>()).prop_map(|((address, length), allow)| {
        let word = if allow { "allow" } else { "deny" };
        (format!("{word} {address}/{length}"), address, length, allow)
    })
}

fn covers(block: IpAddr, length: u8, client: IpAddr) -> bool {
    match (block, client) {
        (IpAddr::V4(block), IpAddr::V4(client)) => {
            let apart = block.to_bits() ^ client.to_bits();
            apart.leading_zeros() >= length.into()
        }
        (IpAddr::V6(block), IpAddr::V6(client)) => {
            let apart = block.to_bits() ^ client.to_bits();
            apart.leading_zeros() >= length.into()
        }
        _ => false,
    }
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
    fn the_table_decides_as_a_search_through_the_rules(
        rules in prop::collection::vec(any_rule(), 0..20),
    ) {
        let parsed: Vec<Rule> = rules.iter().map(|rule| Rule::parse(&rule.0).unwrap()).collect();
        let table = Rules::new(&parsed);
        let clients = (0..300u32).flat_map(|low| [
            IpAddr::V4(Ipv4Addr::from_bits(u32::MAX - low)),
            IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - u128::from(low))),
        ]);
        for client in clients {
            let first = rules.iter().find(|(_, block, length, _)| covers(*block, *length, client));
            let expected = first.map(|rule| if rule.3 { Decision::Allow } else { Decision::Deny });
            prop_assert_eq!(table.decide(Some(client)), expected, "{}", client);
        }
    }

    #[test]
    fn no_text_of_a_rule_panics(
        action in prop::sample::select(vec!["allow ", "deny ", "allow", "deny", " ", ""]),
        address in texts("0123456789abcdef:./ ", 24),
        other in any_texts(40),
    ) {
        let _ = (Rule::parse(&format!("{action}{address}")), Rule::parse(&other));
    }
}

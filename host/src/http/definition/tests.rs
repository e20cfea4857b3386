#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::Cell;
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;

use super::split::murmur;
use super::*;
use crate::http::template::Template;
use crate::http::variable::Names;

/// Knows `$arg_NAME` by its argument, the client's address, and the variables of a configuration.
struct Request {
    definitions: Arc<Definitions>,
    kept: KeptValues,
    arguments: HashMap<&'static str, Vec<u8>>,
    address: Option<IpAddr>,
    asked: Cell<u32>,
}

impl VariableSource for Request {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let value = match variable {
            Variable::Defined(defined) => {
                return self.definitions.append(*defined, self, &self.kept, out);
            }
            Variable::BinaryRemoteAddr => match self.address {
                Some(IpAddr::V4(ip)) => Some(ip.octets().to_vec()),
                Some(IpAddr::V6(ip)) => Some(ip.octets().to_vec()),
                None => None,
            },
            Variable::Argument(name) | Variable::HookAttribute(name) => {
                self.asked.set(self.asked.get() + 1);
                self.arguments.get(name.as_str()).cloned()
            }
            _ => None,
        };
        out.extend(value.iter().flatten());
        value.is_some()
    }
}

impl Request {
    /// With the variables that these tables declare.
    fn new(tables: &str) -> Request {
        let rest = "[[listen]]\naddress = \"127.0.0.1:8080\"\n";
        let config = crate::config::parse(&format!("{rest}{tables}"), Path::new("test.toml"));
        let config = config.unwrap_or_else(|problems| panic!("{problems:?}"));
        Request {
            definitions: config.variables,
            kept: KeptValues::default(),
            arguments: HashMap::new(),
            address: None,
            asked: Cell::default(),
        }
    }

    /// The value of `$v` where `$arg_a` is this.
    fn with(&mut self, argument: impl AsRef<[u8]>) -> String {
        self.kept.forget(Lasting::Request);
        self.arguments.insert("a", argument.as_ref().to_vec());
        self.value()
    }

    fn from(&mut self, address: &str) -> String {
        self.kept = KeptValues::default();
        self.address = Some(address.parse().unwrap());
        self.value()
    }

    fn value(&self) -> String {
        let mut out = b">".to_vec();
        let defined = self.definitions.declared("v").unwrap();
        let has_value = self.definitions.append(defined, self, &self.kept, &mut out);
        assert_eq!(out[0], b'>', "what was there stays");
        match has_value {
            true => String::from_utf8_lossy(&out[1..]).into_owned(),
            false => "none".to_owned(),
        }
    }
}

#[test]
fn a_text_goes_before_names_and_names_before_regexes_in_file_order() {
    let mut request = Request::new(
        r#"
        [variable.v]
        from = "$arg_a"
        default = "default"
        [variable.v.map]
        "~^a" = "first regex"
        "~." = "second regex"
        "a.example" = "text"
        "*.example" = "any"
        "*.b.example" = "below b"
        ".c.example" = "c and below"
        "www.*" = "www"
        "www.d.*" = "www.d"
        "=*.literal" = "literal"
        "=~x" = "no regex"
        "*/*" = "no name"
        "" = "empty"
        "#,
    );
    for (text, expected) in [
        ("a.example", "text"),
        ("A.EXAMPLE", "text"),
        ("x.example", "any"),
        ("x.y.example", "any"),
        ("example", "second regex"),
        (".example", "any"),
        ("x.b.example", "below b"),
        ("x.y.B.example", "below b"),
        ("b.example", "any"),
        ("c.example", "c and below"),
        ("x.c.example", "c and below"),
        ("xc.example", "any"),
        ("c.example.", "c and below"),
        ("www.a", "www"),
        ("www.d.a.b", "www.d"),
        ("www.", "second regex"),
        ("www", "second regex"),
        ("www.b.example", "below b"),
        ("*.literal", "literal"),
        ("x.literal", "second regex"),
        ("~x", "no regex"),
        ("*/*", "no name"),
        ("ax", "first regex"),
        ("xa", "second regex"),
        ("", "empty"),
    ] {
        assert_eq!(request.with(text), expected, "{text}");
    }
}

#[test]
fn no_regex_is_held_against_nothing() {
    let mut request = Request::new(
        "[variable.v]\nfrom = \"$arg_a\"\nmap = { \"~^\" = \"regex\" }\ndefault = \"d\"",
    );
    assert_eq!(request.with(""), "d");
    assert_eq!(request.with("x"), "regex");
}

#[test]
fn a_value_may_have_what_the_regex_has_captured_as_the_bytes_that_came() {
    let mut request = Request::new(
        r#"
        [variable.other]
        value = "<$arg_b>"
        [variable.v]
        from = "$arg_a-$arg_b"
        map = { '~*^(?<Unit>[^-]+)-(.)?(.*)$' = "$unit/$1/$2$other/$3" }
        "#,
    );
    request.arguments.insert("b", b"B\xff".to_vec());
    let defined = request.definitions.declared("v").unwrap();
    request.arguments.insert("a", b"\xe4X".to_vec());
    let mut out = Vec::new();
    request.append(&Variable::Defined(defined), &mut out);
    assert_eq!(out, b"\xe4X/\xe4X/B<B\xff>/\xff");
    request.arguments.insert("b", Vec::new());
    assert_eq!(
        request.with("x"),
        "x/x/<>/",
        "a group that took no part is empty"
    );
}

#[test]
fn the_smallest_network_counts_and_others_go_on_behind_it() {
    let mut request = Request::new(
        r#"
        [variable.v]
        default = "world"
        [variable.v.networks]
        "10.0.0.0/8" = "ten"
        "10.1.0.0/16" = "one"
        "10.1.255.255" = "last"
        "10.0.0.0/16" = "zero"
        "255.0.0.0/8" = "end"
        "2001:db8::/32" = "six"
        "2001:db8:1::/48" = "six one"
        "ffff::/16" = "six end"
        "#,
    );
    for (address, expected) in [
        ("9.255.255.255", "world"),
        ("10.0.0.0", "zero"),
        ("10.0.255.255", "zero"),
        ("10.1.0.0", "one"),
        ("10.1.255.254", "one"),
        ("10.1.255.255", "last"),
        ("10.2.0.0", "ten"),
        ("10.255.255.255", "ten"),
        ("11.0.0.0", "world"),
        ("255.255.255.255", "end"),
        ("::ffff:10.1.0.1", "one"),
        ("2001:db8::1", "six"),
        ("2001:db8:1::1", "six one"),
        ("2001:db8:2::", "six"),
        ("2001:db9::", "world"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "six end"),
        ("::", "world"),
    ] {
        assert_eq!(request.from(address), expected, "{address}");
    }
    request.address = None;
    request.kept = KeptValues::default();
    assert_eq!(request.value(), "world", "a client without an address");
}

#[test]
fn an_address_may_be_taken_from_a_text_and_what_is_none_is_in_no_network() {
    let mut request = Request::new(
        "[variable.v]\nfrom = \"$arg_a\"\nnetworks = { \"0.0.0.0/0\" = \"four\", \"::/0\" = \"six\" }\n\
         default = \"none\"",
    );
    for (text, expected) in [
        ("10.0.0.1", "four"),
        ("::ffff:10.0.0.1", "four"),
        ("2001:db8::1", "six"),
        ("10.0.0.1:80", "none"),
        ("\u{fffd}", "none"),
        ("", "none"),
    ] {
        assert_eq!(request.with(text), expected, "{text}");
    }
}

proptest! {
    /// One address in sixteen of a small space, so that networks overlap.
    #[test]
    fn of_any_networks_the_smallest_is_found(
        networks in prop::collection::hash_map((0u32..256, 24u8..=32), 0usize..9, 0..24),
        addresses in prop::collection::vec(0u32..256, 32),
    ) {
        let network = |(bits, length): (u32, u8)| {
            ipnet::Ipv4Net::new(bits.into(), length).unwrap().trunc()
        };
        let mut unique = HashMap::new();
        for (key, value) in networks {
            unique.insert(network(key), value);
        }
        let lines: String = unique
            .iter()
            .map(|(network, value)| format!("\"{network}\" = \"{value}\"\n"))
            .collect();
        let mut request = Request::new(&format!("[variable.v]\n[variable.v.networks]\n{lines}"));
        for bits in addresses {
            let address = std::net::Ipv4Addr::from(bits);
            let containing = unique.iter().filter(|(network, _)| network.contains(&address));
            let smallest = containing.max_by_key(|(network, _)| network.prefix_len());
            let expected = smallest.map(|(_, value)| value.to_string()).unwrap_or_default();
            prop_assert_eq!(request.from(&address.to_string()), expected);
        }
    }
}

/// `python3 -c` with the algorithm of `ngx_murmurhash.c`; the parity spec has thousands beside
/// nginx.
#[test]
fn shares_are_chosen_by_nginx_s_hash() {
    assert_eq!(murmur(b""), 0);
    let mut request = Request::new(
        "[variable.v]\nfrom = \"$arg_a\"\nsplit = { a = \"33.33%\", b = \"0.5%\", \"$arg_a!\" = \"16.17%\" }\n\
         default = \"rest\"",
    );
    let mut counts = HashMap::new();
    for number in 0..10_000 {
        let value = request.with(format!("key{number}"));
        let part = value.trim_start_matches(|c: char| c != '!' && value.ends_with('!'));
        *counts.entry(part.to_owned()).or_insert(0) += 1;
    }
    for (part, expected) in [("a", 3333), ("b", 50), ("!", 1617), ("rest", 5000)] {
        let count: i32 = counts[part];
        assert!((count - expected).abs() < 250, "{part}: {count}");
    }
}

#[test]
fn shares_are_read_and_added_up_as_nginx_does() {
    let mut shares = Shares::default();
    let next = |shares: &mut Shares, text| shares.next(text).map(|share| share.to_string());
    assert_eq!(next(&mut shares, "0.5%").as_deref(), Ok("0.50%"));
    for bad in ["", "%", "1", "1.234%", "-1%", "0%", "0.00%", "*", "1e1%"] {
        assert_eq!(next(&mut shares, bad), Err(ShareError::NotAShare), "{bad}");
    }
    assert_eq!(next(&mut shares, "99.51%"), Err(ShareError::TooMuch));
    assert_eq!(next(&mut shares, "99.5%").as_deref(), Ok("99.50%"));
    assert_eq!(next(&mut shares, "0.01%"), Err(ShareError::TooMuch));
}

#[test]
fn a_value_is_computed_once_for_as_long_as_nothing_it_is_made_of_can_change() {
    let tables =
        |of: &str| format!("[variable.u]\nvalue = \"{of}\"\n[variable.v]\nvalue = \"$u$u\"");
    let mut request = Request::new(&tables("$arg_a"));
    assert_eq!(request.with("x"), "xx");
    request.arguments.insert("a", b"y".to_vec());
    assert_eq!(request.value(), "xx");
    assert_eq!(request.asked.get(), 1);
    request.kept.forget(Lasting::Route);
    assert_eq!(request.value(), "xx", "a route changes no argument");
    request.kept.forget(Lasting::Request);
    assert_eq!(request.value(), "yy", "the request was changed");

    // What a hook may set at any time is asked for each time.
    let mut request = Request::new(&tables("$hook_a"));
    assert_eq!(request.with("x"), "xx");
    request.arguments.insert("a", b"y".to_vec());
    assert_eq!(request.value(), "yy");
}

#[test]
fn a_value_that_is_too_long_is_none_and_does_not_grow_without_end() {
    let mut tables = "[variable.v]\nvalue = \"$n1$n1\"\n".to_owned();
    for number in 1..15 {
        let next = number + 1;
        tables += &format!("[variable.n{number}]\nvalue = \"$n{next}$n{next}\"\n");
    }
    tables += "[variable.n15]\nvalue = \"$arg_a\"\n";
    let mut request = Request::new(&tables);
    assert_eq!(request.with("ab").len(), LONGEST_VALUE);
    assert_eq!(request.with("abc"), "none");
    assert_eq!(request.asked.get(), 2, "each is computed once");
    // Above the one that is too long, the values are short again: they are made of nothing.
    assert_eq!(request.with("a".repeat(LONGEST_VALUE)), "");
}

#[test]
fn a_variable_has_a_value_where_all_that_it_is_made_of_has_one() {
    let request = Request::new(
        r#"
        [variable.late]
        from = "$uri"
        map = { "~^/(?<x>.)" = "$x" }
        default = "$upstream_status"
        [variable.session]
        networks = { "10.0.0.0/8" = "$session_time" }
        [variable.both]
        value = "$remote_addr"
        [variable.of_late]
        value = "$late $both"
        "#,
    );
    use crate::http::variable::Phase::{Choice, Log, Request as Req, Response, Return, Session};
    let expected = [
        ("late", vec![Response, Log]),
        ("of_late", vec![Response, Log]),
        ("session", vec![Session, Choice]),
        ("both", vec![Req, Return, Response, Log, Session, Choice]),
    ];
    for (name, phases) in expected {
        let defined = request.definitions.declared(name).unwrap();
        let all = crate::http::variable::Phase::ALL;
        let has: Vec<_> = all
            .into_iter()
            .filter(|phase| defined.phases.contains(*phase))
            .collect();
        assert_eq!(has, phases, "{name}");
    }
    let depends = |name: &str, on: &str| {
        let on = Variable::parse(on).unwrap();
        let variable = Variable::Defined(request.definitions.declared(name).unwrap());
        request
            .definitions
            .depends_on(&variable, &|variable| *variable == on)
    };
    assert!(depends("of_late", "upstream_status"));
    assert!(!depends("both", "upstream_status"));
    assert!(Template::parse_of("$late", Names::default()).is_err());
}

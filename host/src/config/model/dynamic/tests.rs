//! What requests may name, over configurations that say so.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::config::model::Config;

/// A route that has this `proxy` and `proxy_allow`, and what it makes of an authority.
struct Route(Config);

impl Route {
    fn new(proxy: &str, allow: &str) -> Route {
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:8080\"\n\
             [upstream.blue]\nservers = [\"192.0.2.1:80\"]\n\
             [[route]]\nproxy = \"{proxy}\"\nproxy_allow = {allow}\n\
             [[route]]\npath = \"/own\"\nproxy = \"http://127.0.0.1:9\"\n"
        );
        Route(crate::config::parse(&text, Path::new("test.toml")).unwrap())
    }

    fn proxy(&self) -> &Arc<DynamicProxy> {
        self.0.dynamic_proxies().next().unwrap()
    }

    /// In words: what is dialed, or asked about; else why nothing is.
    fn find(&self, authority: &str) -> String {
        match self.proxy().find(authority.as_bytes()) {
            Ok(Found::Upstream(index)) => format!("upstream {}", self.0.upstreams[index].name),
            Ok(Found::Dynamic { name, .. }) => self.proxy().upstream(&name).servers[0].to_text(),
            Err(why) => why.to_string(),
        }
    }
}

trait ToText {
    fn to_text(&self) -> String;
}

impl ToText for super::super::UpstreamServer {
    fn to_text(&self) -> String {
        match &self.location {
            ServerLocation::Address(address) => address.to_string(),
            ServerLocation::Name(name) => match &name.lookup {
                Lookup::Addresses(port) => format!("{}:{port}", name.host),
                Lookup::Service(service) => service.clone(),
            },
        }
    }
}

const MALFORMED: &str = "is neither an address nor a name";
const NOT_LISTED: &str = "is not in `proxy_allow`";

#[test]
fn a_name_is_allowed_by_itself_or_by_what_it_ends_in() {
    let route = Route::new(
        "http://$arg_to",
        "[\"app\", \"*.internal\", \".both.test\", \"other.test:8080\", \"any.test:*\"]",
    );
    for (authority, expected) in [
        ("app", "app:80"),
        ("APP", "app:80"),
        ("app.", "app.:80"),
        ("app:80", "app:80"),
        ("app:81", NOT_LISTED),
        ("a.internal", "a.internal:80"),
        ("a.b.Internal", "a.b.internal:80"),
        ("a.internal.", "a.internal.:80"),
        ("internal", NOT_LISTED),
        (".internal", MALFORMED),
        ("xinternal", NOT_LISTED),
        ("a.internal.test", NOT_LISTED),
        ("both.test", "both.test:80"),
        ("a.both.test", "a.both.test:80"),
        ("notboth.test", NOT_LISTED),
        ("other.test", NOT_LISTED),
        ("other.test:8080", "other.test:8080"),
        ("any.test:1", "any.test:1"),
        ("any.test:65535", "any.test:65535"),
        ("10.0.0.1", NOT_LISTED),
        ("127.0.0.1:9", NOT_LISTED),
    ] {
        assert_eq!(route.find(authority), expected, "{authority}");
    }
}

#[test]
fn what_is_no_plain_authority_is_refused_whatever_the_list_has() {
    let route = Route::new(
        "http://$arg_to",
        "[\"*.internal:*\", \"0.0.0.0/0:*\", \"127.0.0.0/8:*\", \"::/0:*\"]",
    );
    let long_label = format!("{}.internal", "a".repeat(64));
    let long_name = format!("{}internal", "abcdefg.".repeat(32));
    for authority in [
        "",
        ":80",
        "a.internal:",
        "a.internal:0",
        "a.internal:65536",
        "a.internal:+80",
        "a.internal:80:80",
        "a.internal/",
        "evil.test/.internal",
        "evil.test#.internal",
        "evil.test?.internal",
        "evil.test\\.internal",
        "user@a.internal",
        "evil.test@a.internal",
        "evil.test%2f.internal",
        "a%00.internal",
        "a\0.internal",
        "a b.internal",
        "a\r\n.internal",
        "a..internal",
        "-a.internal",
        "ä.internal",
        "*.internal",
        "$arg_to",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "a.internal.0x7f",
        "017700000001",
        "127.0.0.1.",
        "127.0.0.01",
        "[::1",
        "::1",
        "[::1]80",
        "[::1%25eth0]",
        "[127.0.0.1]",
        "unix:/run/app.sock",
        &long_label,
        &long_name,
    ] {
        assert_eq!(route.find(authority), MALFORMED, "{authority:?}");
    }
}

#[test]
fn the_port_is_that_of_the_proxy_unless_the_list_names_one() {
    let route = Route::new("https://$arg_to.test:8443", "[\"a.test\", \"10.0.0.0/8\"]");
    assert_eq!(route.find("a.test:8443"), "a.test:8443");
    assert_eq!(route.find("a.test:443"), NOT_LISTED);
    assert_eq!(route.find("a.test"), NOT_LISTED, "that is 443");
    assert_eq!(route.find("10.1.2.3:8443"), "10.1.2.3:8443");
    assert_eq!(route.find("10.1.2.3:22"), NOT_LISTED);
    let route = Route::new("https://$arg_to", "[\"a.test\"]");
    assert_eq!(route.find("a.test"), "a.test:443");
}

/// Special addresses need a network within theirs: no network that happens to hold them will do.
#[test]
fn special_addresses_are_allowed_in_particular_or_not_at_all() {
    let wide = Route::new("http://$arg_to", "[\"0.0.0.0/0\", \"::/0\"]");
    for special in [
        "127.0.0.1",
        "127.255.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[ff02::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
    ] {
        assert_eq!(wide.find(special), NOT_LISTED, "{special}");
    }
    for (plain, dialed) in [
        ("10.0.0.1", "10.0.0.1:80"),
        ("192.0.2.1", "192.0.2.1:80"),
        ("[2001:db8::1]", "[2001:db8::1]:80"),
        ("[fd00::1]", "[fd00::1]:80"),
        ("[::ffff:10.0.0.1]", "10.0.0.1:80"),
        ("[64:ff9b::10.0.0.1]", "[64:ff9b::a00:1]:80"),
    ] {
        assert_eq!(wide.find(plain), dialed, "{plain}");
    }
    let narrow = Route::new("http://$arg_to", "[\"127.0.0.0/8\", \"[::1]:8080\"]");
    assert_eq!(narrow.find("127.0.0.1"), "127.0.0.1:80");
    assert_eq!(narrow.find("127.0.0.1:81"), NOT_LISTED);
    assert_eq!(narrow.find("[::1]:8080"), "[::1]:8080");
    assert_eq!(narrow.find("[::1]"), NOT_LISTED);
}

/// So a name server cannot lead requests to this machine, nor to where clouds keep secrets.
#[test]
fn what_a_name_stands_for_is_held_against_the_same_networks() {
    let rule = |allow: &str| Route::new("http://$arg_to", allow).proxy().rule.clone();
    let permits = |rule: &AddressRule, ip: &str| rule.permits(ip.parse().unwrap(), 80);
    let of_names = rule("[\"*.internal\"]");
    let of_all = rule("[\"*.internal\", \"0.0.0.0/0\", \"::/0\"]");
    let of_loopback = rule("[\"*.internal\", \"127.0.0.0/8\"]");
    for (ip, plain, loopback) in [
        ("10.0.0.1", true, true),
        ("203.0.113.1", true, true),
        ("fd00::1", true, true),
        ("127.0.0.1", false, true),
        ("::ffff:127.0.0.1", false, true),
        ("64:ff9b::7f00:1", false, true),
        ("169.254.169.254", false, false),
        ("::1", false, false),
        ("0.0.0.0", false, false),
        ("::", false, false),
    ] {
        assert_eq!(permits(&of_names, ip), plain, "{ip}");
        assert_eq!(permits(&of_all, ip), plain, "{ip}");
        assert_eq!(permits(&of_loopback, ip), loopback, "{ip}");
    }
    assert!(!of_loopback.permits("127.0.0.1".parse().unwrap(), 22));
}

#[test]
fn an_upstream_is_named_if_the_list_has_it_and_no_group_of_one_address_ever_is() {
    let route = Route::new("http://$arg_to", "[\"blue\", \"127.0.0.1:9\"]");
    assert_eq!(route.find("blue"), "upstream blue");
    assert_eq!(route.find("BLUE"), NOT_LISTED);
    // Another route has it by its address.
    assert_eq!(route.find("127.0.0.1:9"), "127.0.0.1:9");
    let route = Route::new("http://$arg_to", "[\"*.internal\"]");
    assert_eq!(route.find("blue"), NOT_LISTED);
    assert_eq!(route.find("127.0.0.1:9"), NOT_LISTED);
}

#[test]
fn upstreams_of_routes_with_other_exceptions_are_others() {
    let name = |allow: &str| {
        let route = Route::new("http://$arg_to", allow);
        match route.proxy().find(b"a.test") {
            Ok(Found::Dynamic { name, .. }) => route.proxy().upstream_name(&name),
            _ => panic!("it is allowed"),
        }
    };
    assert_eq!(name("[\"a.test\"]"), "http://a.test:80");
    assert_eq!(name("[\"*.test\", \"10.0.0.0/8\"]"), "http://a.test:80");
    let excepted = "http://a.test:80 (127.0.0.0/8:80)";
    assert_eq!(name("[\"a.test\", \"127.0.0.0/8\"]"), excepted);
}

/// Whatever an authority looks like: what is dialed is what it says, and the list allows it.
#[test]
fn nothing_outside_of_the_list_is_ever_found() {
    let allow = "[\"a.test\", \"*.b.test:8080\", \"10.0.0.0/8\", \"fd00::/8\"]";
    let route = Route::new("http://$arg_to", allow);
    let pieces = [
        "a.test",
        "b.test",
        "x",
        ".",
        ":",
        "8080",
        "80",
        "10.0.0.1",
        "127.0.0.1",
        "[",
        "]",
        "fd00::1",
        "::ffff:",
        "@",
        "/",
        "%2e",
        "\0",
        "-",
        "0x",
        "é",
        "A",
        "#",
        "?",
        " ",
    ];
    let mut random = fastrand::Rng::with_seed(12);
    let mut found = 0;
    for _ in 0..200_000 {
        let parts = (0..random.usize(1..7)).map(|_| pieces[random.usize(..pieces.len())]);
        let authority: String = parts.collect();
        let Ok(Found::Dynamic { name, .. }) = route.proxy().find(authority.as_bytes()) else {
            continue;
        };
        found += 1;
        let listed = match &name.host {
            DynamicHost::Ip(IpAddr::V4(ip)) => ip.octets()[0] == 10 && name.port == 80,
            DynamicHost::Ip(IpAddr::V6(ip)) => ip.octets()[0] == 0xfd && name.port == 80,
            DynamicHost::Name(host) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                host == "a.test" && name.port == 80
                    || host.ends_with(".b.test") && name.port == 8080
            }
        };
        assert!(listed, "{authority:?} leads to {name}");
        // The parser of `Host` reads the same of it.
        let read = crate::http::authority::Authority::parse(authority.as_bytes()).unwrap();
        assert_eq!(read.port.unwrap_or(80), name.port, "{authority:?}");
        if matches!(name.host, DynamicHost::Name(_)) {
            assert_eq!(read.host, name.host.to_string(), "{authority:?}");
        }
    }
    assert!(found > 1000, "{found}");
}

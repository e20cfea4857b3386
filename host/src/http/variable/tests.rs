//! Names of variables, and where each has a value.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

#[test]
fn every_listed_name_is_a_variable() {
    for name in NAMED.iter().flat_map(|known| known.names) {
        assert!(Variable::parse(name).is_some(), "{name}");
    }
    for family in FAMILIES {
        let name = family.names[0];
        assert!(Variable::parse(name).is_some(), "{name}");
    }
}

#[test]
fn two_names_of_one_value_are_one_variable() {
    assert_eq!(Variable::parse("args"), Variable::parse("query_string"));
    assert_eq!(Variable::parse("uri"), Variable::parse("document_uri"));
    assert_ne!(Variable::parse("uri"), Variable::parse("request_uri"));
}

#[test]
fn a_header_variable_names_the_header_with_dashes_in_lower_case() {
    let Some(Variable::Header(name)) = Variable::parse("http_X_Forwarded_For") else {
        panic!("no header")
    };
    assert_eq!(name.as_str(), "x-forwarded-for");
    let Some(Variable::SentHeader(name)) = Variable::parse("sent_http_content_type") else {
        panic!("no header")
    };
    assert_eq!(name.as_bytes(), b"content-type");
    let Some(Variable::UpstreamHeader(name)) = Variable::parse("upstream_http_x_a") else {
        panic!("no header")
    };
    assert_eq!(name.as_str(), "x-a");
}

#[test]
fn arguments_cookies_and_attributes_keep_their_underscores() {
    let Some(Variable::Argument(name)) = Variable::parse("arg_user_id") else {
        panic!("no argument")
    };
    assert_eq!(name.as_str(), "user_id");
    let Some(Variable::Cookie(name)) = Variable::parse("cookie_PHP_session") else {
        panic!("no cookie")
    };
    assert_eq!(name.as_str(), "php_session");
    let Some(Variable::UpstreamCookie(name)) = Variable::parse("upstream_cookie_a_b") else {
        panic!("no cookie")
    };
    assert_eq!(name.as_str(), "a_b");
}

#[test]
fn case_does_not_matter() {
    assert_eq!(Variable::parse("Request_URI"), Some(Variable::RequestUri));
}

#[test]
fn unknown_names_and_empty_free_parts_are_no_variables() {
    for name in [
        "",
        "hots",
        "http_",
        "arg_",
        "cookie_",
        "1",
        "http_x-y",
        "sent_http_",
        "upstream_http_",
        "hook_",
        "http_é",
    ] {
        assert_eq!(Variable::parse(name), None, "{name}");
    }
}

#[test]
fn what_is_described_is_what_is_checked() {
    for description in all() {
        for name in description.names {
            let variable = Variable::parse(name).unwrap();
            for phase in Phase::ALL {
                let (said, found) = (
                    description.has_value_in(phase),
                    variable.has_value_in(phase),
                );
                assert_eq!(said, found, "{name} in {phase:?}");
            }
        }
    }
}

#[test]
fn a_misspelling_finds_the_name_that_was_meant() {
    for (written, meant) in [
        ("remote_adr", Some("remote_addr")),
        ("requst_uri", Some("request_uri")),
        ("cokie_user", Some("cookie_user")),
        ("Cokie_User", Some("cookie_user")),
        ("htp_x_tenant", Some("http_x_tenant")),
        ("upstream_htp_x_a", Some("upstream_http_x_a")),
        ("sent_htpp_x", Some("sent_http_x")),
        ("args_user", Some("arg_user")),
        ("hok_tenant", Some("hook_tenant")),
        ("cookie_", None),
        ("zzz", None),
        ("", None),
        ("_", None),
    ] {
        let closest = Variable::look_up(written).unwrap_err().closest;
        assert_eq!(closest.as_deref(), meant, "{written}");
    }
}

//! Directives that nginx knows, and those that do nothing where they stand.

use super::*;
use crate::import::report::is_table;

/// The directives of nginx 1.22 to 1.28 and the modules that Debian builds for it, and a few newer
/// ones: found by asking nginx for each word in its binaries.
const DIRECTIVES: &str = include_str!("directives.txt");

#[test]
fn no_directive_of_nginx_is_taken_for_a_typing_error() {
    let blocks = [
        "events",
        "http",
        "if",
        "include",
        "limit_except",
        "location",
        "mail",
        "server",
        "stream",
        "upstream",
    ];
    let names: Vec<&str> = DIRECTIVES
        .split_whitespace()
        .filter(|name| !is_table(name) && !blocks.contains(name))
        .collect();
    assert!(names.len() > 500, "{}", names.len());
    let all: Vec<String> = names.iter().map(|name| format!("{name} x;")).collect();
    let site = format!("server {{ listen 80; location / {{ {} }} }}", all.concat());
    let report = of(&[("a.conf", &site)]).unwrap().report;
    let unknown: Vec<&str> = report
        .entries
        .iter()
        .filter(|entry| entry.note.starts_with("unknown"))
        .map(|entry| &*entry.directive)
        .collect();
    assert_eq!(unknown, [""; 0]);
}

/// What is lost of a file.
fn lost(text: &str) -> Vec<String> {
    let report = of(&[("a.conf", text)]).unwrap().report;
    let entries = report.entries.into_iter();
    entries
        .filter(|entry| entry.outcome == Outcome::Lost)
        .map(|entry| entry.directive)
        .collect()
}

#[test]
fn settings_of_tls_are_harmless_where_no_listener_speaks_it() {
    let settings = "ssl_certificate c.pem; ssl_certificate_key c.key; ssl_session_cache shared:a:1m; \
                    ssl_client_certificate ca.pem; ssl_trusted_certificate ca.pem; \
                    ssl_verify_depth 2; ssl_stapling on; ssl_password_file p; ssl_dhparam d.pem; \
                    ssl_conf_command a b; ssl_reject_handshake on; ssl_protocols TLSv1;";
    let plain = format!("server {{ listen 80; {settings} location / {{ proxy_pass http://b; }} }}");
    assert_eq!(lost(&plain), [""; 0]);
    assert_eq!(lost(&format!("http {{ {settings} {SITE} }}")), [""; 0]);
    let tls =
        "server { listen 443 ssl; ssl_certificate c.pem; ssl_certificate_key c.key; return 204; }";
    let beside = format!("http {{ {tls} {plain} }}");
    assert_eq!(lost(&beside), [""; 0]);
    // The `ssl` of another server of the address is for this one as well.
    let same = "server { listen 443; server_name a.test; ssl_session_ticket_key k; return 204; }";
    assert_eq!(
        lost(&format!("http {{ {tls} {same} }}")),
        ["ssl_session_ticket_key k"]
    );
}

#[test]
fn nothing_of_mail_is_told_of_but_mail_itself() {
    let mail = "mail { auth_http localhost:9000/a; server { listen 25; protocol smtp; } }";
    assert_eq!(lost(&format!("{mail} http {{ {SITE} }}")), ["mail"]);
}

#[test]
fn what_stands_around_no_server_is_harmless() {
    let stream = "stream { server { listen 5432; proxy_pass 127.0.0.1:1; } }";
    assert_eq!(
        lost(&format!(
            "http {{ gzip on; ssl_protocols TLSv1.2; }} {stream}"
        )),
        [""; 0]
    );
}

#[test]
fn a_place_is_closed_whose_question_to_another_server_cannot_be_said() {
    for asked in [
        "location = /auth { internal; proxy_cache_key $uri; proxy_pass http://127.0.0.1:2; }",
        "location = /auth { internal; proxy_set_header X-A $uri; proxy_pass http://127.0.0.1:2; }",
        "location = /auth { internal; proxy_pass http://127.0.0.1:2$arg_a; }",
        "location = /auth { internal; return 204; }",
        "location ~ ^/auth { internal; proxy_pass http://127.0.0.1:2; }",
        "location = /other { internal; proxy_pass http://127.0.0.1:2; }",
    ] {
        let site = format!(
            "server {{ listen 80; {asked} location /in {{ auth_request /auth; auth_request_set $user \
             $upstream_http_x_user; proxy_set_header X-User $user; proxy_pass http://127.0.0.1:1; }} }}"
        );
        let imported = of(&[("a.conf", &site)]).unwrap();
        assert!(
            lost(&site).contains(&"auth_request /auth".to_owned()),
            "{asked}"
        );
        let route = imported.text.split("path = \"/in\"\n").nth(1);
        let route = route.and_then(|rest| rest.split("[[").next());
        assert!(
            route.is_some_and(|route| !route.contains("proxy =")),
            "{}",
            imported.text
        );
    }
}

#[test]
fn what_another_server_says_is_known_by_its_headers_alone() {
    let site = "server { listen 80; location = /auth { internal; proxy_pass http://127.0.0.1:2; } \
                location / { auth_request /auth; auth_request_set $user $upstream_http_x_user; \
                auth_request_set $how $upstream_status; proxy_set_header X-User $user; \
                proxy_set_header X-How $how; proxy_pass http://127.0.0.1:1; } }";
    let imported = of(&[("a.conf", site)]).unwrap();
    assert_eq!(
        lost(site),
        [
            "auth_request_set $how $upstream_status",
            "proxy_set_header X-How ..."
        ]
    );
    assert!(
        imported.text.contains("X-User = \"$hook_user\""),
        "{}",
        imported.text
    );
}

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
fn one_cause_is_told_of_once_where_another_server_is_asked() {
    let site = "server { listen 80; location = /auth { internal; proxy_pass http://127.0.0.1:2; } \
                location / { auth_request /auth; auth_request_set $user $upstream_http_x_user; \
                set $unused $arg_a; proxy_set_header X-User $user; proxy_pass http://127.0.0.1:1; } }";
    let imported = of(&[("a.conf", site)]).unwrap();
    let told = imported.report.attention();
    assert!(
        told.contains("`$user` is of `auth_request_set`, which is not translated"),
        "{told}"
    );
    assert_eq!(
        lost(site),
        ["auth_request /auth", "proxy_set_header X-User ..."]
    );
    assert!(!imported.text.contains("proxy ="), "{}", imported.text);
}

#[test]
fn a_line_of_a_file_that_is_included_twice_is_told_of_once() {
    let site =
        "server { listen 80; location /a/ { include p.inc; } location /b/ { include p.inc; } }";
    let part = "proxy_pass http://127.0.0.1:1;\nproxy_set_header X-A $nothing;";
    let told = of(&[("a.conf", site), ("p.inc", part)])
        .unwrap()
        .report
        .attention();
    let line = "  p.inc:2: proxy_set_header X-A ...   (2 times)\n";
    assert!(
        told.contains(line) && told.matches("p.inc:2").count() == 1,
        "{told}"
    );
}

#[test]
fn a_page_of_nginxs_package_that_is_not_installed_is_left_out() {
    let site = "server { listen 80; error_page 502 /50x.html; \
                location = /50x.html { root /usr/share/nginx/html; } \
                location / { proxy_pass http://127.0.0.1:1; } }";
    let without = of(&[("a.conf", site)]).unwrap();
    assert!(
        !without.report.has_losses() && !without.text.contains("error_pages"),
        "{}",
        without.text
    );
    let with = of(&[("a.conf", site), ("/usr/share/nginx/html/50x.html", "oh")])
        .unwrap()
        .text;
    assert!(
        with.contains("file = \"/usr/share/nginx/html/50x.html\""),
        "{with}"
    );
    // A page of one's own has to be there.
    let own = site.replace("/usr/share/nginx/html", "/srv/pages");
    let own = of(&[("a.conf", &own)]).unwrap().text;
    assert!(own.contains("file = \"/srv/pages/50x.html\""), "{own}");
}

#[test]
fn a_server_that_refuses_all_handshakes_asks_for_no_certificates() {
    let refuses = "server { listen 443 ssl default_server; ssl_reject_handshake on; }";
    let site = "server { listen 443 ssl; server_name a.test; ssl_certificate c.pem; \
                ssl_certificate_key c.key; ssl_client_certificate ca.pem; ssl_verify_client on; \
                set_real_ip_from 10.0.0.0/8; location / { proxy_pass http://127.0.0.1:1; } }";
    let imported = of(&[("a.conf", &format!("{refuses} {site}"))]).unwrap();
    assert_eq!(lost(&format!("{refuses} {site}")), [""; 0]);
    for said in [
        "client_certificate = \"require\"",
        "client_ca = \"ca.pem\"",
        "\"10.0.0.0/8\"",
    ] {
        assert!(imported.text.contains(said), "{said}: {}", imported.text);
    }
    let open = site
        .replace("a.test", "b.test")
        .replace("ssl_verify_client on;", "");
    assert!(!lost(&format!("{site} {open}")).is_empty());
}

#[test]
fn a_server_of_an_earlier_answer_is_told_of_as_such() {
    let site = "server { listen 80; location @to { set $to $upstream_http_location; proxy_pass $to; } \
                location / { error_page 302 = @to; proxy_intercept_errors on; proxy_pass http://127.0.0.1:1; } }";
    let told = of(&[("a.conf", site)]).unwrap().report.attention();
    assert!(
        told.contains("`$upstream_http_location` is of the answer to another request"),
        "{told}"
    );
}

#[test]
fn a_variable_that_only_a_closed_place_uses_is_not_told_of_once_more() {
    let site = "server { listen 80; location / { set_escape_uri $to $request_uri; \
                auth_request /auth; return 302 /login?to=$to; } }";
    assert_eq!(lost(site), ["auth_request /auth", "return 302 ..."]);
}

#[test]
fn flags_that_are_written_into_the_path_of_cookies_are_flags() {
    let site = |path: &str| {
        format!(
            "server {{ listen 80; location / {{ proxy_pass http://127.0.0.1:1; proxy_cookie_path {path}; }} }}"
        )
    };
    let imported = of(&[("a.conf", &site("/ \"/; HttpOnly; Secure\""))]).unwrap();
    assert_eq!(imported.problems, []);
    assert!(!imported.report.has_losses());
    let flags = "cookies = { flags = [\"httponly\", \"secure\"] }";
    assert!(imported.text.contains(flags), "{}", imported.text);
    for lost_path in [
        "/a \"/b; Secure\"",
        "/ \"/; Max-Age=1\"",
        "/ \"/; Secure\"; proxy_cookie_path /a /b",
    ] {
        let imported = of(&[("a.conf", &site(lost_path))]).unwrap();
        assert_eq!(imported.problems, [], "{lost_path}");
        assert!(imported.report.has_losses(), "{lost_path}");
    }
}

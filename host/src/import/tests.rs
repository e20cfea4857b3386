//! What is promised of any file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;

/// Files by name.
struct Files(HashMap<PathBuf, Vec<u8>>);

impl Files {
    fn of(files: &[(&str, &str)]) -> Files {
        let files = files.iter();
        Files(
            files
                .map(|(name, text)| (name.into(), text.as_bytes().to_vec()))
                .collect(),
        )
    }
}

impl System for Files {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        self.0
            .get(file)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let within = self
            .0
            .keys()
            .filter(|file| file.parent() == Some(directory));
        Ok(within
            .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
            .collect())
    }
}

fn of(files: &[(&str, &str)]) -> Result<Imported, ReadError> {
    import(
        Path::new(files[0].0),
        Path::new("waypost.toml"),
        &Files::of(files),
    )
}

const SITE: &str = "server { listen 80; location / { proxy_pass http://127.0.0.1:1; } }";

#[test]
fn broken_files_are_refused_with_file_and_line() {
    for (text, said) in [
        (
            "server {\n listen 80;",
            "unexpected end of file, expecting \"}\" for the block of line 1 in a.conf:2",
        ),
        ("server {\n}}", "unexpected \"}\" in a.conf:2"),
        (
            "a;\nb",
            "unexpected end of file, expecting \";\" or \"}\" in a.conf:2",
        ),
        (
            "user x;",
            "there is no `server` that could be served in a.conf:1",
        ),
        (&"a{".repeat(1000), "blocks are nested too deep in a.conf:1"),
    ] {
        assert_eq!(of(&[("a.conf", text)]).unwrap_err().to_string(), said);
    }
}

#[test]
fn files_that_include_each_other_are_refused() {
    let error = of(&[
        ("a.conf", "include b.conf;"),
        ("b.conf", "\ninclude a.conf;"),
    ]);
    let said = error.unwrap_err().to_string();
    assert!(
        said.starts_with("files include each other without an end in "),
        "{said}"
    );
}

#[test]
fn patterns_of_an_include_name_files_in_their_order() {
    let files = [
        ("nginx.conf", "http { include sites/*.conf; }"),
        ("sites/b.conf", "server { listen 81; return 204; }"),
        ("sites/a.conf", "server { listen 80; return 204; }"),
        ("sites/c.off", "broken"),
    ];
    let text = of(&files).unwrap().text;
    let (first, second) = (text.find("\"80\"").unwrap(), text.find("\"81\"").unwrap());
    assert!(first < second, "{text}");
}

#[test]
fn a_file_that_is_missing_is_lost() {
    let report = of(&[("a.conf", &format!("include gone.conf; {SITE}"))])
        .unwrap()
        .report;
    let lost: Vec<&Entry> = report
        .entries
        .iter()
        .filter(|e| e.outcome == Outcome::Lost)
        .collect();
    assert!(
        matches!(&*lost, [one] if one.directive == "include gone.conf"),
        "{lost:#?}"
    );
}

#[test]
fn what_may_be_secret_is_not_printed() {
    let site = "server { listen 80; location / { proxy_pass http://127.0.0.1:1; \
                proxy_set_header Authorization \"Bearer hush\"; if ($http_x_key != hush) { return 403 hush; } } }";
    let imported = of(&[("a.conf", site)]).unwrap();
    assert!(imported.text.contains("hush"), "{}", imported.text);
    assert!(
        !imported.report.full().contains("hush"),
        "{}",
        imported.report.full()
    );
}

/// The file that is made of a `location /` with this.
fn forced(directives: &str) -> String {
    let site = format!("server {{ listen 80; location / {{ {directives} }} }}");
    of(&[("a.conf", &site)]).unwrap().text
}

#[test]
fn what_is_lost_opens_nothing() {
    let to_server = "proxy_pass http://127.0.0.1:1;";
    for lost in [
        "if ($http_x ~ \"(?!a)b\") { return 403; }",
        "if (-f /srv/closed) { return 503; }",
        "if ($nothing) { rewrite ^ /closed last; }",
        "if (-f /srv/x) { proxy_pass http://127.0.0.1:2; }",
        "rewrite \"^/(?!open)\" /closed last;",
        "auth_request /auth;",
        "auth_basic closed;",
        "limit_req zone=unknown;",
        "access_by_lua_block { ngx.exit(403) }",
        "set $flag 0; if (-f /srv/x) { set $flag 1; } if ($flag) { return 403; }",
    ] {
        let text = forced(&format!("{lost} {to_server}"));
        assert!(
            text.contains("status = 501") && !text.contains("proxy ="),
            "{lost}: {text}"
        );
    }
    let before = forced(
        "if ($arg_a) { return 204; } if (-f /x) { return 403; } if ($arg_b) { return 200 b; }",
    );
    assert!(
        before.contains("204") && !before.contains("200"),
        "{before}"
    );
    for harmless in ["if (-f /srv/x) { add_header X-A b; }", "auth_request off;"] {
        let text = forced(&format!("{harmless} {to_server}"));
        assert!(text.contains("proxy ="), "{harmless}: {text}");
    }
}

/// What stands in the only `server` there is, imported.
fn server(directives: &str) -> Imported {
    of(&[("a.conf", &format!("server {{ listen 80; {directives} }}"))]).unwrap()
}

#[test]
fn what_is_lost_in_a_server_opens_none_of_its_routes() {
    let rest = "location / { proxy_pass http://127.0.0.1:1; }";
    for lost in [
        "location ~ \"^/(?=adm)\" { deny all; }",
        "location ~ \"^/(a)\\1\" { deny all; }",
        "include office_only.conf;",
        "testcookie on;",
        "naxsi_rules; location = /x { proxy_pass http://127.0.0.1:2; }",
    ] {
        let text = server(&format!("{lost} {rest}")).text;
        let is_closed = text.contains("status = 501") && !text.contains("proxy =");
        assert!(is_closed, "{lost}: {text}");
    }
    for harmless in [
        "testcookie off;",
        "more_set_headers a;",
        "vhost_traffic_status_zone;",
    ] {
        let text = server(&format!("{harmless} {rest}")).text;
        assert!(text.contains("proxy ="), "{harmless}: {text}");
    }
}

#[test]
fn what_is_lost_in_a_location_leaves_the_others_as_they_are() {
    for lost in [
        "include office_only.conf; proxy_pass http://127.0.0.1:2;",
        "shibboleth on; proxy_pass http://127.0.0.1:2;",
        "set $args \"\"; proxy_pass http://127.0.0.1:2;",
        "set_real_ip_from 10.0.0.1; deny 10.0.0.2; proxy_pass http://127.0.0.1:2;",
        "proxy_pass http://127.0.0.1:2; location ~ \"(?<=a)b\" { deny all; }",
        "root /srv; try_files /maintenance.html $uri =404;",
        "root /srv; rewrite ^ / break;",
        "root /srv; try_files $uri /none/;",
    ] {
        let others = "location / { proxy_pass http://127.0.0.1:1; }";
        let imported = server(&format!(
            "location /a {{ {lost} }} location /none/ {{ root /srv; }} {others}"
        ));
        let text = &imported.text;
        assert!(imported.report.has_losses(), "{lost}");
        assert_eq!(imported.problems, [], "{lost}: {text}");
        let is_closed = text.contains("status = 501") && !text.contains("127.0.0.1:2");
        assert!(is_closed && text.contains("127.0.0.1:1"), "{lost}: {text}");
    }
}

#[test]
fn hidden_files_stay_closed_where_their_location_is_lost() {
    let text = server(
        "location ~ /\\.(?!well-known) { deny all; include gone.conf; } \
         location / { proxy_pass http://127.0.0.1:1; }",
    )
    .text;
    let closed = text.matches("return = { status = 501 }").count();
    assert!(closed == 2 && text.contains("/\\..*/\\."), "{text}");
}

#[test]
fn the_last_address_that_a_trusted_proxy_forwards_is_told_of() {
    let report = server(
        "set_real_ip_from 10.0.0.1; location / { proxy_pass http://127.0.0.1:1; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }",
    )
    .report;
    let told = report.attention();
    assert!(
        told.contains("its last address is the trusted proxy's"),
        "{told}"
    );
}

#[test]
fn an_expression_within_an_expression_closes_the_outer_one() {
    let text = server(
        "location ~ ^/a { proxy_pass http://127.0.0.1:1; location ~ secret { deny all; } } \
         location / { proxy_pass http://127.0.0.1:2; }",
    )
    .text;
    let is_closed = text.contains("status = 501") && !text.contains("127.0.0.1:1");
    assert!(is_closed && text.contains("127.0.0.1:2"), "{text}");
}

#[test]
fn requests_of_a_server_whose_names_are_lost_reach_no_other_one() {
    let site = |name: &str, port: u16| {
        format!(
            "server {{ listen 80; server_name {name}; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}"
        )
    };
    let sites = [
        site("a.test", 1),
        site("\"~^(?!a)b\"", 2),
        site("c.test ~^b", 3),
    ];
    let imported = of(&[("a.conf", &sites.concat())]).unwrap();
    let text = &imported.text;
    assert_eq!(imported.problems, [], "{text}");
    let routes: Vec<&str> = text.split("[[route]]").skip(1).collect();
    let open = |route: &&&str| route.contains("proxy =");
    let hosts: Vec<bool> = routes
        .iter()
        .filter(open)
        .map(|route| route.contains("host ="))
        .collect();
    assert_eq!(hosts, [true, true], "{text}");
    assert!(
        !routes
            .iter()
            .filter(open)
            .any(|route| route.contains("~^b")),
        "{text}"
    );
}

#[test]
fn a_server_whose_clients_show_no_certificate_is_closed() {
    let tls = "listen 443 ssl; ssl_certificate a.pem; ssl_certificate_key a.key;";
    let sites = format!(
        "server {{ {tls} server_name a.test; return 200 open; }} server {{ {tls} server_name b.test; \
         ssl_client_certificate ca.pem; ssl_verify_client on; return 200 hidden; }}"
    );
    let text = of(&[("a.conf", &sites)]).unwrap().text;
    assert!(text.contains("open") && !text.contains("hidden"), "{text}");
    // Whom one server knows is a stranger to the other.
    let site = |name: &str| {
        format!(
            "server {{ {tls} server_name {name}.test; ssl_client_certificate {name}.pem; \
             ssl_verify_client on; return 200 hidden; }}"
        )
    };
    let text = of(&[("a.conf", &(site("a") + &site("b")))]).unwrap().text;
    assert!(!text.contains("hidden"), "{text}");
    // Where TLS is not spoken, nobody is asked.
    let text = server(
        "listen 443 ssl; ssl_certificate /c/$ssl_server_name.pem; \
         ssl_certificate_key /c/$ssl_server_name.key; ssl_client_certificate ca.pem; \
         ssl_verify_client on; return 200 hidden;",
    )
    .text;
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn methods_that_are_kept_out_are_so_before_an_if_is_asked() {
    let limit = "limit_except GET { deny all; } proxy_pass http://127.0.0.1:1;";
    let text = forced(&format!("if ($http_x_a) {{ return 200 a; }} {limit}"));
    let (first, second) = (text.find("status = 403"), text.find("status = 200"));
    assert!(first.is_some() && first < second, "{text}");
}

#[test]
fn an_if_that_asks_for_the_path_of_a_nested_expression_is_lost() {
    let imported = server(
        "location /a/ { location ~ b { if ($uri ~ c) { add_header X-A 1; } \
         proxy_pass http://127.0.0.1:1; } }",
    );
    let text = &imported.text;
    assert_eq!(imported.problems, [], "{text}");
    let is_closed = text.contains("status = 501") && !text.contains("proxy =");
    assert!(is_closed, "{text}");
}

#[test]
fn a_redirect_of_every_path_says_how_long_it_may_be_kept() {
    let text = forced("expires 1h; rewrite ^ https://a.test/b permanent;");
    let is_redirect = text.contains("return = { status = 301");
    assert!(is_redirect && text.contains("expires = \"1h\""), "{text}");
}

#[test]
fn a_method_that_limit_except_names_with_its_twin_is_written_once() {
    let text = forced("limit_except HEAD GET { deny all; } proxy_pass http://127.0.0.1:1;");
    assert!(text.contains("method = [\"HEAD\", \"GET\"]"), "{text}");
}

#[test]
fn a_page_is_the_answer_that_comes_first() {
    let text = server(
        "error_page 404 /e; location / { return 404; } \
         location = /e { rewrite ^ https://told.test/ redirect; return 200 never; }",
    )
    .text;
    assert!(text.contains("told") && !text.contains("never"), "{text}");
}

#[test]
fn a_stream_whose_guard_or_certificate_is_lost_is_left_out() {
    let rest = "server { listen 5433; proxy_timeout 5m; proxy_responses 1; \
                proxy_pass 127.0.0.1:2; }";
    for lost in [
        "listen 5432; js_access m.check;",
        "listen 5432; include office_only.conf;",
        "listen 5432 ssl;",
        "listen 5432 ssl; ssl_certificate /c/$ssl_server_name.pem; \
         ssl_certificate_key /c/$ssl_server_name.key;",
    ] {
        let streams = format!("stream {{ server {{ {lost} proxy_pass 127.0.0.1:1; }} {rest} }}");
        let imported = of(&[("a.conf", &streams)]).unwrap();
        let text = &imported.text;
        assert!(imported.report.has_losses(), "{lost}");
        assert_eq!(imported.problems, [], "{lost}: {text}");
        let is_open = text.contains("127.0.0.1:1") || text.contains("\"5432\"");
        assert!(!is_open && text.contains("127.0.0.1:2"), "{lost}: {text}");
    }
}

#[test]
fn what_stands_behind_a_break_is_left_out() {
    let text = server("location / { break; return 403; }").text;
    assert!(!text.contains("403"), "{text}");
}

#[test]
fn a_location_that_refuses_by_the_end_of_a_path_counts_a_newline_at_it() {
    let text = server("location ~ \\.php$ { deny all; } location ~ \\.txt$ { return 200 a; }").text;
    assert!(text.contains("php\\n?$") && text.contains("txt$"), "{text}");
}

#[test]
fn a_pipe_that_is_included_is_not_waited_for() {
    struct Pipes(Files);
    impl System for Pipes {
        fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
            assert!(!self.is_pipe(file), "a pipe is read");
            self.0.read(file)
        }

        fn is_pipe(&self, file: &Path) -> bool {
            file.ends_with("pipe.conf")
        }
    }
    let site = format!("include pipe.conf; {SITE}");
    let files = Pipes(Files::of(&[("a.conf", &site)]));
    let imported = import(Path::new("a.conf"), Path::new("waypost.toml"), &files).unwrap();
    let report = imported.report.attention();
    assert!(report.contains("it is a pipe"), "{report}");
}

#[test]
fn addresses_that_include_each_other_are_lost() {
    let two =
        "server { listen 8080; return 200 a; } server { listen 127.0.0.1:8080; return 200 b; }";
    let report = of(&[("a.conf", two)]).unwrap().report;
    assert!(
        report
            .attention()
            .contains("`8080` has this address as well"),
        "{}",
        report.full()
    );
}

#[test]
fn a_mark_of_the_encoding_at_the_beginning_is_skipped() {
    let report = of(&[("a.conf", &format!("\u{feff}{SITE}"))])
        .unwrap()
        .report;
    assert!(!report.has_losses(), "{}", report.full());
}

#[test]
fn a_configuration_whose_servers_are_in_a_missing_file_names_the_file() {
    let error = of(&[("a.conf", "http {\n include sites.conf; }")]).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("`sites.conf`") && said.contains("a.conf:2"),
        "{said}"
    );
}

#[test]
fn values_that_grow_without_end_are_lost_and_take_no_time() {
    let doubled = "set $a \"$a$a$arg_x\"; ".repeat(60);
    let decided = "if ($arg_x = 1) { set $a \"$a$a\"; } ".repeat(40);
    let asked = "if ($b ~ \"(?<b>.+)\") { set $c $b; } ".repeat(2000);
    for sets in [doubled, decided, asked] {
        let begun = processor_time();
        let text = forced(&format!("set $a x; {sets} return 200 $a$b;"));
        assert!(text.len() < 1 << 20, "{}", text.len());
        let took = processor_time() - begun;
        assert!(took.as_secs() < 20, "{took:?}");
    }
    let circle =
        "map $b $a { default $b; } map $a $b { default $a; } server { listen 80; return 200 $a; }";
    let report = of(&[("a.conf", circle)]).unwrap().report.full();
    assert!(report.contains("is made of itself"), "{report}");
}

#[test]
fn a_map_that_depends_on_its_place_is_made_for_each_place() {
    let site = "map $kind $page { a one; b two; } server { listen 80; \
                location /a { set $kind a; return 200 $page; } \
                location /b { set $kind b; return 200 $page; } }";
    let text = of(&[("a.conf", site)]).unwrap().text;
    for expected in [
        "[variable.page]",
        "[variable.page_2]",
        "from = \"a\"",
        "from = \"b\"",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// Of this thread: what else the machine does is not counted.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

#[test]
fn ten_megabytes_take_time_in_proportion() {
    let sites = |number: usize| {
        let site = |index| {
            format!(
                "server {{ listen 80; server_name s{index}.example; location / {{ proxy_pass http://127.0.0.1:1; }} \
                 location /api/ {{ proxy_pass http://127.0.0.1:2/; proxy_read_timeout 5m; }} }}\n"
            )
        };
        (0..number).map(site).collect::<String>()
    };
    let took = |number| {
        let text = sites(number);
        let begun = processor_time();
        let tree = tree::read(Path::new("a.conf"), &Files::of(&[("a.conf", &text)])).unwrap();
        let accounts = Accounts::new(&tree);
        let output = translate(&tree, &accounts);
        fallback::account(&tree, &accounts);
        let text = output.render(&accounts.into_report(&tree));
        assert!(text.len() > number * 100);
        processor_time() - begun
    };
    // Ten times as much: far from a hundred times as long.
    let (small, large) = (took(500), took(5000));
    assert!(large < small * 50, "{small:?}, {large:?}");
}

#[test]
fn nginxs_files_are_told_from_toml() {
    for (name, text, expected) in [
        ("nginx.conf", "", true),
        ("site", SITE, true),
        ("default", "# a comment\nuser www-data;", true),
        ("waypost.toml", SITE, false),
        ("waypost", "[[listen]]\naddress = \"80\"\n", false),
        ("waypost", "include = \"a.toml\"\n[server]\n", false),
    ] {
        assert_eq!(
            is_nginx(Path::new(name), text.as_bytes()),
            expected,
            "{name} {text}"
        );
    }
}

/// Words of configurations, cut and put together anew: nothing panics, and what is made of it is
/// valid or has been found to be lost.
#[test]
fn configurations_of_shuffled_words_do_not_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/import");
    let mut words: Vec<String> = Vec::new();
    let mut files: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            let text = std::fs::read_to_string(path).unwrap();
            words.extend(
                text.split_inclusive([' ', ';', '{', '}'])
                    .map(str::to_owned),
            );
            files.push(text);
        }
    }
    files.sort();
    words.sort();
    let mut state = 1_u64;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for round in 0..600 {
        let file = &files[round % files.len()];
        let mut parts: Vec<&str> = file.split_inclusive([' ', ';', '{', '}']).collect();
        for _ in 0..1 + below(4) {
            let at = below(parts.len());
            match below(3) {
                0 => drop(parts.remove(at)),
                1 => parts.insert(at, &words[below(words.len())]),
                _ => parts[at] = &words[below(words.len())],
            }
            if parts.is_empty() {
                break;
            }
        }
        let text = parts.concat();
        if let Ok(imported) = of(&[("a.conf", &text)]) {
            let _ = imported.report.full();
        }
    }
}

/// What of a configuration is lost, as the report has it.
fn lost(site: &str) -> Vec<String> {
    let report = of(&[("a.conf", site)]).unwrap().report;
    let entries = report.entries.into_iter();
    let lost = entries.filter(|entry| entry.outcome == Outcome::Lost);
    lost.map(|entry| entry.directive).collect()
}

#[test]
fn what_another_location_sets_before_it_leads_requests_on_is_lost() {
    let led = "server { listen 80; set $deny 0; \
               location /priv/ { set $deny 1; rewrite ^/priv/(.*)$ /go/$1 last; } \
               location /go/ { if ($deny) { return 403; } proxy_pass http://127.0.0.1:1; } }";
    assert!(
        lost(led).iter().any(|lost| lost.starts_with("if")),
        "{:?}",
        lost(led)
    );
    let alone = led.replace(" last;", " break; proxy_pass http://127.0.0.1:1;");
    assert_eq!(lost(&alone), [""; 0]);
    let around = "server { listen 80; set $ok 0; location /a { set $ok 1; location /a/b { \
                  if ($ok) { return 200 b; } return 403; } return 204; } }";
    let text = of(&[("a.conf", around)]).unwrap().text;
    assert!(!text.contains("body = \"b\""), "{text}");
}

#[test]
fn an_index_or_a_location_that_cannot_be_told_apart_is_lost() {
    for (site, expected) in [
        (
            "root /srv; location / { } location ~ \\.html$ { deny all; }",
            "location /",
        ),
        (
            "root /srv; location / { } location ~ ^/in/.*\\.html$ { deny all; }",
            "location /",
        ),
        (
            "root /srv; location / { } location ~ ^/(a|b)/index { auth_basic x; \
             auth_basic_user_file /u; }",
            "location /",
        ),
        (
            "root /srv; location / { } location /in/index { if ($arg_x) { return 403; } }",
            "location /",
        ),
        (
            "location / { return 204; } location /a?b { deny all; }",
            "location /a?b",
        ),
        (
            "location ~ ^/x { location /x/q { deny all; } return 204; }",
            "location /x/q",
        ),
        (
            "root /srv; location @app { return 204; } location / { try_files $uri.html @app; }",
            "try_files $uri.html @app",
        ),
    ] {
        let lost = lost(&format!("server {{ listen 80; {site} }}"));
        assert!(lost.iter().any(|lost| lost == expected), "{site}: {lost:?}");
    }
}

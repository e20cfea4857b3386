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

mod known;

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
        "rewrite \"^/(?=open)\" /closed last;",
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
        "root /srv; try_files $uri.html =404;",
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

/// How long it takes to translate a text.
fn took(text: &str) -> Duration {
    let begun = processor_time();
    let files = Files::of(&[("a.conf", text)]);
    let tree = tree::read(Path::new("a.conf"), &files).unwrap();
    let accounts = Accounts::new(&tree);
    let output = translate(&tree, &accounts, &files);
    fallback::account(&tree, &accounts);
    let text = output.render(&accounts.into_report(&tree));
    assert!(text.len() > 100, "{text}");
    processor_time() - begun
}

#[test]
fn large_files_take_time_in_proportion() {
    let repeated =
        |number: usize, part: &dyn Fn(usize) -> String| (0..number).map(part).collect::<String>();
    let server = |index: usize, more: &str| {
        format!("server {{ listen 80; listen 443 ssl; server_name s{index}.example; {more} }}\n")
    };
    let sites = |number| {
        repeated(number, &|index| {
            let more = "location / { proxy_pass http://127.0.0.1:1; } \
                        location /api/ { proxy_pass http://127.0.0.1:2/; proxy_read_timeout 5m; }";
            server(index, more)
        })
    };
    let certificates = |number| {
        repeated(number, &|index| {
            let more = format!(
                "ssl_certificate {index}.pem; ssl_certificate_key {index}.key; root /srv/{index}; \
                 error_page 404 /{index}.html; location / {{ return 204; }}"
            );
            server(index, &more)
        })
    };
    let rules = |number| repeated(number, &|index| server(index, "rewrite ^/a /b last;"));
    let kinds: [&dyn Fn(usize) -> String; 3] = [&sites, &certificates, &rules];
    for (kind, text) in kinds.iter().enumerate() {
        // Ten times as much: far from a hundred times as long.
        let (small, large) = (took(&text(300)), took(&text(3000)));
        assert!(large < small * 30, "{kind}: {small:?}, {large:?}");
    }
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
/// valid or has been found to be lost. `WAYPOST_IMPORT_ROUNDS` has it done more often.
#[test]
fn configurations_of_shuffled_words_do_not_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/import");
    let mut words: Vec<String> = Vec::new();
    let mut files: Vec<String> = Vec::new();
    let sites = folder.join("sites");
    let entries = [folder, sites].map(|folder| std::fs::read_dir(folder).unwrap());
    for entry in entries.into_iter().flatten() {
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
    let rounds = std::env::var("WAYPOST_IMPORT_ROUNDS");
    let rounds = rounds.map_or(600, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
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

/// The file that is made of what stands in `http`.
fn made_of(http: &str) -> Imported {
    let imported = of(&[("a.conf", &format!("http {{ {http} }}"))]).unwrap();
    assert_eq!(imported.problems, [], "{}", imported.text);
    imported
}

#[test]
fn a_cache_costs_one_word_and_what_tells_of_it_costs_nothing() {
    let site = "http { proxy_cache_path /c keys_zone=c:1m; server { listen 80; location / { \
                proxy_cache c; proxy_cache_valid 200 1m; proxy_no_cache $cookie_a; \
                add_header X-Cached $upstream_cache_status; proxy_pass http://127.0.0.1:1; } } }";
    assert_eq!(lost(site), ["proxy_cache c"]);
    let files = Files::of(&[("a.conf", site)]);
    let without = |name: &str| {
        let names = [name.to_owned()];
        import_without(&names, Path::new("a.conf"), Path::new("w.toml"), &files)
    };
    let agreed = without("proxy_cache").unwrap();
    assert!(!agreed.report.has_losses(), "{}", agreed.report.full());
    assert!(!agreed.text.contains("X-Cached"), "{}", agreed.text);
    let told = |entry: &Entry| entry.note == "left out: `--without proxy_cache`";
    let entries = &agreed.report.entries;
    let at = entries.iter().position(told).unwrap();
    assert_eq!(entries[at + 1].directive, "proxy_cache_valid 200 1m");
    let refused = |name| without(name).unwrap_err().to_string();
    assert!(
        refused("location").contains("has a block"),
        "{}",
        refused("location")
    );
    assert!(
        refused("proxi").contains("no such directive"),
        "{}",
        refused("proxi")
    );
}

#[test]
fn a_certificate_of_several_servers_has_the_names_of_all_of_them() {
    let server = |name: &str| {
        format!(
            "server {{ listen 443 ssl; server_name {name}; ssl_certificate a.pem; \
             ssl_certificate_key a.key; location / {{ return 204; }} }} "
        )
    };
    let refusing = "server { listen 443 ssl default_server; ssl_reject_handshake on; } ";
    let text = made_of(&(refusing.to_owned() + &server("a.example") + &server("b.example"))).text;
    assert!(
        text.contains("names = [\"a.example\", \"b.example\"]"),
        "{text}"
    );
    // Which ones fit is not known: the certificate tells.
    let text = made_of(&(refusing.to_owned() + &server("a.example") + &server("~^x"))).text;
    assert!(!text.contains(" names = "), "{text}");
}

#[test]
fn rules_of_the_first_server_are_for_all_hosts_that_no_other_one_has() {
    let sites = "server { listen 80; server_name a.example; rewrite ^(.*) http://b.example$1 permanent; } \
                 server { listen 80; server_name b.example; rewrite ^/x /y last; location / { return 204; } }";
    let text = made_of(sites).text;
    for when in [
        "when = '$host !~* ^(b\\.example)$'",
        "when = '$host ~* ^(b\\.example)$'",
    ] {
        assert!(text.contains(when), "{when}: {text}");
    }
    let overlapping = sites.replace("server_name b.example", "server_name *.example");
    assert!(lost(&format!("http {{ {overlapping} }}")).len() > 1);
}

#[test]
fn a_route_that_a_name_leads_to_has_no_groups_of_a_host() {
    let site = "server { listen 80; server_name ~^(?<t>\\w+)\\.example$; root /srv; \
                location / { try_files $uri @app; } location @app { proxy_pass http://127.0.0.1:1; \
                proxy_set_header X-T $t; } }";
    let text = made_of(site).text;
    assert!(text.contains("X-T = \"$host_t\""), "{text}");
}

#[test]
fn a_zone_counts_by_what_a_place_knows() {
    let zone = "limit_req_zone $t zone=z:1m rate=1r/s; ";
    let site = |name: &str| {
        format!(
            "server {{ listen 80; server_name {name}; limit_req zone=z; \
             location / {{ proxy_pass http://127.0.0.1:1; }} }} "
        )
    };
    let text = made_of(&(zone.to_owned() + &site("~^(?<t>\\w+)\\.example$"))).text;
    assert!(text.contains("key = \"$host_t\""), "{text}");
    let named = "limit_req_zone $server_name zone=z:1m rate=1r/s; ";
    let text = made_of(&(named.to_owned() + &site("a.example"))).text;
    assert!(text.contains("key = \"a.example\""), "{text}");
    let two = format!("{named}{}{}", site("a.example"), site("b.example"));
    let lost = lost(&format!("http {{ {two} }}"));
    assert!(lost.contains(&"limit_req zone=z".to_owned()), "{lost:?}");
    // The first one is limited as it is in nginx; the second one is closed.
    let text = made_of(&two).text;
    assert!(text.contains("key = \"a.example\""), "{text}");
    assert_eq!(text.matches("proxy = ").count(), 1, "{text}");
    assert_eq!(text.matches("status = 501").count(), 1, "{text}");
}

#[test]
fn a_rewrite_for_paths_that_do_not_go_on_so_knows_letters_and_ends_as_nginx_does() {
    let text = made_of(
        "server { listen 80; location / { rewrite ^/(?!in$|\\d) /index.php last; \
         proxy_pass http://127.0.0.1:1; } }",
    )
    .text;
    assert!(text.contains(r"$uri !~ ^/(?:in\n?$|[0-9])"), "{text}");
}

#[test]
fn a_place_that_keeps_out_and_answers_nothing_keeps_out() {
    let text = made_of(
        "server { listen 80; location /in/ { deny 10.0.0.0/8; \
                        location /in/x { proxy_pass http://127.0.0.1:1; } } }",
    )
    .text;
    let (_, outer) = text.split_once("path = \"/in/\"").unwrap();
    assert!(outer.contains("deny 10.0.0.0/8"), "{text}");
}

#[test]
fn what_falls_back_to_a_path_above_its_own_is_led_there() {
    let php = "location ~ \\.php(?:$|/) { \
               rewrite ^/(?!index|remote\\.php/(?:a|b)) /index.php$request_uri; \
               proxy_pass http://127.0.0.1:1; }";
    let site = |try_files: &str, more: &str| {
        format!(
            "server {{ listen 80; root /srv; index i.html; {more} {php} location / {{ {try_files}; }} }}"
        )
    };
    let tries = "try_files $uri /index.php$request_uri";
    let text = made_of(&site(tries, "")).text;
    for expected in [
        "^(.*)$ /index.php$1 break",
        "from = \"^/\", to = \"/index.php$request_uri\"",
        "when = '$uri !~ ^/(?:index|remote\\.php/(?:a|b))'",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for (tries, more) in [
        (tries, "location ~ \\.css$ { return 204; }"),
        ("try_files $uri /remote.php$request_uri", ""),
    ] {
        let site = format!("http {{ {} }}", site(tries, more));
        assert!(!lost(&site).is_empty(), "{tries} {more}");
        let text = of(&[("a.conf", &site)]).unwrap().text;
        assert!(text.contains("status = 501"), "{tries} {more}: {text}");
    }
    // The request's query is there as well.
    let asked = "server { listen 80; root /srv; location / { try_files $uri /p$request_uri; } \
                 location ^~ /p/ { if ($arg_x) { return 403; } proxy_pass http://127.0.0.1:1; } }";
    let lost = lost(&format!("http {{ {asked} }}"));
    assert!(lost.iter().any(|lost| lost.starts_with("if")), "{lost:?}");
}

#[test]
fn a_location_that_sets_and_leads_on_answers_with_what_it_sets() {
    let site = |more: &str| {
        format!(
            "server {{ listen 80; set $p \"\"; \
             location = /b {{ proxy_pass http://127.0.0.1:1/b?p=$p&$args; {more} }} \
             location ~ ^/([a-z]+)/b {{ set $p $1; rewrite ^/(.*)$ /b; }} }}"
        )
    };
    let text = made_of(&site("")).text;
    assert!(text.contains("p=$1&$args"), "{text}");
    assert!(text.contains("/b?p=&$args"), "{text}");
    assert!(!lost(&format!("http {{ {} }}", site("if ($p) { return 403; }"))).is_empty());
}

#[test]
fn an_alias_of_what_an_expression_has_captured_is_a_root() {
    let site = |location: &str, alias: &str| {
        format!("server {{ listen 80; location {location} {{ alias {alias}; }} }}")
    };
    for (location, alias, expected) in [
        ("~ ^/(css|js)/(.*)$", "/srv/$1/$2", "files = \"/srv\""),
        ("~ ^/(css|js)/(.*)", "/srv/$1/$2", "files = \"/srv\""),
        ("~ ^/a\\.b/((x|y)/.*)$", "/srv/a.b/$1", "files = \"/srv\""),
        ("~ ^/[a-z]+/c.js$", "/srv/c.js", "file = \"c.js\""),
    ] {
        let text = made_of(&site(location, alias)).text;
        assert!(text.contains(expected), "{location} {alias}: {text}");
    }
    for (location, alias) in [
        ("~ ^/(css|js)/(.*)$", "/srv/$2/$1"),
        ("~ ^/(css|js)/(.*)$", "/srv/$1"),
        ("~ ^/(css|js)/([a-z]+)", "/srv/$1/$2"),
        ("~ /(css|js)/(.*)$", "/srv/$1/$2"),
        ("~* ^/A/(.*)$", "/srv/A/$1"),
        ("~ ^/(a|b)?/(.*)$", "/srv/$1/$2"),
    ] {
        assert!(
            !lost(&format!("http {{ {} }}", site(location, alias))).is_empty(),
            "{location}"
        );
    }
}

#[test]
fn only_a_rule_that_may_lead_to_a_directory_leads_to_its_index() {
    for (rule, is_lost) in [
        (r"^/d/(.*)/(\w+)\.(zip|exe)$ /f/$1/$2-x.$3 break", false),
        (r"^/d/(.*)$ /f/x.html break", false),
        (r"^/d/(.*)$ /x.html?a=/ break", false),
        (r"^/d/(\w+)$ /x$1 break", false),
        (r"^/d/(.*)$ /$1 break", true),
        (r"^/d/(\w+)$ /$1/ break", true),
        (r"^/d(.*)$ /x$1 break", true),
        (r"^/d/([^a]+)$ /x$1 break", true),
        (r"^/d/(?<a>\w+)$ /x$a break", true),
        (r"^/d/(a|b/)$ /x$1 break", true),
        (r"^/d/(.*)$ /$1 last", false),
        (r"^/d/(.*)$ /$1", false),
    ] {
        let site = format!(
            "http {{ server {{ listen 80; location = /index.html {{ deny all; }} \
             location /d {{ root /srv; rewrite {rule}; }} }} }}"
        );
        assert_eq!(
            !lost(&site).is_empty(),
            is_lost,
            "{rule}: {:?}",
            lost(&site)
        );
    }
}

#[test]
fn a_place_that_leads_all_of_its_requests_away_has_no_index() {
    let site = |rule: &str| {
        format!(
            "http {{ server {{ listen 80; location = /d/a/index.html {{ deny all; }} \
             location ~ ^/d/(.*)$ {{ root /srv; rewrite {rule}; }} }} }}"
        )
    };
    assert_eq!(lost(&site("^/d/(.*)$ /$1")), [""; 0]);
    assert_eq!(lost(&site("^/d/(.*)$ /$1 last")), [""; 0]);
    for rule in ["^/d/(.+)$ /$1", "^/d/(.*)$ /$1 break"] {
        assert!(!lost(&site(rule)).is_empty(), "{rule}");
    }
}

/// Servers of one address, with their names and keys, that order from one authority; the reports of
/// lines with this word.
fn ordered(servers: &[(&str, &str)], word: &str) -> (String, String) {
    let mut text =
        "acme_issuer le { uri https://le.example/dir; state_path /var/acme; }\n".to_owned();
    for (name, key) in servers {
        text += &format!(
            "server {{ listen 443 ssl; server_name {name}; acme_certificate le{key};\n\
             ssl_certificate $acme_certificate; ssl_certificate_key $acme_certificate_key;\n\
             location / {{ proxy_pass http://127.0.0.1:1; }} }}\n"
        );
    }
    let imported = of(&[("nginx.conf", &format!("http {{ {text} }} events {{}}"))]).unwrap();
    let report = imported.report.full();
    let lines: Vec<&str> = report.lines().collect();
    let told = lines.windows(2).filter(|pair| pair[0].contains(word));
    let told = told.map(|pair| format!("{}\n", pair[1].trim()));
    (imported.text, told.collect())
}

#[test]
fn of_an_authority_that_nothing_is_ordered_from_nothing_is_said_to_be_translated() {
    let (text, told) = ordered(&[("~^tenant", "")], "state_path");
    assert!(!text.contains("le.example"), "{text}");
    assert_eq!(told, "no server orders from it\n");
    let (text, told) = ordered(&[("~^tenant", ""), ("a.example", "")], "state_path");
    assert!(text.contains("domains = [\"a.example\"]"), "{text}");
    assert!(told.contains("`store` in `acme`"), "{told}");
}

#[test]
fn keys_are_compared_by_what_they_are_and_unknown_ones_are_accounted_for() {
    for (one, other) in [
        ("", " key=ecdsa:256"),
        (" key=rsa", " key=rsa:2048"),
        (" key=ecdsa", ""),
    ] {
        let servers = [("a.example", one), ("b.example", other)];
        let (_, told) = ordered(&servers, "acme_certificate");
        assert!(!told.contains("key_type"), "{told}");
    }
    let servers = [("a.example", ""), ("b.example", " key=rsa")];
    let (_, told) = ordered(&servers, "acme_certificate");
    assert!(told.contains("have one `key_type`"), "{told}");
    for unknown in [" key=rsa:1024", " key=ecdsa:512"] {
        let (text, told) = ordered(&[("a.example", unknown)], "acme_certificate");
        assert!(told.contains("there are keys on P-256"), "{told}");
        assert!(!text.contains("key_type"), "{text}");
    }
}

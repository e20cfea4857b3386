//! Configurations by chance: whatever nginx takes, what is made of it is valid.

use std::process::Command;

use fastrand::Rng;
use tempfile::TempDir;
use waypost_tests::nginx::{self, seed};
use waypost_tests::{child, waypost};

/// Configurations that are made; nginx refuses about half of them.
const CONFIGURATIONS: usize = 60;

const HOSTS: &[&str] = &["a.example", "www.a.example", "b.example", "x.b.example"];
const NAMES: &[&str] = &[".b.example", "*.example", "*.b.example", "a.*", "~^x", "_"];
const PATHS: &[&str] = &["/", "/css", "/css/", "/css/x", "/a/b/", "/404.html"];
const EXPRESSIONS: &[&str] = &["[.]php$", "^/a/", "^/css/x", "/[.]"];
const LED_TO: &[&str] = &[
    "/404.html",
    "/css/",
    "/none",
    "https://b.example/",
    "@named",
];
const ANSWERS: &[&str] = &[
    "return 404;",
    "return 301 https://$host$request_uri;",
    "return 200 text;",
    "return 302 /a;",
];
const RULES: &[&str] = &[
    "rewrite ^/a(.*)$ /css$1 last;",
    "rewrite ^ /404.html break;",
    "rewrite ^/x$ /y permanent;",
    "rewrite ^/css(.*)$ /a$1 break;",
];
const AROUND: &[&str] = &[
    "auth_basic closed; auth_basic_user_file users;",
    "limit_req zone=all burst=9;",
    "deny all;",
    "add_header X-A 1 always;",
    "expires 1h;",
    "internal;",
    "set $name x;",
];

fn any<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

/// An `if` that answers.
fn condition(rng: &mut Rng) -> String {
    let asked = match rng.u8(..6) {
        0 => "$http_x_a".to_owned(),
        1 => "$uri ~ ^/a".to_owned(),
        2 => format!("$host != {}", any(rng, HOSTS)),
        _ => format!("$host = {}", any(rng, HOSTS)),
    };
    format!("if ({asked}) {{ {} }}\n", any(rng, ANSWERS))
}

fn page(rng: &mut Rng) -> String {
    let status = any(rng, &["", "= ", "=200 ", "=301 ", "=204 ", "=404 "]);
    format!("error_page 403 404 {status}{};\n", any(rng, LED_TO))
}

fn location(rng: &mut Rng, depth: usize, outer: &str) -> String {
    let (sign, path) = match rng.u8(..5) {
        0 => ("~", any(rng, EXPRESSIONS).to_owned()),
        sign => {
            let more = any(rng, &["", "/", "x", "/b"]);
            let path = match outer {
                "" => any(rng, PATHS).to_owned(),
                outer => format!("{outer}{more}").replace("//", "/"),
            };
            ([" ", " ", "=", "^~"][usize::from(sign) - 1], path)
        }
    };
    let mut text = format!("location {sign} {path} {{\n");
    for (often, make) in [
        (4, &condition as &dyn Fn(&mut Rng) -> String),
        (4, &|rng| any(rng, RULES).to_owned()),
        (3, &|rng| any(rng, AROUND).to_owned()),
        (6, &page),
    ] {
        if rng.u8(..often) == 0 {
            text += &make(rng);
        }
    }
    text += match rng.u8(..6) {
        0 | 1 => "proxy_pass http://127.0.0.1:9;\n",
        2 => any(rng, ANSWERS),
        3 => "root files; try_files $uri $uri/ /404.html?a=1;\n",
        _ => "",
    };
    if depth < 2 && sign != "=" && rng.u8(..3) == 0 {
        let outer = if sign == "~" { "" } else { &path };
        text += &location(rng, depth + 1, outer);
    }
    text + "}\n"
}

fn server(rng: &mut Rng) -> String {
    let mut text = "server {\n".to_owned();
    let (first, count) = (rng.usize(..3), rng.usize(1..3));
    for port in (first..first + count).map(|port| 8001 + port % 3) {
        text += &format!("listen 127.0.0.1:{port};\n");
    }
    let (host, name) = (any(rng, HOSTS), any(rng, NAMES));
    text += &format!("server_name {host} {name};\n");
    for _ in 0..rng.usize(..3) {
        text += &condition(rng);
    }
    for (often, more) in [(2, "root files;\n".to_owned()), (5, page(rng))] {
        if rng.u8(..often) == 0 {
            text += &more;
        }
    }
    for _ in 0..rng.usize(..5) {
        text += &location(rng, 0, "");
    }
    text + "location @named { return 200 named; }\n}\n"
}

#[test]
fn whatever_nginx_takes_what_is_made_of_it_is_valid() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    eprintln!("WAYPOST_PARITY_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let directory = TempDir::new().expect("there is room for a directory");
    let file = directory.path().join("nginx.conf");
    let zone = "limit_req_zone $binary_remote_addr zone=all:1m rate=9r/s;\n";
    let mut compared = 0;
    for _ in 0..CONFIGURATIONS {
        let servers: String = (0..rng.usize(1..4)).map(|_| server(&mut rng)).collect();
        let text = format!("pid pid;\nerror_log log;\nevents {{}}\nhttp {{\n{zone}{servers}}}\n");
        std::fs::write(&file, &text).expect("the directory is ours");
        let mut command = Command::new("nginx");
        command.arg("-t").arg("-c").arg(&file);
        command.arg("-p").arg(directory.path());
        if child::run(command).0 != 0 {
            continue;
        }
        let mut command = Command::new(waypost());
        command.arg("import").arg(&file).arg("--force");
        let (_, out, err) = child::run(command);
        let is_valid = !out.is_empty() && !err.contains("is not valid");
        assert!(is_valid, "{err}\n{text}");
        compared += 1;
    }
    assert!(compared > 5, "nginx takes only {compared} of them");
}

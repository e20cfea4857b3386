//! `waypost import`: a real nginx with the original, and Waypost with what was made of it, get the
//! same requests and answer and forward the same, but for what the report says.
//!
//! The configurations are those of `tests/import`. Their addresses are replaced: servers by origins
//! that answer with the request as they got it, so that comparing answers compares what was
//! forwarded; listeners by free ports, which Waypost has on another loopback address.

mod asking; // servers that are asked about requests
mod edits; // what is changed of sites
mod kept_closed; // configurations of which something is lost
mod samples; // texts that fit an expression
mod served_files; // directories of configurations that answer with files
mod sites;
mod valid; // configurations by chance
mod statements; // nginx's directives, rewritten

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use rustls::ServerConfig;
use tempfile::TempDir;
use waypost_tests::nginx::{self, seed};
use waypost_tests::{
    Answer, Client, Nginx, Origin, Proxy, Request, Response, child, eventually, origin, proxy,
    waypost,
};

/// Requests of one configuration.
const REQUESTS: usize = 120;

/// What cannot be compared like this, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "limits",
        "what it answers depends on the time; `parity` compares limits",
    ),
    ("limits_of_many_kinds", "likewise"),
    (
        "ipv6_and_unix_listeners",
        "its listeners are in fixed places",
    ),
    ("rate_limits_by_network", "likewise"),
    ("container_names", "its names exist on another machine"),
    ("host_as_server", "its names exist on another machine"),
    ("resolver_variable", "its names exist on another machine"),
    (
        "grpc",
        "its directives are newer than the nginx of many machines",
    ),
    ("tengine_checks", "its directives are another server's"),
    ("acme_issuer", "its authorities are elsewhere"),
    ("unix_sockets", "its sockets are in fixed places"),
    ("https_upstream", "its servers speak TLS"),
    ("includes", "its files are beside it"),
    ("location_part", "nginx does not take a part of a `server`"),
];

/// Whose logs are compared as well: nothing in their lines is each proxy's own.
const COMPARED_LOGS: &[&str] = &["logs_in_json", "logs_by_condition"];

/// Headers that Waypost sends without being told, or writes in its own way.
const OWN: &[&str] = &[
    "connection",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
];

/// Headers of answers that are each proxy's own.
const FRAME: &[&str] = &[
    "server",
    "date",
    "connection",
    "keep-alive",
    "content-length",
    "transfer-encoding",
    "location",
    "content-type",
    // Of a 405, which has to have it (RFC 9110 section 15.5.6).
    "allow",
    // How long an answer may be kept is said by `Cache-Control` alone.
    "expires",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("import")
}

/// Headers that depend on what compresses an answer, and when.
const OF_CODING: &[&str] = &["content-encoding", "vary", "etag", "accept-ranges"];

/// Headers that tell of a file.
const OF_FILES: &[&str] = &["etag", "last-modified", "accept-ranges"];

/// The configurations of the folder, by name.
fn configurations() -> Vec<(String, String)> {
    configurations_in(&folder())
}

fn configurations_in(folder: &Path) -> Vec<(String, String)> {
    let files = std::fs::read_dir(folder).expect("the folder exists");
    let mut all: Vec<(String, String)> = files
        .map(|file| file.expect("it can be listed").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            (
                path.file_stem()
                    .expect("it has a name")
                    .to_string_lossy()
                    .into_owned(),
                text,
            )
        })
        .collect();
    all.sort();
    assert!(all.len() > 30, "the configurations were not found");
    all
}

/// An origin that answers with what it got.
async fn echo(number: String) -> Origin {
    echoes(number, None).await
}

/// As [`echo`], over TLS where there is a configuration for it.
async fn echoes(number: String, tls: Option<ServerConfig>) -> Origin {
    let answer = move |request: &Request| {
        let mut text = format!("{number} {} {}\n", request.method, request.target);
        let mut headers: Vec<String> = request
            .headers
            .0
            .iter()
            .map(|(name, value)| format!("{}: {value}\n", name.to_ascii_lowercase()))
            .collect();
        headers.sort();
        text.extend(headers);
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&request.body));
        let says = |word| request.target.contains(word);
        let handed_on = request.target.split_once("accel=");
        let answer = match (says("moved"), says("missing"), says("failing")) {
            (true, ..) => Answer::status(302, text).header("Location", "/elsewhere"),
            (_, true, _) => Answer::status(404, text),
            (.., true) => Answer::status(503, text),
            _ => Answer::ok(text),
        };
        let answer = answer
            .header("X-Powered-By", "origin")
            .header("Content-Type", "text/x-echo");
        match handed_on {
            Some((_, to)) => answer.header("X-Accel-Redirect", to),
            None => answer,
        }
    };
    match tls {
        Some(tls) => origin::answers_with(tls, answer).await,
        None => origin::answers(answer).await,
    }
}

/// A configuration whose addresses are real.
struct Placed {
    text: String,
    /// The listeners, in the order of the file.
    listeners: Vec<String>,
    _origins: Vec<Origin>,
}

async fn placed(text: &str, directory: &Path) -> Placed {
    let users = directory.join("users");
    std::fs::write(&users, "ann:{PLAIN}secret\n").expect("the directory is ours");
    let text = text.replace("/etc/nginx/.htpasswd", &users.display().to_string());
    // Relative, so that each writes beside its own configuration.
    let text = text.replace("access_log /var/log/nginx/", "access_log ");
    let text = served_files::placed(&text, directory);
    let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
    let mut listeners: BTreeMap<String, String> = BTreeMap::new();
    let (mut placed, mut order) = (String::new(), Vec::new());
    let text = text
        .replace("{ listen", "{\nlisten")
        .replace("; server_name", ";\nserver_name");
    for line in text.lines() {
        let word = line.trim_start();
        if word.starts_with("listen [") {
            continue;
        }
        if let Some(rest) = word.strip_prefix("listen ") {
            let end = rest.find([' ', ';']).expect("it ends");
            let (address, rest) = rest.split_at(end);
            let free = listeners.entry(address.to_owned()).or_insert_with(|| {
                let free = nginx::free_address();
                order.push(free.clone());
                free
            });
            let _ = writeln!(placed, "listen {free}{rest}");
            continue;
        }
        let mut rest = line;
        while let Some(at) = rest.find("127.0.0.1:") {
            let (before, from) = rest.split_at(at);
            let after = &from["127.0.0.1:".len()..];
            let end = after
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(after.len());
            let (port, after) = after.split_at(end);
            // Nobody listens there.
            if port == "1" {
                let _ = write!(placed, "{before}127.0.0.1:1");
                rest = after;
                continue;
            }
            if !origins.contains_key(port) {
                origins.insert(port.to_owned(), echo(port.to_owned()).await);
            }
            placed.push_str(before);
            placed.push_str(origins[port].address());
            rest = after;
        }
        let _ = writeln!(placed, "{rest}");
    }
    if order.is_empty() {
        // A part of a `server` listens nowhere.
        panic!("no `listen` in\n{text}");
    }
    Placed {
        text: placed,
        listeners: order,
        _origins: origins.into_values().collect(),
    }
}

/// The blocks for nginx: without what the harness says itself, and with folders of its own.
fn blocks(text: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {name};\n"))
        .concat();
    let mut kept = String::new();
    let mut within_events = false;
    for line in text.lines() {
        let word = line.trim_start();
        if word.starts_with("events") {
            within_events = !line.contains('}');
            continue;
        }
        if within_events {
            within_events = !line.contains('}');
            continue;
        }
        let own = ["user ", "worker_processes ", "pid ", "error_log "];
        if !own.iter().any(|own| word.starts_with(own)) {
            let _ = writeln!(kept, "{line}");
        }
    }
    let mut temporary = temporary;
    if served_files::has_some(text) && !text.contains("mime.types") {
        temporary.push_str("include /etc/nginx/mime.types;\n");
    }
    match kept.contains("http {") {
        true => kept.replace("http {", &format!("http {{\n{temporary}")),
        false => format!("http {{\n{temporary}access_log off;\n{kept}}}\n"),
    }
}

/// What was made of a configuration, with its listeners on another address; the report where
/// something is lost, unless that is `forced`.
fn imported(directory: &Path, placed: &Placed, is_forced: bool) -> Result<String, String> {
    let options: &[&str] = if is_forced { &["--force"] } else { &[] };
    imported_from(directory, &placed.text, &placed.listeners, options)
}

fn imported_from(
    directory: &Path,
    text: &str,
    listeners: &[String],
    options: &[&str],
) -> Result<String, String> {
    let is_forced = options.contains(&"--force");
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text).expect("the directory is ours");
    let mut command = Command::new(waypost());
    command.arg("import").arg(&file);
    command.args(options);
    let (code, out, err) = child::run(command);
    if code != i32::from(is_forced) {
        return Err(err);
    }
    let mut text = out;
    for listener in listeners {
        text = text.replace(listener, &moved(listener));
    }
    // What the harness waits for is in the log.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("error_log = "));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    match text.contains("[server]\n") {
        true => Ok(text),
        false => Ok(format!("[server]\naccess_log = false\n{text}")),
    }
}

fn moved(listener: &str) -> String {
    listener.replace("127.0.0.1:", "127.0.0.2:")
}

/// Words that stand behind a directive wherever it is.
fn words_behind<'a>(text: &'a str, directive: &'a str) -> impl Iterator<Item = &'a str> {
    let statements = text.split([';', '{', '}', '\n']);
    statements
        .filter_map(move |statement| statement.trim().strip_prefix(directive))
        .filter(|rest| rest.starts_with(' '))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_matches(['"', '\'']))
}

/// The paths of locations that are no expressions.
fn paths_of_locations(text: &str) -> impl Iterator<Item = &str> {
    words_behind(text, "location").filter(|word| word.starts_with('/'))
}

fn hosts(text: &str) -> Vec<String> {
    let mut hosts = vec!["other.example".to_owned(), "shop.b.example".to_owned()];
    for name in words_behind(text, "server_name") {
        let name = name.trim_start_matches("*.");
        let name = match name.strip_prefix('.') {
            Some(domain) => {
                hosts.push(domain.to_owned());
                format!("sub.{domain}")
            }
            None => name.to_owned(),
        };
        if name.contains('.') && !name.contains(['~', '*', '^']) {
            hosts.push(format!("deep.{name}"));
            hosts.push(name);
        }
    }
    hosts
}

fn paths(text: &str) -> Vec<String> {
    let fixed = [
        "/",
        "/a",
        "/a/b?q=1",
        "/a.png",
        "/x/style.CSS",
        "/.git/config",
        "/app/x.json",
        "/post/12",
        "/feed",
        "/user/ann/profile",
        "/v1/users/7",
        "/v1/orders/7?x=y",
        "/a%20b",
        "/moved",
        "/beta/x?debug=1",
        "/%61/../b//c",
        "/robots.txt",
        "/health",
        "/exact?x",
    ];
    let mut paths: Vec<String> = fixed.iter().map(|path| (*path).to_owned()).collect();
    for path in paths_of_locations(text) {
        paths.push(path.to_owned());
        paths.push(format!("{path}x"));
        paths.push(format!("{}/moved?y=%2F", path.trim_end_matches('/')));
        paths.push(format!("{}/a/b", path.trim_end_matches('/')));
        if path.len() > 1 && path.ends_with('/') {
            paths.push(path.trim_end_matches('/').to_owned());
        }
    }
    if text.contains("error_page") {
        let bases = paths_of_locations(text).map(|path| path.trim_end_matches('/'));
        let errors = bases
            .chain([""])
            .flat_map(|base| [format!("{base}/missing"), format!("{base}/failing")]);
        paths.extend(errors);
    }
    if served_files::has_some(text) {
        paths.extend(served_files::paths(text));
        // What names with a dot are is said in `docs/files.md`.
        if !text.contains("location ~ /\\.") {
            paths.retain(|path| !path.contains("/."));
        }
    }
    paths
}

/// The requests that stand in a file beside a configuration, where it needs some of its own: method,
/// target and fields, with ` | ` between these.
fn fixed_requests(name: &str) -> Vec<String> {
    let file = folder().join(format!("{name}.requests"));
    let lines = std::fs::read_to_string(file).unwrap_or_default();
    let request = |line: &str| {
        let (first, fields) = line.split_once(" | ").unwrap_or((line, ""));
        let mut request = format!("{first} HTTP/1.1\r\nConnection: close\r\n");
        if !fields.contains("Host: ") {
            request.push_str("Host: other.example\r\n");
        }
        for field in fields.split(" | ").filter(|field| !field.is_empty()) {
            let _ = write!(request, "{field}\r\n");
        }
        // A server is told so anyway.
        if first.starts_with("POST") {
            request.push_str("Content-Length: 0\r\n");
        }
        request + "\r\n"
    };
    lines.lines().map(request).collect()
}

/// A request of any kind that the configurations tell apart.
fn request(rng: &mut Rng, hosts: &[String], paths: &[String], text: &str) -> String {
    let any = |rng: &mut Rng, list: &[String]| list[rng.usize(..list.len())].clone();
    let has_files = served_files::has_some(text);
    let method = match has_files && rng.u8(..4) > 0 {
        true => ["GET", "GET", "GET", "HEAD"][rng.usize(..4)],
        false => ["GET", "GET", "GET", "POST", "OPTIONS", "DELETE", "PUT"][rng.usize(..7)],
    };
    let mut lines = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\n",
        any(rng, paths),
        any(rng, hosts)
    );
    lines.push_str("Connection: close\r\n");
    for line in [
        "User-Agent: scrapy/1\r\n",
        "Cookie: a=b; beta=1\r\n",
        "Authorization: Basic YW5uOnNlY3JldA==\r\n",
        "X-Custom: some value\r\n",
    ] {
        if rng.u8(..4) == 0 {
            lines.push_str(line);
        }
    }
    // What is said of a file is not said of a listing, and not of what is
    // compressed on the way, nor of a page in place of an error.
    let others = ["autoindex", "gzip on", "=200", " = @"];
    let is_sent_as_it_is = has_files && !others.iter().any(|other| text.contains(other));
    if is_sent_as_it_is && rng.u8(..4) == 0 {
        lines.push_str(served_files::field(rng, method));
    }
    // nginx 1.22 sends no parts of compressed copies: see `docs/files.md`.
    if text.contains("gzip") && !lines.contains("Range: ") && rng.bool() {
        lines.push_str("Accept-Encoding: gzip\r\n");
    }
    if text.contains("set_real_ip_from") && rng.bool() {
        lines.push_str("X-Forwarded-For: 203.0.113.9, 10.0.0.7\r\n");
    }
    match matches!(method, "POST" | "PUT") {
        true => lines + "Content-Length: 5\r\n\r\nhello",
        false => lines + "\r\n",
    }
}

/// The requests of a configuration: its own, and those that chance makes.
fn requests(name: &str, text: &str, rng: &mut Rng) -> Vec<String> {
    let (hosts, paths) = (hosts(text), paths(text));
    let mut requests = fixed_requests(name);
    requests.extend((0..REQUESTS).map(|_| request(rng, &hosts, &paths, text)));
    requests
}

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    location: String,
    headers: Vec<(String, String)>,
    /// Of an origin's answer, or of a text of the route's own.
    body: String,
    content_type: String,
}

fn seen(response: &Response, host: &str, text: &str) -> Seen {
    // Without scheme and host where they are those of the request: nginx puts them before a path,
    // with the port of its listener.
    let location = response.header("Location");
    let own = ["127.0.0.1", "127.0.0.2", host]
        .into_iter()
        .find_map(|host| {
            let rest = location.strip_prefix("http://")?.strip_prefix(host)?;
            let rest =
                rest.trim_start_matches([':', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
            // Without them, that would be another site.
            let is_path =
                rest.starts_with('/') && !rest.starts_with("//") && !rest.starts_with("/\\");
            match is_path {
                true => Some(rest.to_owned()),
                false => rest.starts_with('/').then(|| format!("here: {rest}")),
            }
        });
    // Two of them are nginx's own and one that was added: the latter counts.
    let types = response.headers.all("Content-Type");
    let content_type = types.last().copied().unwrap_or_default();
    let has_files = served_files::has_some(text);
    let compresses = text.contains("gzip");
    // A file in place of an error is told of by nginx as if it had been asked for.
    let is_page = text.contains("error_page") && (response.status != 304);
    let by_origin = content_type == "text/x-echo";
    let mut headers: Vec<(String, String)> = response
        .headers
        .0
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !FRAME.contains(&&**name))
        .filter(|(name, _)| !(compresses && OF_CODING.contains(&&**name)))
        .filter(|(name, _)| !(is_page && OF_FILES.contains(&&**name)))
        .collect();
    headers.sort();
    let headers = served_files::with_one_cache_control(headers);
    let is_text = by_origin
        || has_files
        || text.contains("error_page")
        || (response.status == 200 && text.contains("return 200"));
    let body = match is_text {
        true => served_files::told(response),
        false => String::new(),
    };
    let body = body.lines().filter(|line| {
        let name = line.split(": ").next().unwrap_or_default();
        !OWN.contains(&name)
    });
    let body = body.collect::<Vec<_>>().join("\n");
    // What nginx's own pages answer to methods that they do not have; a slash that is missing.
    let status = match response.status {
        405 => 404,
        308 => 301,
        status => status,
    };
    let is_text = is_text && !body.is_empty();
    Seen {
        status,
        // nginx takes away escapes that are not needed where `rewrite` redirects.
        location: own.unwrap_or(location.to_owned()).replace("%61", "a"),
        headers,
        body,
        content_type: if is_text {
            served_files::media_type(content_type, has_files)
        } else {
            String::new()
        },
    }
}

/// Whether no location is named after a path, whose ending may be another one then: a text of a
/// location has one type.
fn may_have_another_ending(text: &str, request: &str) -> bool {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    !paths_of_locations(text).any(|own| own == path)
}

/// Headers that both forwarded and Waypost sends by default have to agree as well where nginx was
/// told to send them.
fn own_headers(response: &Response) -> BTreeMap<String, String> {
    let text = response.text();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| {
            OWN.contains(name) && !matches!(*name, "connection" | "upgrade" | "x-forwarded-for")
        })
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

async fn compare(name: &str, text: &str, rng: &mut Rng) {
    let directory = TempDir::new().expect("there is room for a directory");
    let placed = placed(text, directory.path()).await;
    let toml = match imported(directory.path(), &placed, false) {
        Ok(toml) => toml,
        Err(report) => panic!("{name} is not imported whole:\n{report}"),
    };
    let nginx = Nginx::configured(&blocks(&placed.text), &placed.listeners[0]).await;
    let waypost: Proxy = proxy::run(&toml, &[]).await;
    for (number, request) in requests(name, text, rng).into_iter().enumerate() {
        let listener = &placed.listeners[rng.usize(..placed.listeners.len())];
        let expected = ask(listener, &request).await;
        let got = ask(&moved(listener), &request).await;
        let context = || {
            format!(
                "{name}, request {number}\n{request}\nnginx:\n{}\nwaypost:\n{}\n{}\n{toml}\n{}",
                shown(&expected),
                shown(&got),
                placed.text,
                nginx.log()
            )
        };
        let host = request
            .split("Host: ")
            .nth(1)
            .and_then(|rest| rest.split('\r').next());
        let host = host.unwrap_or_default();
        if served_files::departs(text, &request, &got, &expected) {
            continue;
        }
        let (mut of_got, of_expected) = (seen(&got, host, text), seen(&expected, host, text));
        if text.contains("types {") && may_have_another_ending(text, &request) {
            of_got.content_type.clone_from(&of_expected.content_type);
        }
        assert_eq!(of_got, of_expected, "{}", context());
        if expected.headers.all("Content-Type") == ["text/x-echo"] {
            let own = own_headers(&got);
            for (header, value) in own_headers(&expected) {
                assert_eq!(own.get(&header), Some(&value), "{header}: {}", context());
            }
        }
    }
    if COMPARED_LOGS.contains(&name) {
        compare_logs(&placed.text, &nginx, &waypost).await;
    }
    drop(waypost);
}

/// Both have written the same lines by now, or will have: of several workers, in another order.
async fn compare_logs(text: &str, nginx: &Nginx, waypost: &Proxy) {
    let logs = words_behind(text, "access_log");
    let logs: BTreeSet<&str> = logs
        .filter(|word| word.contains(".log") || word.contains(".json"))
        .collect();
    assert!(logs.len() > 3, "{logs:?}");
    for log in logs {
        let path = waypost.directory().join(log);
        let lines = || lines_of(&std::fs::read_to_string(&path).unwrap_or_default());
        let told = format!("as many lines in {log} as nginx has");
        eventually(&told, async || {
            lines().len() == lines_of(&nginx.file(log)).len()
        })
        .await;
        assert_eq!(lines(), lines_of(&nginx.file(log)), "{log}");
    }
}

/// The lines in order; of JSON what they say. Statuses are those that [`seen`] takes for the same.
fn lines_of(log: &str) -> Vec<String> {
    let log = log.replace("308", "301").replace("405", "404");
    let lines = log.lines().map(
        |line| match serde_json::from_str::<serde_json::Value>(line) {
            Ok(object) => object.to_string(),
            Err(_) => line.to_owned(),
        },
    );
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// An answer as it is read.
fn shown(response: &Response) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&response.raw_head),
        response.text()
    )
}

async fn ask(address: &str, request: &str) -> Response {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    match request.starts_with("HEAD ") {
        true => client.response_to_head().await,
        false => client.response().await,
    }
}

/// Whether a configuration can be run here.
fn can_be_run(name: &str, text: &str) -> bool {
    let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == name);
    let needs_files = text.contains("ssl_certificate") || text.contains("stream {");
    !elsewhere && !needs_files
}

/// Whether a configuration has something that cannot be said: its expected report begins so.
fn is_lossy(name: &str) -> bool {
    let report = std::fs::read_to_string(folder().join(format!("{name}.report")));
    report.is_ok_and(|report| report.starts_with("not supported:"))
}

#[tokio::test]
async fn imported_configurations_answer_and_forward_as_nginx_does() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    eprintln!("WAYPOST_PARITY_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let only = std::env::var("WAYPOST_IMPORT_ONLY").ok();
    let mut compared = 0;
    for (name, text) in configurations() {
        let is_wanted = only.as_ref().is_none_or(|only| *only == name);
        if is_wanted && can_be_run(&name, &text) && !is_lossy(&name) {
            compare(&name, &text, &mut rng).await;
            compared += 1;
        }
    }
    assert!(
        only.is_some() || compared > 20,
        "only {compared} were compared"
    );
}

/// `waypost` with these arguments in a folder with this file.
fn says(file: &str, text: &str, arguments: &[&str]) -> (i32, String, String, TempDir) {
    let directory = TempDir::new().expect("there is room for a directory");
    std::fs::write(directory.path().join(file), text).expect("the directory is ours");
    let mut command = Command::new(waypost());
    command.args(arguments).current_dir(directory.path());
    let (code, out, err) = child::run(command);
    (code, out, err, directory)
}

const WHOLE: &str = "server { listen 127.0.0.1:0; location / { return 200 hello; } }";
const LOSSY: &str =
    "server { listen 80; location / { try_files $uri /index.html; } location /a { return 204; } }";

#[test]
fn what_is_said_whole_is_printed_or_written() {
    let (code, out, err, _) = says("nginx.conf", WHOLE, &["import", "nginx.conf"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("[[route]]") && err.contains("directives: "),
        "{out}{err}"
    );
    let arguments = ["import", "nginx.conf", "-o", "new.toml"];
    let (code, printed, err, directory) = says("nginx.conf", WHOLE, &arguments);
    assert_eq!((code, &*printed), (0, ""), "{err}");
    let written = std::fs::read_to_string(directory.path().join("new.toml"));
    assert_eq!(written.expect("it is written"), out);
}

#[test]
fn what_is_lost_keeps_a_file_from_being_written_unless_it_is_forced() {
    let (code, out, err, _) = says("nginx.conf", LOSSY, &["import", "nginx.conf"]);
    assert_eq!((code, &*out), (1, ""));
    assert!(err.contains("nginx.conf:1: try_files"), "{err}");
    let (code, out, _, _) = says("nginx.conf", LOSSY, &["import", "nginx.conf", "--force"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("# not supported: try_files $uri /index.html   (nginx.conf:1)"),
        "{out}"
    );
    assert!(
        out.contains("status = 501") && out.contains("status = 204"),
        "{out}"
    );
}

#[test]
fn a_report_tells_of_every_directive() {
    let (code, out, err, _) = says("nginx.conf", LOSSY, &["import", "nginx.conf", "--report"]);
    assert_eq!((code, &*err), (1, ""));
    for directive in [
        "server",
        "listen 80",
        "location /",
        "try_files",
        "location /a",
        "return 204",
    ] {
        assert!(out.contains(directive), "{directive}: {out}");
    }
    assert!(
        out.ends_with("6 directives: 1 not supported, 5 translated\n"),
        "{out}"
    );
}

#[test]
fn check_reads_nginxs_configuration_as_it_is() {
    let (code, out, err, _) = says("nginx.conf", WHOLE, &["check", "-c", "nginx.conf"]);
    assert_eq!(
        (code, &*out),
        (0, "configuration nginx.conf is valid\n"),
        "{err}"
    );
    let (code, _, err, _) = says("nginx.conf", LOSSY, &["check", "-c", "nginx.conf"]);
    assert!(code == 1 && err.contains("try_files"), "{err}");
    let (code, _, err, _) = says("nginx.conf", "server {", &["check", "-c", "nginx.conf"]);
    assert!(code == 1 && err.contains("in nginx.conf:1"), "{err}");
}

#[tokio::test]
async fn run_serves_nginxs_configuration_as_it_is() {
    let directory = TempDir::new().expect("there is room for a directory");
    let file = directory.path().join("site");
    std::fs::write(&file, WHOLE).expect("the directory is ours");
    let mut command = Command::new(waypost());
    command
        .arg("run")
        .arg("-c")
        .arg(&file)
        .current_dir(directory.path());
    let process = child::Child::start(command);
    let said = "listening on ";
    let log = process
        .stderr
        .wait_until("a listener", |log| {
            log.contains(said) && log.ends_with('\n')
        })
        .await;
    let line = log
        .lines()
        .find_map(|line| Some(line.split_once(said)?.1.trim().to_owned()));
    let address = line.expect("it was there a moment ago");
    let response = ask(
        &address,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(response.text(), "hello");
}

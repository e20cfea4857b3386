//! Whole sites in the manner of those that people run, with TLS, names of containers and files that
//! they include: what is lost of them is taken out of the original, the rest has to be imported
//! whole, and a real nginx and Waypost answer and forward the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use rustls::ClientConfig;
use tempfile::TempDir;
use waypost_tests::tls::{self, Authority};
use waypost_tests::{Client, Nginx, Origin, Response, nginx, proxy};

use super::edits;
use super::samples::sample;
use super::statements::{Rewritten, Statement, rewritten, with_includes};
use super::{
    blocks, echoes, folder, hosts, imported_from, moved, paths, request, seed, seen, served_files,
    shown,
};

/// Requests of one site.
const REQUESTS: usize = 60;

/// A site whose addresses and files are real.
struct Placed {
    text: String,
    /// Each address in the order of the file, and whether TLS is spoken there.
    listeners: Vec<(String, bool)>,
    authority: Authority,
    _origins: Vec<Origin>,
}

/// Where something of nginx's is written, and who answers there.
#[derive(Default)]
struct Addresses {
    origins: BTreeMap<String, Origin>,
    listeners: BTreeMap<String, String>,
}

impl Addresses {
    /// The origin that stands for a server, called by another name.
    async fn origin(&mut self, server: &str, label: &str, authority: Option<&Authority>) -> String {
        if !self.origins.contains_key(server) {
            let tls = authority.map(|authority| authority.certificate(&["localhost"]).server());
            let origin = echoes(label.to_owned(), tls).await;
            self.origins.insert(server.to_owned(), origin);
        }
        self.origins[server].address().to_owned()
    }

    fn listener(&mut self, address: &str) -> String {
        let port = address.rsplit(':').next().unwrap_or_default();
        let free = || nginx::free_address();
        self.listeners
            .entry(port.to_owned())
            .or_insert_with(free)
            .clone()
    }
}

/// Servers that are named: in upstreams, and where requests are sent.
fn servers(text: &str) -> Vec<(String, String, bool)> {
    let mut upstreams = BTreeSet::new();
    let mut found = Vec::new();
    rewritten(text, |statement| {
        if statement.name() == "upstream" {
            upstreams.insert(statement.argument(0).to_owned());
        }
        Rewritten::Kept
    });
    rewritten(text, |statement| {
        if statement.name() == "server" && statement.is_in("upstream") {
            let label = statement.around.last().expect("it is within one");
            found.push((statement.argument(0).to_owned(), label.clone(), false));
        } else if let Some(server) = named_server(statement)
            && !upstreams.contains(server)
        {
            let is_tls = statement.argument(0).contains("s://");
            found.push((server.to_owned(), server.to_owned(), is_tls));
        }
        Rewritten::Kept
    });
    found
}

/// What the certificate of all servers is made out for.
fn names(text: &str) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    for host in hosts(text) {
        if let Some((_, domain)) = host.split_once('.') {
            names.push(format!("*.{domain}"));
        }
        names.push(host);
    }
    // Of expressions, what is below the domain that they end with.
    for regex in super::words_behind(text, "server_name") {
        let plain = regex.trim_end_matches('$').replace('\\', "");
        if let (true, Some((_, domain))) = (regex.starts_with('~'), plain.rsplit_once(").")) {
            names.push(format!("*.{domain}"));
        }
    }
    names
}

/// The server in an URL of `proxy_pass`, or in a variable that is set to one.
fn named_server<'a>(statement: &'a Statement<'_>) -> Option<&'a str> {
    let url = match statement.name() {
        "proxy_pass" | "grpc_pass" => statement.argument(0),
        "set" => statement
            .argument(1)
            .strip_prefix("http://")
            .map(|_| statement.argument(1))?,
        _ => return None,
    };
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let server = match rest.strip_prefix("unix:") {
        Some(path) => &rest[.."unix:".len() + path.find(':').unwrap_or(path.len())],
        None => rest.split('/').next().unwrap_or_default(),
    };
    (!server.contains('$')).then_some(server)
}

async fn placed(text: &str, directory: &Path) -> Placed {
    let authority = Authority::new("specs");
    let names = names(text);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let certificate = authority.certificate(&names);
    let certificate = certificate.write(directory, "certificate");
    let users = directory.join("users");
    std::fs::write(&users, "ann:{PLAIN}secret\n").expect("the directory is ours");
    let mut addresses = Addresses::default();
    let mut origins = BTreeMap::new();
    for (server, label, is_tls) in servers(text) {
        let tls = is_tls.then_some(&authority);
        let address = addresses.origin(&server, &label, tls).await;
        origins.insert(server, address);
    }
    let mut folders = 0;
    let mut listeners: Vec<(String, bool)> = Vec::new();
    let text = rewritten(text, |statement| {
        let argument = statement.argument(0);
        let by = |text: String| Rewritten::By(text);
        match statement.name() {
            "listen" if argument.starts_with('[') => Rewritten::Dropped,
            "listen" => {
                let free = addresses.listener(argument);
                let is_tls = statement.words.contains(&"ssl");
                match listeners.iter_mut().find(|(known, _)| *known == free) {
                    Some((_, tls)) => *tls |= is_tls,
                    None => listeners.push((free.clone(), is_tls)),
                }
                let parameters = statement.words[2..].join(" ");
                by(format!("listen {free} {parameters}"))
            }
            "ssl_certificate" | "proxy_ssl_certificate" | "grpc_ssl_certificate" => by(format!(
                "{} {}.pem",
                statement.name(),
                certificate.display()
            )),
            "ssl_certificate_key" | "proxy_ssl_certificate_key" | "grpc_ssl_certificate_key" => by(
                format!("{} {}.key", statement.name(), certificate.display()),
            ),
            name if name.ends_with("ssl_trusted_certificate")
                || name == "ssl_client_certificate" =>
            {
                let file = directory.join("authority.pem");
                std::fs::write(&file, authority.pem()).expect("the directory is ours");
                by(format!("{name} {}", file.display()))
            }
            "ssl_dhparam" | "load_module" | "error_log" => Rewritten::Dropped,
            name if name.starts_with("ssl_stapling") => Rewritten::Dropped,
            name if name.ends_with("_temp_path") => Rewritten::Dropped,
            name @ ("proxy_cache_path" | "fastcgi_cache_path") => {
                folders += 1;
                let parameters = statement.words[2..].join(" ");
                by(format!(
                    "{name} {}/kept{folders} {parameters}",
                    directory.display()
                ))
            }
            "access_log" if argument != "off" => {
                let name = argument.rsplit('/').next().unwrap_or_default();
                by(format!(
                    "access_log {name} {}",
                    statement.words[2..].join(" ")
                ))
            }
            "auth_basic_user_file" => by(format!("auth_basic_user_file {}", users.display())),
            // What is counted by time would be different from run to run.
            "limit_req_zone" => {
                let words = statement
                    .words
                    .iter()
                    .map(|word| match word.starts_with("rate=") {
                        true => "rate=100000r/s",
                        false => word,
                    });
                by(words.collect::<Vec<_>>().join(" "))
            }
            // One that is relative would be nginx's own folder.
            name @ ("root" | "alias") => {
                by(format!("{name} /{}", argument.trim_start_matches('/')))
            }
            "server" if statement.is_in("upstream") => {
                let parameters = statement.words[2..].join(" ");
                by(format!("server {} {parameters}", origins[argument]))
            }
            "proxy_pass" | "grpc_pass" | "set" => {
                let Some((server, address)) =
                    named_server(statement).and_then(|server| Some((server, origins.get(server)?)))
                else {
                    return Rewritten::Kept;
                };
                let rest = statement.rest();
                let after = format!("{server}:");
                let rest = match server.starts_with("unix:") {
                    true => rest.replace(&after, address).replace(server, address),
                    false => rest.replacen(server, address, 1),
                };
                by(format!("{} {rest}", statement.name()))
            }
            _ => Rewritten::Kept,
        }
    });
    let text = served_files::placed(&text, directory);
    Placed {
        text,
        listeners,
        authority,
        _origins: addresses.origins.into_values().collect(),
    }
}

/// The text for nginx: without directives of other modules, those that say what is kept of answers,
/// and those that the import leaves out.
fn original(text: &str, without: &[&str]) -> String {
    const OTHERS: [&str; 5] = ["brotli", "more_", "check", "proxy_cache", "proxy_no_cache"];
    // What the harness says itself.
    const OWN: [&str; 4] = ["user", "worker_processes", "pid", "events"];
    rewritten(text, |statement| {
        let name = statement.name();
        let is_other = without.contains(&name)
            || OWN.contains(&name)
            || OTHERS.iter().any(|other| name.starts_with(other));
        match name {
            _ if is_other => Rewritten::Dropped,
            "http" => Rewritten::By("http ".to_owned()),
            _ => Rewritten::Kept,
        }
    })
}

/// Paths and hosts that fit expressions.
fn samples(text: &str, rng: &mut Rng) -> (Vec<String>, Vec<String>) {
    let (mut paths, mut hosts) = (Vec::new(), Vec::new());
    let mut regexes: Vec<(bool, String)> = Vec::new();
    rewritten(text, |statement| {
        match statement.name() {
            "location" if argument_is_regex(statement) => {
                regexes.push((true, statement.argument(1).to_owned()));
            }
            "rewrite" => regexes.push((true, statement.argument(0).to_owned())),
            "server_name" => {
                let names = (0..statement.words.len() - 1).map(|at| statement.argument(at));
                let regex = names.filter_map(|name| name.strip_prefix('~'));
                regexes.extend(regex.map(|regex| (false, regex.to_owned())));
            }
            _ => {}
        }
        Rewritten::Kept
    });
    for (is_path, regex) in regexes {
        for _ in 0..6 {
            let Some(sample) = sample(&regex, rng) else {
                continue;
            };
            match is_path {
                true if sample.starts_with('/') => paths.push(sample),
                true => paths.push(format!("/a{sample}")),
                false => hosts.push(sample),
            }
        }
    }
    let is_sendable = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
    paths.retain(is_sendable);
    hosts.retain(is_sendable);
    (paths, hosts)
}

fn argument_is_regex(statement: &Statement<'_>) -> bool {
    matches!(statement.argument(0), "~" | "~*")
}

/// The answer, or none where the connection ends without one.
async fn ask(
    address: &str,
    tls: Option<&Arc<ClientConfig>>,
    host: &str,
    request: &str,
) -> Option<Response> {
    let mut client = match tls {
        Some(config) => tls::connect(address, Arc::clone(config), host).await.ok()?,
        None => Client::connect(address).await,
    };
    client.send(request).await;
    client.answer_or_end(request.starts_with("HEAD ")).await
}

/// As a listener without TLS would have it, and without what is each proxy's own: the identifiers of
/// requests, and headers of `add_header` without `always` beside errors, which Waypost sends there
/// as well.
fn plain(mut response: Response, is_tls: bool, text: &str) -> Response {
    let identifier = response.header("X-Request-Id").to_owned();
    let body = response.text();
    let lines = body.lines();
    let told = lines.filter_map(|line| line.strip_prefix("x-request-id: "));
    let mut identifiers: Vec<&str> = told.chain([&*identifier]).collect();
    identifiers.retain(|identifier| identifier.len() == 32);
    for identifier in identifiers {
        response.body = response.text().replace(identifier, "ID").into_bytes();
        let headers = response.headers.0.iter_mut();
        headers.for_each(|(_, value)| *value = value.replace(identifier, "ID"));
    }
    // A request whose body is left out says so, or has no length at all.
    let body = response.text().replace("content-length: 0\n", "");
    // What is counted are the connections of each.
    let is_count = body.starts_with("Active connections");
    match is_count {
        true => response.body = Vec::new(),
        false if std::str::from_utf8(&response.body).is_ok() => response.body = body.into_bytes(),
        false => {}
    }
    if !(200..400).contains(&response.status) {
        let mut only_good = BTreeSet::new();
        rewritten(text, |statement| {
            if statement.name() == "add_header" && statement.words.len() == 3 {
                only_good.insert(statement.argument(0).to_ascii_lowercase());
            }
            Rewritten::Kept
        });
        let headers = &mut response.headers.0;
        headers.retain(|(name, _)| !only_good.contains(&name.to_ascii_lowercase()));
    }
    // Where nginx knows no type of a file, Waypost may.
    for (name, value) in &mut response.headers.0 {
        let is_of_file = name.eq_ignore_ascii_case("Content-Type") && !value.contains("echo");
        if is_of_file && text.contains("types {") {
            *value = "text/plain".to_owned();
        }
        if is_tls && name.eq_ignore_ascii_case("Location") && value.starts_with("https://") {
            *value = value.replacen("https://", "http://", 1);
        }
    }
    response
}

/// How the import of a site answers otherwise than nginx does, if it does.
async fn difference(name: &str, text: &str, rng: &mut Rng) -> Option<String> {
    let directory = TempDir::new().expect("there is room for a directory");
    let placed = placed(text, directory.path()).await;
    let addresses: Vec<String> = placed
        .listeners
        .iter()
        .map(|(address, _)| address.clone())
        .collect();
    let without = edits::of(name).map_or(&[][..], |site| site.without);
    let left_out = without.join(",");
    let options = ["--without", &left_out];
    let options = if without.is_empty() {
        &[][..]
    } else {
        &options
    };
    let toml = match imported_from(directory.path(), &placed.text, &addresses, options) {
        Ok(toml) => toml,
        Err(report) => return Some(format!("{name} is not imported whole:\n{report}")),
    };
    let original = original(&placed.text, without);
    let nginx = Nginx::configured(&blocks(&original), &addresses[0]).await;
    let _waypost = proxy::run(&toml, &[]).await;
    let tls = Arc::new(placed.authority.trusting_anyone());
    let (mut hosts, mut paths) = (hosts(text), paths(text));
    let (more_paths, more_hosts) = samples(text, rng);
    paths.extend(more_paths);
    hosts.extend(more_hosts);
    // nginx escapes there what is escaped already.
    if text.contains(".php$request_uri") {
        paths.retain(|path| !path.contains('%'));
    }
    for number in 0..REQUESTS {
        let request = request(rng, &hosts, &paths, &placed.text);
        let at = rng.usize(..addresses.len());
        let (address, is_tls) = &placed.listeners[at];
        let is_tls = *is_tls;
        let config = is_tls.then_some(&tls);
        let host = request
            .split("Host: ")
            .nth(1)
            .and_then(|rest| rest.split('\r').next());
        let host = host.unwrap_or_default();
        let expected = ask(address, config, host, &request).await;
        let got = ask(&moved(address), config, host, &request).await;
        let tell = |expected: &str, got: &str| {
            format!(
                "{name}, request {number} (TLS: {is_tls})\n{request}\nnginx:\n{expected}\nwaypost:\n{got}\n{toml}\n{}",
                match std::env::var_os("WAYPOST_IMPORT_ONLY") {
                    Some(_) => placed.text.clone() + &nginx.log(),
                    None => String::new(),
                }
            )
        };
        let (expected, got) = match (expected, got) {
            (None, None) => continue,
            (Some(expected), Some(got)) => {
                let plain = |response| plain(response, is_tls, &placed.text);
                (plain(expected), plain(got))
            }
            (expected, got) => {
                let shown = |answer: Option<Response>| {
                    answer.map_or(String::new(), |answer| shown(&answer))
                };
                return Some(tell(&shown(expected), &shown(got)));
            }
        };
        // nginx takes its own texts for files, with conditions and ranges.
        let is_text = got.status == 200 && got.header("ETag").is_empty();
        if is_text && matches!(expected.status, 206 | 304 | 412 | 416) {
            continue;
        }
        if served_files::departs(&placed.text, &request, &got, &expected) {
            continue;
        }
        let (is, should_be) = (
            seen(&got, host, &placed.text),
            seen(&expected, host, &placed.text),
        );
        if is != should_be {
            return Some(tell(
                &format!("{}\n{should_be:?}", shown(&expected)),
                &format!("{}\n{is:?}", shown(&got)),
            ));
        }
    }
    None
}

/// What stays of a site once it is edited.
fn edited(name: &str, text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in edits::of(name).map_or(&[][..], |site| site.edits) {
        assert!(text.contains(from), "{name} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

#[tokio::test]
async fn imported_sites_answer_and_forward_as_nginx_does() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    eprintln!("WAYPOST_PARITY_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let only = std::env::var("WAYPOST_IMPORT_ONLY").ok();
    let folder = folder().join("sites");
    let mut differences = Vec::new();
    let mut compared = 0;
    for (name, text) in super::configurations_in(&folder) {
        let is_wanted = only.as_ref().is_none_or(|only| *only == name);
        if is_wanted && !edits::ELSEWHERE.iter().any(|(other, _)| *other == name) {
            let text = edited(&name, &with_includes(&text, &folder));
            differences.extend(difference(&name, &text, &mut rng).await);
            compared += 1;
        }
    }
    assert!(
        differences.is_empty(),
        "{}",
        differences.join("\n\n=====\n\n")
    );
    assert!(
        only.is_some() || compared > 30,
        "only {compared} were compared"
    );
}

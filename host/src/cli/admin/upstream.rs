//! `waypost upstream`: the servers of upstreams, seen and changed while traffic flows.

use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;
use serde_json::json;

use super::client::{AdminClient, Content, RESOLVED, SOON, segment};
use super::table::seconds;
use super::{CommandFailed, OutputFormat, Reach, servers};
use crate::admin_api::{LoadStatus, ServerPatch, SourceStatus, UpstreamList, UpstreamStatus};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UpstreamCommand {
    /// Print the upstreams, their servers and how these are doing
    List {
        /// Only this upstream
        name: Option<String>,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Add a server
    Add {
        /// The upstream
        name: String,
        #[command(flatten)]
        server: NewServer,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Remove a server; requests under way are finished
    Remove(NamedServer),
    /// Send a server no more requests; those under way are finished
    #[command(visible_alias = "down")]
    Drain(NamedServer),
    /// Send a drained server requests again
    #[command(visible_alias = "up")]
    Resume(NamedServer),
    /// Change a server's share of the requests
    Weight {
        #[command(flatten)]
        server: NamedServer,
        /// Its share, from 1 to 65535
        #[arg(value_parser = clap::value_parser!(u32).range(1..=65_535))]
        weight: u32,
    },
}

/// A server of an upstream.
#[derive(Debug, Args)]
pub(in crate::cli) struct NamedServer {
    /// The upstream
    name: String,
    /// The server as the configuration spells it, or its address
    server: String,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    form: OutputFormat,
}

/// What is left out is the process's to fill in, by the defaults of the configuration.
#[derive(Debug, Args, Serialize)]
pub(in crate::cli) struct NewServer {
    /// Its address, such as `10.0.0.1:3000` or `unix:/run/app.sock`
    address: String,
    /// The service of the name, which DNS lists servers for, such as `http`
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Share of the requests, from 1 to 65535
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// Failures that take it out of rotation; 0 for none
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_fails: Option<u32>,
    /// In which failures add up, and for which it stays out of rotation, such as `10s`
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_timeout: Option<String>,
    /// In which its share grows from nothing to its weight, such as `30s`
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_start: Option<String>,
    /// Requests in progress at most; 0 for no bound
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_conns: Option<u32>,
    /// Only asked when no other server is left
    #[arg(long)]
    backup: bool,
    /// The value that names it, for `sticky`
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
}

pub(super) async fn answer(command: UpstreamCommand) -> Result<String, CommandFailed> {
    match command {
        UpstreamCommand::List { name, reach, form } => {
            list(&reach.client()?, name.as_deref(), &form).await
        }
        UpstreamCommand::Add {
            name,
            server,
            reach,
            form,
        } => add(&reach.client()?, &name, &server, &form).await,
        UpstreamCommand::Remove(server) => change(server, Method::DELETE, Content::Nothing).await,
        UpstreamCommand::Drain(server) => patch(server, down(true)).await,
        UpstreamCommand::Resume(server) => patch(server, down(false)).await,
        UpstreamCommand::Weight { server, weight } => {
            let patched = ServerPatch {
                weight: Some(weight),
                ..ServerPatch::default()
            };
            patch(server, patched).await
        }
    }
}

async fn list(
    client: &AdminClient,
    name: Option<&str>,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    if let Some(name) = name {
        let path = format!("/upstreams/{}", segment(name));
        return form.of(client.get(&path).await?, |upstream| in_words(&[upstream]));
    }
    let in_words = |UpstreamList { upstreams }| in_words(&upstreams);
    form.of(client.get("/upstreams").await?, in_words)
}

async fn add(
    client: &AdminClient,
    name: &str,
    server: &NewServer,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    let path = format!("/upstreams/{}/servers", segment(name));
    let server = json!(server);
    let answer = client.ask(Method::POST, &path, Content::Json(server), RESOLVED);
    let answer = answer.await.map_err(by_option)?;
    form.of(answer, |upstream| in_words(&[upstream]))
}

/// Places problems with a new server where they stand on the command line: the process knows them
/// by the keys of its request.
fn by_option(mut failure: CommandFailed) -> CommandFailed {
    for problem in &mut failure.problems {
        let lines = problem.lines().map(|line| {
            let key = line.strip_prefix("  --> request   (");
            match key.and_then(|key| key.strip_suffix(')')) {
                Some("address") => "  --> the server's address".to_owned(),
                Some(key) => format!("  --> option `--{}`", key.replace('_', "-")),
                None => line.to_owned(),
            }
        });
        *problem = lines.collect::<Vec<_>>().join("\n");
    }
    failure
}

fn down(down: bool) -> ServerPatch {
    ServerPatch {
        down: Some(down),
        ..ServerPatch::default()
    }
}

async fn patch(server: NamedServer, patch: ServerPatch) -> Result<String, CommandFailed> {
    change(server, Method::PATCH, Content::Json(json!(patch))).await
}

async fn change(
    server: NamedServer,
    method: Method,
    content: Content,
) -> Result<String, CommandFailed> {
    let NamedServer {
        name,
        server,
        reach,
        form,
    } = server;
    let path = format!("/upstreams/{}/servers/{}", segment(&name), segment(&server));
    let answer = reach.client()?.ask(method, &path, content, SOON).await?;
    form.of(answer, |upstream| in_words(&[upstream]))
}

/// A table of the servers, and a line for what each upstream has to do where that is bounded, for each
/// name of its servers and for who else lists them.
fn in_words(upstreams: &[UpstreamStatus]) -> String {
    let mut text = servers::in_words(upstreams);
    for upstream in upstreams {
        if let Some(load) = load_in_words(&upstream.load) {
            text += &format!("{}: {load}\n", upstream.name);
        }
        for name in &upstream.names {
            let (asked, next) = (seconds(name.asked_ms), seconds(name.next_ms));
            let addresses = match name.addresses {
                0 => "no address".to_owned(),
                1 => "1 address".to_owned(),
                number => format!("{number} addresses"),
            };
            let error = match &name.error {
                Some(error) => format!(" ({error})"),
                None => String::new(),
            };
            text += &format!(
                "{}: `{}` has {addresses}; asked {asked} ago{error}, again in {next}\n",
                upstream.name, name.name
            );
        }
        if let Some(source) = &upstream.source {
            text += &source_in_words(&upstream.name, source);
        }
    }
    text
}

fn source_in_words(upstream: &str, source: &SourceStatus) -> String {
    let servers = match source.servers {
        0 => "no server".to_owned(),
        1 => "1 server".to_owned(),
        number => format!("{number} servers"),
    };
    let answered = match (source.answered_ms, source.kept) {
        (Some(answered), _) => format!("answered {} ago", seconds(answered)),
        (None, true) => "as kept on the disk, not answered yet".to_owned(),
        (None, false) => "not answered yet".to_owned(),
    };
    let error = match &source.error {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    let next = match (source.next_ms, &*source.kind) {
        (Some(next), _) => format!("again in {}", seconds(next)),
        (None, "http") => "being asked".to_owned(),
        (None, _) => "watched".to_owned(),
    };
    let name = &source.name;
    format!("{upstream}: {servers} from {name}; {answered}{error}, {next}\n")
}

/// `2 wait in the queue of 10; 8 requests in progress of 8; refused: 3 (queue_full)`
fn load_in_words(load: &LoadStatus) -> Option<String> {
    let mut parts = Vec::new();
    if load.queue_size > 0 || load.waiting > 0 {
        let waits = if load.waiting == 1 { "waits" } else { "wait" };
        parts.push(format!(
            "{} {waits} in the queue of {}",
            load.waiting, load.queue_size
        ));
    }
    let bounds = [
        (
            "requests in progress",
            load.requests as usize,
            load.max_requests,
        ),
        ("connections", load.connections, load.max_connections),
    ];
    let bounds = bounds.into_iter().filter(|(_, _, most)| *most > 0);
    parts.extend(bounds.map(|(what, count, most)| format!("{count} {what} of {most}")));
    let refused = load.refused.iter().filter(|(_, count)| **count > 0);
    let refused: Vec<String> = refused
        .map(|(bound, count)| format!("{count} ({bound})"))
        .collect();
    if !refused.is_empty() {
        parts.push(format!("refused: {}", refused.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use clap::Parser;

    use super::super::canned::Canned;
    use super::*;

    const UPSTREAM: &str = r#"{"name": "backend", "policy": "least_conn", "servers": [
        {"address": "10.0.0.1:3000", "server": "app.example:3000", "weight": 2, "backup": false, "down": false,
         "max_conns": 0, "in_flight": 7, "fails": 0, "latency_us": 1500, "in_rotation": true},
        {"address": "unix:/a", "server": "unix:/a", "weight": 1, "backup": true, "down": false,
         "max_conns": 9, "in_flight": 0, "fails": 3, "latency_us": 0, "in_rotation": false},
        {"address": "10.0.0.2:80", "server": "10.0.0.2", "weight": 1, "backup": false, "down": true,
         "max_conns": 0, "in_flight": 0, "fails": 0, "latency_us": 0, "in_rotation": false}]}"#;

    const TABLE: &str = "  SERVER         STATE  REQUESTS  FAILED  RETRIED  IN_FLIGHT  LATENCY
backend (least_conn)
  10.0.0.1:3000  up     -         -       -        7          1.5ms
    app.example:3000, weight 2
  unix:/a        out    -         -       -        0          -
    backup, max_conns 9, fails 3
  10.0.0.2:80    down   -         -       -        0          -
    10.0.0.2
";

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: UpstreamCommand,
    }

    impl NewServer {
        fn parsed(arguments: &[&str]) -> NewServer {
            let line = [&["upstream", "add", "backend"], arguments].concat();
            match Line::parse_from(line).command {
                UpstreamCommand::Add { server, .. } => server,
                other => panic!("{other:?}"),
            }
        }
    }

    /// What a command line prints, and the request that it makes.
    async fn told(arguments: &[&str], answer: &str) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let canned = Canned::on_unix(&socket, 200, answer);
        let admin = format!("unix:{}", socket.display());
        let line = [&["upstream"], arguments, &["--admin", &admin]].concat();
        let text = super::answer(Line::parse_from(line).command).await.unwrap();
        let text = anstream::adapter::strip_str(&text).to_string();
        (text, canned.received().await)
    }

    #[tokio::test]
    async fn upstreams_are_listed_with_each_servers_state() {
        let answer = format!("{{\"upstreams\": [{UPSTREAM}]}}");
        let (text, request) = told(&["list"], &answer).await;
        assert_eq!(text, TABLE);
        assert!(request.starts_with("GET /upstreams "), "{request}");
        let (text, request) = told(&["list", "a b"], UPSTREAM).await;
        assert_eq!(text, TABLE);
        assert!(request.starts_with("GET /upstreams/a%20b "), "{request}");
    }

    #[tokio::test]
    async fn load_is_listed_where_it_is_bounded_or_was_refused() {
        let answer = r#"{"upstreams": [
            {"name": "a", "policy": "round_robin", "servers": [], "load": {"waiting": 1, "queue_size": 10,
             "requests": 8, "max_requests": 8, "connections": 9, "max_connections": 0,
             "refused": {"queue_full": 3, "queue_timeout": 0, "requests": 2}}},
            {"name": "b", "policy": "round_robin", "servers": [], "load": {"waiting": 0, "queue_size": 0,
             "requests": 0, "max_requests": 0, "connections": 4, "max_connections": 5, "refused": {}}},
            {"name": "c", "policy": "round_robin", "servers": []}]}"#;
        let (text, _) = told(&["list"], answer).await;
        let lines: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(
            lines,
            [
                "a: 1 waits in the queue of 10; 8 requests in progress of 8; refused: 3 (queue_full), 2 (requests)",
                "b: 4 connections of 5",
            ]
        );
    }

    #[tokio::test]
    async fn names_of_servers_are_listed_with_when_they_are_asked_for() {
        let answer = r#"{"upstreams": [{"name": "api", "policy": "round_robin", "servers": [], "names": [
            {"name": "api.example", "addresses": 0, "asked_ms": 1250, "next_ms": 0, "error": "3: Host not found"},
            {"name": "b.example", "addresses": 2, "asked_ms": 0, "next_ms": 9900, "error": null}]}]}"#;
        let (text, _) = told(&["list"], answer).await;
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "api: `api.example` has no address; asked 1.2s ago (3: Host not found), again in 0.0s",
                "api: `b.example` has 2 addresses; asked 0.0s ago, again in 9.9s",
            ]
        );
    }

    #[tokio::test]
    async fn sources_of_servers_are_listed_with_their_last_answer() {
        let source = |rest: &str| {
            let source = format!(r#"{{"kind": "consul", "name": "`web` of Consul", {rest}}}"#);
            let upstream = r#"{"name": "a", "policy": "hash", "servers": [], "source": "#;
            format!(r#"{{"upstreams": [{upstream}{source}}}]}}"#)
        };
        for (rest, line) in [
            (
                r#""servers": 2, "kept": false, "answered_ms": 1250, "next_ms": null, "error": null"#,
                "a: 2 servers from `web` of Consul; answered 1.2s ago, watched",
            ),
            (
                r#""servers": 1, "kept": true, "answered_ms": null, "next_ms": 900, "error": "it answers 500""#,
                "a: 1 server from `web` of Consul; as kept on the disk, not answered yet (it answers 500), again in 0.9s",
            ),
        ] {
            let (text, _) = told(&["list"], &source(rest)).await;
            assert_eq!(text.lines().nth(2), Some(line));
        }
    }

    #[tokio::test]
    async fn each_change_is_asked_for_where_the_server_is_and_shows_the_upstream_after_it() {
        let server = "/upstreams/backend/servers/unix%3A%2Fa";
        for (arguments, start, end) in [
            (&["remove", "backend", "unix:/a"][..], "DELETE", "\r\n\r\n"),
            (&["drain", "backend", "unix:/a"], "PATCH", "{\"down\":true}"),
            (
                &["resume", "backend", "unix:/a"],
                "PATCH",
                "{\"down\":false}",
            ),
            (&["down", "backend", "unix:/a"], "PATCH", "{\"down\":true}"),
            (&["up", "backend", "unix:/a"], "PATCH", "{\"down\":false}"),
            (
                &["weight", "backend", "unix:/a", "5"],
                "PATCH",
                "{\"weight\":5}",
            ),
        ] {
            let (text, request) = told(arguments, UPSTREAM).await;
            assert_eq!(text, TABLE);
            assert!(
                request.starts_with(&format!("{start} {server} ")),
                "{request}"
            );
            assert!(request.ends_with(end), "{request}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_new_server_is_told_once_and_by_its_option() {
        let message = "`fail_timeout` needs a unit";
        let problem =
            format!("error: {message}\n  --> request   (fail_timeout)\nhint: write `10s`");
        let answer = json!({ "error": message, "problems": [problem] }).to_string();
        let canned = Canned::on_tcp(422, &answer).await;
        let server = NewServer::parsed(&["10.0.0.1:80", "--fail-timeout", "10"]);
        let format = OutputFormat { json: false };
        let failure = add(&canned.client, "backend", &server, &format).await;
        let expected =
            "error: `fail_timeout` needs a unit\n  --> option `--fail-timeout`\nhint: write `10s`";
        assert_eq!(failure.unwrap_err().to_string(), expected);
    }

    #[tokio::test]
    async fn a_warning_comes_before_the_table() {
        let answer = UPSTREAM.replace(
            "\"servers\"",
            "\"warnings\": [\"no server is left\"], \"servers\"",
        );
        let (text, _) = told(&["drain", "backend", "unix:/a"], &answer).await;
        assert_eq!(text, format!("warning: no server is left\n{TABLE}"));
    }

    #[tokio::test]
    async fn a_new_server_is_sent_with_what_was_said_of_it_and_nothing_else() {
        let (_, request) = told(&["add", "a b", "10.0.0.1:80"], UPSTREAM).await;
        assert!(
            request.starts_with("POST /upstreams/a%20b/servers "),
            "{request}"
        );
        let body = "{\"address\":\"10.0.0.1:80\",\"backup\":false}";
        assert!(request.ends_with(body), "{request}");
        let line =
            "add a x --weight 2 --max-fails 0 --fail-timeout 5s --max-conns 9 --backup --route r";
        let arguments: Vec<&str> = line.split(' ').collect();
        let (_, request) = told(&arguments, UPSTREAM).await;
        let body = "{\"address\":\"x\",\"weight\":2,\"max_fails\":0,\"fail_timeout\":\"5s\",\"max_conns\":9,\
                    \"backup\":true,\"route\":\"r\"}";
        assert!(request.ends_with(body), "{request}");
    }
}

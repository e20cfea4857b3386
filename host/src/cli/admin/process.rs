//! `waypost status`, `reload`, `drain`, `stop`, `upgrade`: the process as a whole.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::client::{AdminClient, Content, PATIENT, SOON};
use super::table::{HEAD, aligned, painted, span};
use super::{CommandFailed, OutputFormat};
use crate::admin_api::{ProcessStatus, ReloadCounts, Reloaded, Upgraded};
use crate::config::duration_text;

pub(super) async fn status(
    client: &AdminClient,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    form.of(client.get("/status").await?, status_in_words)
}

fn status_in_words(status: ProcessStatus) -> String {
    let ProcessStatus {
        version,
        pid,
        state,
        uptime_s,
        generation,
        config,
        workers,
        worker_restarts,
        panics,
        connections,
        accepted,
        listeners,
        streams,
        reloads:
            ReloadCounts {
                succeeded,
                failed,
                last_error,
                ..
            },
        store,
    } = status;
    let uptime = span(uptime_s);
    let mut rows = vec![
        ["waypost", &format!("{version}, process {pid}")].map(str::to_owned),
        ["state", &format!("{state}, up for {uptime}")].map(str::to_owned),
        [
            "configuration",
            &format!("{config}, generation {generation}"),
        ]
        .map(str::to_owned),
        [
            "reloads",
            &format!("{succeeded} succeeded, {failed} failed"),
        ]
        .map(str::to_owned),
        [
            "workers",
            &format!("{workers}, {worker_restarts} restarted, {panics} panics"),
        ]
        .map(str::to_owned),
        [
            "connections",
            &format!("{connections}, {accepted} accepted in all"),
        ]
        .map(str::to_owned),
    ];
    for (name, addresses) in [("listeners", listeners), ("streams", streams)] {
        let lines = in_lines(&addresses).into_iter().enumerate();
        rows.extend(lines.map(|(at, line)| {
            let name = if at == 0 { name } else { "" };
            [name.to_owned(), line]
        }));
    }
    if let Some(store) = store {
        let (url, asked, failed) = (store.url, store.asked, store.failed);
        let how = if store.connected {
            ""
        } else {
            ", not connected"
        };
        let text = format!("{url}{how}, {asked} asked, {failed} failed");
        rows.push(["store".to_owned(), text]);
        rows.extend(store.error.map(|error| ["store error".to_owned(), error]));
    }
    rows.extend(last_error.map(|error| ["last error".to_owned(), error]));
    let rows: Vec<_> = rows
        .into_iter()
        .map(|[name, value]| [painted(HEAD, name), value])
        .collect();
    aligned(&rows)
}

/// Addresses, so many in a line as fit beside the names of a status.
fn in_lines(addresses: &[String]) -> Vec<String> {
    const WIDTH: usize = 64;
    let mut lines: Vec<String> = Vec::new();
    for address in addresses {
        match lines.last_mut() {
            Some(line) if line.len() + address.len() + 3 <= WIDTH => {
                *line += &format!(", {address}")
            }
            Some(line) => {
                line.push(',');
                lines.push(address.clone());
            }
            None => lines.push(address.clone()),
        }
    }
    lines
}

pub(super) async fn reload(
    client: &AdminClient,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    form.of(posted(client, "/reload").await?, reloaded_in_words)
}

fn reloaded_in_words(
    Reloaded {
        generation,
        warnings,
    }: Reloaded,
) -> String {
    let warnings: String = warnings
        .iter()
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    format!("{warnings}the new configuration serves, as generation {generation}\n")
}

pub(super) async fn drain(
    client: &AdminClient,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    form.of(posted(client, "/drain").await?, drain_in_words)
}

fn drain_in_words(answer: Value) -> String {
    match answer.get("delay_ms").and_then(Value::as_u64) {
        None => "draining: the process ends when the requests under way have\n".to_owned(),
        Some(delay) => format!(
            "no longer ready: load balancers have {} to see that, and then the process drains\n\
             (`waypost drain` once more has it drain at once)\n",
            duration_text(Duration::from_millis(delay))
        ),
    }
}

pub(super) async fn stop(
    client: &AdminClient,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    form.of(posted(client, "/stop").await?, |_: Value| {
        "stopping\n".to_owned()
    })
}

pub(super) async fn upgrade(
    client: &AdminClient,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    let answer = posted(client, "/upgrade").await?;
    form.of(answer, |Upgraded { pid }| {
        format!("process {pid} serves; the one before it is draining\n")
    })
}

async fn posted(client: &AdminClient, path: &str) -> Result<Value, CommandFailed> {
    let within = match path {
        "/reload" | "/upgrade" => PATIENT,
        _ => SOON,
    };
    client
        .ask(Method::POST, path, Content::Nothing, within)
        .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::super::canned::Canned;
    use super::*;

    const WORDS: OutputFormat = OutputFormat { json: false };

    const STATUS: &str = r#"{"version": "0.1.0", "pid": 7, "state": "serving", "uptime_s": 3720, "generation": 3,
        "config": "/etc/waypost.toml", "workers": 2, "worker_restarts": 1, "panics": 2, "connections": 5, "accepted": 900,
        "listeners": ["127.0.0.1:8080", "unix:/a"], "streams": ["127.0.0.1:5432"],
        "reloads": {"succeeded": 2, "failed": 1, "last_error": "no such file"}}"#;

    #[tokio::test]
    async fn status_says_all_that_the_process_knows() {
        let canned = Canned::on_tcp(200, STATUS).await;
        let text = status(&canned.client, &OutputFormat { json: false })
            .await
            .unwrap();
        let expected = "\
waypost        0.1.0, process 7
state          serving, up for 1h 2m
configuration  /etc/waypost.toml, generation 3
reloads        2 succeeded, 1 failed
workers        2, 1 restarted, 2 panics
connections    5, 900 accepted in all
listeners      127.0.0.1:8080, unix:/a
streams        127.0.0.1:5432
last error     no such file
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
        assert!(canned.received().await.starts_with("GET /status "));
    }

    #[tokio::test]
    async fn as_json_the_answer_is_the_servers_own() {
        let canned = Canned::on_tcp(200, r#"{"of_a_later_version": [1]}"#).await;
        let text = status(&canned.client, &OutputFormat { json: true })
            .await
            .unwrap();
        assert_eq!(text, "{\n  \"of_a_later_version\": [\n    1\n  ]\n}\n");
    }

    #[tokio::test]
    async fn an_answer_of_another_version_is_told_from_a_status() {
        let canned = Canned::on_tcp(200, r#"{"pid": 7}"#).await;
        let failure = status(&canned.client, &OutputFormat { json: false }).await;
        let failure = failure.unwrap_err().to_string();
        assert!(failure.contains("another version"), "{failure}");
        assert!(failure.contains("version`"), "{failure}");
    }

    #[tokio::test]
    async fn a_reload_passes_warnings_on() {
        let answer = r#"{"generation": 4, "warnings": ["`workers` needs a restart"]}"#;
        let canned = Canned::on_tcp(200, answer).await;
        let text = reload(&canned.client, &WORDS).await.unwrap();
        let expected =
            "warning: `workers` needs a restart\nthe new configuration serves, as generation 4\n";
        assert_eq!(text, expected);
        assert!(canned.received().await.starts_with("POST /reload "));
    }

    #[test]
    fn a_drain_that_waits_for_load_balancers_says_how_long() {
        let text = drain_in_words(serde_json::json!({ "delay_ms": 15_000 }));
        assert!(text.contains("have 15s to see that"), "{text}");
    }

    #[tokio::test]
    async fn drain_stop_and_upgrade_ask_for_what_their_names_say() {
        let canned = Canned::on_tcp(202, "{}").await;
        let text = drain(&canned.client, &WORDS).await.unwrap();
        assert!(text.starts_with("draining: "), "{text}");
        assert!(canned.received().await.starts_with("POST /drain "));
        let canned = Canned::on_tcp(202, "{}").await;
        stop(&canned.client, &WORDS).await.unwrap();
        assert!(canned.received().await.starts_with("POST /stop "));
        let canned = Canned::on_tcp(200, r#"{"pid": 99}"#).await;
        let text = upgrade(&canned.client, &WORDS).await.unwrap();
        assert!(text.contains("process 99"), "{text}");
        assert!(canned.received().await.starts_with("POST /upgrade "));
        let canned = Canned::on_tcp(200, r#"{"pid": 99}"#).await;
        let json = OutputFormat { json: true };
        let text = upgrade(&canned.client, &json).await.unwrap();
        assert_eq!(text, "{\n  \"pid\": 99\n}\n");
    }
}

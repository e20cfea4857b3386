//! `waypost explain`: what would become of a request. Asks the running process, or takes the file.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::client::{AdminClient, Content, RESOLVED, segment};
use super::explain_words::{in_words, spread_in_words};
use super::{CommandFailed, OutputFormat, Reach, printable, told};
use crate::admin_api::{ExplainRequest, SpreadRequest};
use crate::cli::report;
use crate::control_plane::{FileNotExplained, explain_file, explained_url};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArguments {
    /// What is asked for, such as `http://shop.example/cart?id=1`
    #[arg(value_parser = explained_url, required_unless_present = "upstream")]
    url: Option<String>,
    /// Say in place of that where the traffic of an upstream of the running process has gone, and
    /// why it is uneven
    #[arg(long, value_name = "NAME", conflicts_with_all = ["url", "fresh"])]
    upstream: Option<String>,
    /// Count the traffic of that upstream for so long, such as `10s`; at most `30s`
    #[arg(long = "for", value_name = "DURATION", requires = "upstream", conflicts_with = "url", value_parser = seconds)]
    counted_for: Option<u64>,
    /// A header of the request, as `Name: value`
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The client's address, or that of a proxy in front; 127.0.0.1 without it
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// The method of the request
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// The listener, where the URL's port does not say which
    #[arg(long, value_name = "ADDRESS")]
    listener: Option<String>,
    /// Ask the running process alone. Default: the file counts where no process answers
    #[arg(long, conflicts_with = "fresh")]
    running: bool,
    /// As a process would that starts with the file now
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    form: OutputFormat,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write it as `Name: value`".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `10s`
fn seconds(text: &str) -> Result<u64, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
    let seconds = seconds.filter(|seconds| (1..=30).contains(seconds));
    seconds.ok_or_else(|| "write seconds, from `1s` to `30s`".to_owned())
}

pub(super) fn explain(runtime: &Runtime, arguments: ExplainArguments) -> anyhow::Result<ExitCode> {
    let ExplainArguments {
        url,
        upstream,
        counted_for,
        headers,
        from,
        method,
        listener,
        running,
        fresh,
        reach,
        form,
    } = arguments;
    if let Some(name) = upstream {
        let client = match reach.client() {
            Ok(client) => client,
            Err(failed) => return told(Err(failed)),
        };
        let seconds = counted_for.unwrap_or_default();
        let path = format!("/upstreams/{}/explain", segment(&name));
        let content = Content::Json(json!(SpreadRequest { seconds }));
        let asked = client.ask(Method::POST, &path, content, RESOLVED);
        let answer = runtime.block_on(asked);
        return told(answer.and_then(|answer| form.of(answer, spread_in_words)));
    }
    let request = ExplainRequest {
        url: url.unwrap_or_default(),
        method,
        headers,
        from,
        listener,
    };
    let file = reach.config.file.clone();
    let is_named = reach.admin.is_some();
    let client = match fresh {
        true => None,
        false => match reach.client() {
            Ok(client) if running || is_named => Some(client),
            Ok(client) => runtime.block_on(client.is_there()).then_some(client),
            Err(failed) if running => return told(Err(failed)),
            Err(_) => None,
        },
    };
    if let Some(client) = client {
        let answer = runtime.block_on(asked(&client, &request));
        return told(answer.and_then(|answer| form.of(answer, in_words)));
    }
    match explain_file(&file, &request) {
        Ok(explanation) => told(form.of(json!(explanation), in_words)),
        Err(FileNotExplained::Problems(problems)) => Ok(report(&file, &problems)),
        Err(FileNotExplained::Other(error)) => {
            let error = printable(&format!("error: {error}"));
            // A closed standard error is no reason to fail otherwise.
            let _ = writeln!(std::io::stderr(), "{error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn asked(client: &AdminClient, request: &ExplainRequest) -> Result<Value, CommandFailed> {
    let content = Content::Json(json!(request));
    client
        .ask(Method::POST, "/explain", content, RESOLVED)
        .await
}

//! `waypost plugin`: which plugins run and what they cost, another version, and the one before it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use hyper::Method;
use hyper::body::Bytes;

use super::candidate::{CanaryTerms, Signed};
use super::client::{AdminClient, Content, PATIENT, SOON, segment};
use super::plugin_words::{details_in_words, list_in_words, one_in_words};
use super::{CommandFailed, OutputFormat, Reach};
use crate::admin_api::PluginList;
use crate::config::reason;

/// Bytes of a component: as much as `limits.file_size` can allow.
const COMPONENT_SIZE: u64 = 1 << 30;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PluginAdminCommand {
    /// Print the plugins and what they cost
    List {
        /// Only this plugin, as in `[plugin.NAME]`
        name: Option<String>,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// What is known of one plugin; `waypost plugin inspect` tells names from files.
    #[command(skip)]
    Inspect {
        name: String,
        reach: Reach,
        form: OutputFormat,
    },
    /// Load another version of a plugin from a file, while traffic flows
    Load {
        /// The plugin, as in `[plugin.NAME]`
        name: String,
        /// The component
        #[arg(value_name = "FILE")]
        component: PathBuf,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Have another version asked as well: what it would decide is compared, and dropped
    Shadow {
        /// The plugin, as in `[plugin.NAME]`
        name: String,
        /// The component
        #[arg(value_name = "FILE")]
        component: PathBuf,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Have another version decide for a share of clients; where it does worse, that ends by itself
    Canary {
        /// The plugin, as in `[plugin.NAME]`
        name: String,
        /// The component
        #[arg(value_name = "FILE")]
        component: PathBuf,
        #[command(flatten)]
        terms: CanaryTerms,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Put the version that is tried in force
    Promote {
        /// The plugin, as in `[plugin.NAME]`
        name: String,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// End what is tried
    Withdraw {
        /// The plugin, as in `[plugin.NAME]`
        name: String,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Go back to the version before
    Rollback {
        /// The plugin, as in `[plugin.NAME]`
        name: String,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
}

pub(super) async fn answer(command: PluginAdminCommand) -> Result<String, CommandFailed> {
    match command {
        PluginAdminCommand::List { name, reach, form } => {
            list(&reach.client()?, name.as_deref(), &form).await
        }
        PluginAdminCommand::Inspect { name, reach, form } => {
            inspect(&reach.client()?, &name, &form).await
        }
        PluginAdminCommand::Load {
            name,
            component,
            signed,
            reach,
            form,
        } => {
            let file = signed.component(&component)?;
            upload(&reach.client()?, &name, "load", file, &form).await
        }
        PluginAdminCommand::Shadow {
            name,
            component,
            signed,
            reach,
            form,
        } => {
            let file = signed.component(&component)?;
            upload(&reach.client()?, &name, "shadow", file, &form).await
        }
        PluginAdminCommand::Canary {
            name,
            component,
            terms,
            signed,
            reach,
            form,
        } => {
            let file = signed.component(&component)?;
            let way = format!("canary?{}", terms.query());
            upload(&reach.client()?, &name, &way, file, &form).await
        }
        PluginAdminCommand::Promote { name, reach, form } => {
            change(&reach.client()?, &name, "promote", &form).await
        }
        PluginAdminCommand::Withdraw { name, reach, form } => {
            change(&reach.client()?, &name, "withdraw", &form).await
        }
        PluginAdminCommand::Rollback { name, reach, form } => {
            change(&reach.client()?, &name, "rollback", &form).await
        }
    }
}

async fn list(
    client: &AdminClient,
    name: Option<&str>,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    if let Some(name) = name {
        let path = format!("/plugins/{}", segment(name));
        let in_words = |plugin| {
            let plugins = vec![plugin];
            list_in_words(PluginList { plugins })
        };
        return form.of(client.get(&path).await?, in_words);
    }
    form.of(client.get("/plugins").await?, list_in_words)
}

async fn inspect(
    client: &AdminClient,
    name: &str,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    let path = format!("/plugins/{}", segment(name));
    form.of(client.get(&path).await?, details_in_words)
}

/// Sends a component; `way`: what it is for.
async fn upload(
    client: &AdminClient,
    name: &str,
    way: &str,
    component: Content,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    let path = format!("/plugins/{}/{way}", segment(name));
    let answer = client.ask(Method::POST, &path, component, PATIENT);
    form.of(answer.await?, one_in_words)
}

/// Changes which version serves, or is tried.
async fn change(
    client: &AdminClient,
    name: &str,
    what: &str,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    let path = format!("/plugins/{}/{what}", segment(name));
    let answer = client.ask(Method::POST, &path, Content::Nothing, SOON);
    form.of(answer.await?, one_in_words)
}

pub(super) fn component(file: &Path) -> Result<Bytes, CommandFailed> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(COMPONENT_SIZE + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            CommandFailed::new(format!(
                "cannot read `{}`: {}",
                file.display(),
                reason(&error)
            ))
        })?;
    if bytes.len() as u64 > COMPONENT_SIZE {
        let file = file.display();
        return Err(CommandFailed::new(format!(
            "`{file}` is larger than any plugin may be (1g)"
        )));
    }
    Ok(bytes.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    use super::super::canned::Canned;
    use super::*;

    const WORDS: OutputFormat = OutputFormat { json: false };

    fn plugin(name: &str, state: &str, last_error: Value) -> Value {
        json!({
            "name": name, "stock": false, "version": 3, "hash": "0123456789abcdef", "state": state, "world": "policy",
            "imports": [], "calls": 12_345, "mean_ns": 312, "p99_ns": 4_240, "traps": 1, "deadlines": 2,
            "memory_faults": 0, "answers": 0, "memory_bytes": 1_114_112, "instances": 2, "upstreams": ["a", "b"],
            "kinds": ["policy", "hook"], "hooks": ["limit"], "routes": ["/app"], "counters": {"asked": 3},
            "previous": null, "last_error": last_error, "worker_percent": 3, "history": [],
        })
    }

    fn event(event: &str, minute: &str) -> Value {
        let time = format!("2026-09-01T12:{minute}:00.000Z");
        json!({
            "version": 1, "event": event, "detail": "x", "count": 1, "first": time, "last": time,
        })
    }

    #[tokio::test]
    async fn plugins_are_listed_with_what_they_cost_and_their_last_errors() {
        let plugins = [
            plugin("spill", "live", Value::Null),
            plugin("mine", "quarantined", "unreachable".into()),
        ];
        let canned = Canned::on_tcp(200, &json!({ "plugins": plugins }).to_string()).await;
        let expected = "\
NAME   KIND         VERSION  STATE        CALLS  MEAN   TIME  FAULTS  MEMORY
spill  policy,hook  3        live         12345  312ns  3%    3       1.1m
  0123456789ab; upstreams a,b; hooks limit; routes /app; 1 traps; 2 deadlines
mine   policy,hook  3        quarantined  12345  312ns  3%    3       1.1m
  0123456789ab; upstreams a,b; hooks limit; routes /app; 1 traps; 2 deadlines

last error of `mine`: unreachable
";
        let listed = list(&canned.client, None, &WORDS).await.unwrap();
        assert_eq!(strip_str(&listed).to_string(), expected);
        assert!(canned.received().await.starts_with("GET /plugins "));
        let canned = Canned::on_tcp(200, &plugins[0].to_string()).await;
        let one = list(&canned.client, Some("spill"), &WORDS).await.unwrap();
        let lines: Vec<&str> = one.lines().collect();
        assert!(lines.len() == 3 && lines[1].starts_with("spill "), "{one}");
        assert!(canned.received().await.starts_with("GET /plugins/spill "));
    }

    #[tokio::test]
    async fn what_happened_is_listed_newest_first_by_either_command() {
        let mut plugin = plugin("mine", "live", "x".into());
        plugin["history"] = json!([event("trap", "01"), event("deadline", "02")]);
        let lines = "\
  2026-09-01T12:02:00.000Z  version 1 deadline: x
  2026-09-01T12:01:00.000Z  version 1 trap: x
";
        let canned = Canned::on_tcp(200, &plugin.to_string()).await;
        let one = inspect(&canned.client, "mine", &WORDS).await.unwrap();
        let canned = Canned::on_tcp(200, &json!({ "plugins": [plugin] }).to_string()).await;
        let all = list(&canned.client, None, &WORDS).await.unwrap();
        for text in [one, all] {
            assert!(text.ends_with(lines), "{text}");
        }
    }

    #[tokio::test]
    async fn which_version_serves_is_told_with_the_one_before_and_how_that_came() {
        let mut promoted = plugin("mine", "live", Value::Null);
        promoted["since"] = "2026-09-01T12:00:00.000Z".into();
        promoted["previous"] = json!({ "version": 2, "hash": "fedcba9876543210" });
        promoted["history"] = json!([event("serves", "01"), event("promoted", "02")]);
        let loaded = promoted.clone();
        promoted["promoted_from"] = "canary of 50%".into();
        let mut back = loaded.clone();
        back["state"] = "rolled back".into();
        let mut failing = loaded.clone();
        failing["state"] = "quarantined".into();
        for (plugin, words) in [
            (
                promoted,
                "serves since 2026-09-01T12:00:00.000Z, promoted from a canary of 50%, in place of",
            ),
            (loaded, "serves since 2026-09-01T12:00:00.000Z, in place of"),
            (
                back,
                "serves again since 2026-09-01T12:00:00.000Z, rolled back from",
            ),
            (
                failing,
                "is quarantined, and in force since 2026-09-01T12:00:00.000Z, in place of",
            ),
        ] {
            let expected = format!(
                "plugin `mine`: version 3 (0123456789ab) {words} version 2 (fedcba987654)\n"
            );
            let canned = Canned::on_tcp(200, &plugin.to_string()).await;
            let changed = change(&canned.client, "mine", "promote", &WORDS).await;
            assert_eq!(changed.unwrap(), expected);
            let canned = Canned::on_tcp(200, &plugin.to_string()).await;
            let listed = list(&canned.client, Some("mine"), &WORDS).await.unwrap();
            let (_, below) = listed.split_once("\n\n").unwrap();
            assert_eq!(below, expected);
        }
    }

    #[tokio::test]
    async fn the_file_itself_is_uploaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.wasm");
        std::fs::write(&file, "a component").unwrap();
        let body = plugin("mine", "live", Value::Null).to_string();
        let canned = Canned::on_tcp(200, &body).await;
        let content = Signed::default().component(&file).unwrap();
        let sent = upload(&canned.client, "my/ne", "load", content, &WORDS);
        let text = sent.await.unwrap();
        assert_eq!(text, "plugin `mine`: version 3 (0123456789ab) is live\n");
        let request = canned.received().await;
        assert!(request.starts_with("POST /plugins/my%2Fne/load "));
        assert!(request.contains("content-type: application/wasm\r\n"));
        assert!(request.ends_with("\r\n\r\na component"), "{request}");
    }

    #[test]
    fn a_component_that_is_not_there_is_named() {
        let failure = Signed::default().component(Path::new("gone.wasm"));
        let expected = "error: cannot read `gone.wasm`: no such file or directory";
        assert_eq!(failure.err().unwrap().to_string(), expected);
    }

    #[tokio::test]
    async fn a_rollback_without_a_version_before_is_refused_in_the_servers_words() {
        let canned = Canned::on_tcp(409, r#"{"error": "there is no version before"}"#).await;
        let refused = change(&canned.client, "mine", "rollback", &WORDS);
        let failure = refused.await.unwrap_err();
        assert_eq!(failure.to_string(), "error: there is no version before");
        assert!(
            canned
                .received()
                .await
                .starts_with("POST /plugins/mine/rollback ")
        );
    }
}

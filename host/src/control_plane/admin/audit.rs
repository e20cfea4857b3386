//! A line for each request that changes something, and for each that was refused: who, from where,
//! what, and what came of it.
//!
//! They go to the file that `[admin] audit` names, which is opened anew for each, so that a rotation
//! needs no word; or else to the error log.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use axum::http::{Method, StatusCode, Uri};
use serde_json::json;

use super::access::Asker;
use super::view::time;
use crate::control_plane::blocking::{BRIEF, run_blocking};

/// Characters of a request's target that are told.
const TARGET: usize = 256;

/// What was loaded, where that is what a request was for: its SHA-256, in hexadecimal digits.
#[derive(Debug, Clone)]
pub(super) struct Loaded(pub(super) String);

/// What a request was, kept while it is carried out.
pub(super) struct Action {
    asker: Asker,
    method: Method,
    target: String,
}

impl Action {
    pub(super) fn new(asker: Asker, method: &Method, uri: &Uri) -> Action {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let target = target.chars().take(TARGET).flat_map(char::escape_default);
        Action {
            asker,
            method: method.clone(),
            target: target.collect(),
        }
    }

    /// Tells what came of it. It is on its way to the disk when this returns; a file that cannot be
    /// written costs the line its place, not its being told.
    pub(super) async fn ended(
        self,
        status: StatusCode,
        loaded: Option<&Loaded>,
        audit: Option<&Path>,
    ) {
        let Some(path) = audit else {
            self.log(status, loaded);
            return;
        };
        let line = self.line(status, loaded);
        let file = path.to_owned();
        let written = run_blocking("writing the audit", BRIEF, move || append(&file, &line)).await;
        let failed = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::error!("cannot write `{}`: {failed}", path.display());
        self.log(status, loaded);
    }

    fn log(&self, status: StatusCode, loaded: Option<&Loaded>) {
        let Action {
            asker,
            method,
            target,
        } = self;
        let Asker { who, from } = asker;
        let loaded = loaded.map_or(String::new(), |Loaded(hash)| format!(", sha256 {hash}"));
        let status = status.as_u16();
        tracing::info!("admin api: {who} from {from}: {method} {target}: {status}{loaded}");
    }

    fn line(&self, status: StatusCode, loaded: Option<&Loaded>) -> String {
        let mut line = json!({
            "time": time(SystemTime::now()),
            "who": self.asker.who,
            "from": self.asker.from,
            "method": self.method.as_str(),
            "target": self.target,
            "status": status.as_u16(),
        });
        if let Some(Loaded(hash)) = loaded {
            line["sha256"] = json!(hash);
        }
        format!("{line}\n")
    }
}

/// One line, in one write: those of a process that hands over do not mix with ours.
fn append(path: &PathBuf, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        // A FIFO that nobody reads, or a device, is no file.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    file.write_all(line.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_whatever_a_client_asks_for() {
        let asker = Asker {
            who: "nobody".to_owned(),
            from: "192.0.2.1".to_owned(),
        };
        let uri = Uri::builder()
            .path_and_query(format!("/plugins/{}", "a\"'%0a".repeat(100)))
            .build()
            .unwrap();
        let action = Action::new(asker, &Method::POST, &uri);
        let line = action.line(StatusCode::NOT_FOUND, Some(&Loaded("ab".to_owned())));
        assert_eq!(line.matches('\n').count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["status"], 404);
        assert_eq!(line["sha256"], "ab");
        assert!(line["target"].as_str().unwrap().len() <= 2 * TARGET);
    }
}

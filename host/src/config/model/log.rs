//! `access_log` and `error_log`: where lines go, which of them, and how they look.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::condition::Conditions;
use super::{PathPattern, Place};
use crate::http::definition::Share;
use crate::http::template::Template;
use crate::http::variable::{Scope, Variable};

/// Where access log lines go, and how they look.
#[derive(Debug, Clone)]
pub struct AccessLog {
    pub path: LogPath,
    pub format: LogFormat,
    /// What has to hold for a line to be written (`if=`).
    pub when: LogConditions,
    /// The part of those that have a line, None: all. Logs of one exchange agree: who is in 1 % is
    /// in 10 % as well.
    pub sample: Option<Share>,
    /// Bytes of one worker's lines at which they are handed over, default 32 KiB (`buffer=`).
    pub buffer: usize,
    /// Age at which they are, counted by the second, default 1 s (`flush=`).
    pub flush: Duration,
    /// Where the file names it; nowhere, where it does not.
    pub place: Place,
}

impl AccessLog {
    /// Those that its lines are made of, and that are asked whether there is one.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let (template, fields) = match &self.format {
            LogFormat::Combined | LogFormat::Upstream | LogFormat::Json(_) => (None, &[][..]),
            LogFormat::Template(template, _) => (Some(template), &[][..]),
            LogFormat::Fields(fields) => (None, &**fields),
        };
        let templates = template
            .into_iter()
            .chain(fields.iter().map(|field| &field.value));
        let asked = self.when.request.values.iter();
        templates
            .flat_map(Template::variables)
            .chain(asked.map(|condition| &condition.variable))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogPath {
    Stdout,
    Stderr,
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub enum LogFormat {
    /// nginx's `combined`.
    Combined,
    /// That, and behind it the server, the status and the time of each attempt.
    Upstream,
    /// One JSON object per line, about a request or a session.
    Json(Scope),
    /// One JSON object per line, of the user's own members, in order.
    Fields(Arc<[LogField]>),
    /// The user's own, with nginx's variables.
    Template(Template, Escape),
}

/// A member of a JSON object.
#[derive(Debug, Clone)]
pub struct LogField {
    pub name: String,
    /// The name as JSON has it, with its colon.
    pub opening: String,
    pub value: Template,
    /// As text if it turns out to be none.
    pub is_number: bool,
}

impl LogField {
    pub fn new(name: String, value: Template) -> LogField {
        LogField {
            is_number: value.is_variable_alone() && value.variables().all(is_figure),
            opening: format!("{}:", serde_json::Value::from(&*name)),
            name,
            value,
        }
    }
}

/// Whether a variable is one number; those of several attempts (`0.001, 0.002`) are not.
fn is_figure(variable: &Variable) -> bool {
    matches!(
        variable,
        Variable::Status
            | Variable::RequestLength
            | Variable::BytesSent
            | Variable::BytesReceived
            | Variable::BodyBytesSent
            | Variable::RequestTime
            | Variable::SessionTime
            | Variable::Msec
            | Variable::Connection
            | Variable::ConnectionRequests
            | Variable::ConnectionTime
            | Variable::RemotePort
            | Variable::ServerPort
            | Variable::Pid
    )
}

/// What becomes of a value in a line of one's own format (`escape=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `"`, `\` and what is not printable ASCII as `\xXX`; a value that is not there as `-`.
    Default,
    /// As within a JSON string; a value that is not there as nothing.
    Json,
    /// As it is; a value that is not there as nothing.
    None,
}

/// What has to hold for an exchange, or a session, to have a line. All of it has to.
#[derive(Debug, Clone, Default)]
pub struct LogConditions {
    pub request: Conditions,
    /// Of the path as routes see it at the end: one of these, if there are any.
    pub paths: Vec<PathPattern>,
    /// None of these.
    pub other_paths: Vec<PathPattern>,
    /// One of these, if there are any.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// None of these.
    pub other_statuses: Vec<RangeInclusive<u16>>,
}

impl LogConditions {
    /// Whether there is nothing that has to hold.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty()
            && self.paths.is_empty()
            && self.other_paths.is_empty()
            && self.statuses.is_empty()
            && self.other_statuses.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    pub path: LogPath,
    /// Default `info`... `error`, `warn`, `info`, `debug`.
    pub level: tracing::Level,
    /// Where the file names it; nowhere, where it does not.
    pub place: Place,
}

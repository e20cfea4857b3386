//! `access_log` and `log_format`.

use super::Translator;
use super::scope::Scope;
use super::tree::Directive;
use super::writer::{Table, text};
use crate::http::variable::Phase;

impl Translator<'_> {
    /// The value of `access_log` for a context; none where it says nothing.
    pub(super) fn access_log(&self, scope: &Scope<'_>, phase: Phase) -> Option<String> {
        let accounts = self.accounts;
        let logs = scope.nearest("access_log");
        let (first, others) = logs.split_first()?;
        for other in others {
            accounts.lost(
                other,
                "a request is logged once: one `access_log` holds at a place",
            );
        }
        let path = match first.argument(0) {
            "off" => {
                match phase {
                    Phase::Session => accounts.harmless(first, "off, as without it"),
                    _ => accounts.translated(first, "`access_log = false`"),
                }
                return Some("false".to_owned());
            }
            "/dev/stdout" => "stdout",
            "/dev/stderr" => "stderr",
            path if path.starts_with("syslog:") || path.contains('$') => {
                accounts.lost(
                    first,
                    "a log is a file with a fixed name, `stdout` or `stderr`",
                );
                return None;
            }
            path => path,
        };
        let mut format = None;
        for argument in first.arguments.iter().skip(1) {
            match argument.split_once('=') {
                None if argument == "combined" => {}
                None => format = Some(argument.as_str()),
                Some(("buffer" | "flush", _)) => {}
                Some(_) => accounts.lost(first, format!("`{argument}` of a log is not there")),
            }
        }
        let format = match format {
            None => None,
            Some(name) => match self.format(scope, name, phase) {
                Ok(format) => Some(format),
                Err(why) => {
                    accounts.lost(first, why);
                    None
                }
            },
        };
        accounts.translated(first, "`access_log`");
        Some(match format {
            None => text(path),
            Some(format) => Table::new()
                .with("path", text(path))
                .with("format", text(&format))
                .inline(),
        })
    }

    /// The text of a format by its name.
    fn format(&self, scope: &Scope<'_>, name: &str, phase: Phase) -> Result<String, String> {
        let formats = scope.nearest("log_format");
        let found = formats.iter().find(|format| format.argument(0) == name);
        let format: &Directive = found.ok_or_else(|| format!("there is no `log_format {name}`"))?;
        let mut parts = format.arguments.iter().skip(1).peekable();
        if let Some(escape) = parts.peek().and_then(|part| part.strip_prefix("escape=")) {
            if escape != "default" {
                let why = format!(
                    "`escape={escape}` is not there: `format = \"json\"` has fields of its own"
                );
                self.accounts.lost(format, why.clone());
                return Err(why);
            }
            parts.next();
        }
        let whole: String = parts.map(String::as_str).collect();
        match self.words.text(&whole, &scope.constants, phase) {
            Ok(text) => {
                self.accounts.translated(format, "`format` in `access_log`");
                Ok(text)
            }
            Err(why) => {
                self.accounts.lost(format, why.clone());
                Err(why)
            }
        }
    }
}

//! `access_log` and `log_format`.

use super::conditions::{asked_of, check_regex, escaped};
use super::scope::Scope;
use super::tree::Directive;
use super::variables::{Piece, joined_of, pieces_of};
use super::writer::{Table, list, text, texts};
use super::{Translator, values};
use crate::config::model::LogField;
use crate::config::{duration_text, size_text};
use crate::http::template::Template;
use crate::http::variable::Phase;

/// Whether an exchange has a line, as far as that is known.
enum Loggable {
    Always,
    Never,
    /// As the `when` of a log.
    When(Table),
}

impl Translator<'_> {
    /// The value of `access_log` for a context; none where it says nothing.
    pub(super) fn access_log(&self, scope: &Scope<'_>, phase: Phase) -> Option<String> {
        let accounts = self.accounts;
        let directives = scope.nearest("access_log");
        // It cancels all others of its context (`ngx_http_log_set_log`).
        if let Some(off) = directives.iter().find(|log| log.argument(0) == "off") {
            for other in directives {
                match phase {
                    Phase::Session => accounts.harmless(other, "off, as without it"),
                    _ if other.id == off.id => {
                        accounts.translated(other, "`access_log = false`");
                    }
                    _ => accounts.harmless(other, "the `off` beside it turns all logs off"),
                }
            }
            return Some("false".to_owned());
        }
        let mut logs: Vec<Table> = Vec::new();
        for directive in directives {
            if let Some(log) = self.log(scope, directive, phase)
                && !logs.contains(&log)
            {
                logs.push(log);
            }
        }
        let mut logs = logs
            .iter()
            .map(|log| match log.pairs().collect::<Vec<_>>()[..] {
                [("path", path)] => path.to_owned(),
                _ => log.inline(),
            });
        match (directives.len(), logs.len()) {
            (0, _) => None,
            // Those that cannot be said are no reason for nginx's default.
            (_, 0) => Some("false".to_owned()),
            (_, 1) => logs.next(),
            _ => Some(format!(
                "[\n  {},\n]",
                logs.collect::<Vec<_>>().join(",\n  ")
            )),
        }
    }

    fn log(&self, scope: &Scope<'_>, directive: &Directive, phase: Phase) -> Option<Table> {
        let accounts = self.accounts;
        let path = match self.words.inline(directive.argument(0), &scope.constants) {
            Ok(path) if !path.contains('$') && !path.starts_with("syslog:") => path,
            _ => {
                let instead = "a log is a file with a fixed name, `stdout` or `stderr`";
                accounts.lost(directive, instead);
                return None;
            }
        };
        let mut log = Table::new().with(
            "path",
            text(match &*path {
                "/dev/stdout" => "stdout",
                "/dev/stderr" => "stderr",
                path => path,
            }),
        );
        match directive.argument(1) {
            "" | "combined" => {}
            name => match self.format(scope, name, phase) {
                Ok(format) => log = log.followed_by(format),
                Err(why) => accounts.lost(directive, why),
            },
        }
        for argument in directive.arguments.iter().skip(2) {
            match argument.split_once('=').unwrap_or((argument, "")) {
                ("buffer", size) => {
                    let size = values::size(size).map(|size| size.min(1 << 20));
                    if let Some(size) = size.filter(|size| *size != 32 << 10) {
                        log.set("buffer", text(&size_text(size)));
                    }
                }
                ("flush", time) => {
                    let most = std::time::Duration::from_secs(86_400);
                    let time = values::time(time).map(|time| time.min(most));
                    if let Some(time) = time.filter(|time| time.as_millis() > 1_000) {
                        log.set("flush", text(&duration_text(time)));
                    }
                }
                ("gzip", _) => accounts.changed(
                    directive,
                    "lines are written as they are: compress files once they have been moved away",
                ),
                ("if", condition) => match self.loggable(scope, condition, phase) {
                    Ok(Loggable::Always) => {}
                    Ok(Loggable::Never) => {
                        accounts.harmless(directive, "its condition never holds");
                        return None;
                    }
                    Ok(Loggable::When(when)) => log.set("when", when.inline()),
                    Err(why) => accounts.lost(directive, why),
                },
                _ => accounts.lost(directive, format!("`{argument}` of a log is not there")),
            }
        }
        accounts.translated(directive, "`access_log`");
        Some(log)
    }

    /// What a format is here, by its name.
    fn format(&self, scope: &Scope<'_>, name: &str, phase: Phase) -> Result<Table, String> {
        let formats = scope.nearest("log_format");
        let found = formats.iter().find(|format| format.argument(0) == name);
        let format: &Directive = found.ok_or_else(|| format!("there is no `log_format {name}`"))?;
        let mut parts = format.arguments.iter().skip(1).peekable();
        let escape = parts.peek().and_then(|part| part.strip_prefix("escape="));
        if escape.is_some() {
            parts.next();
        }
        let mut whole: String = parts.map(String::as_str).collect();
        // What a line tells of answers that were kept, where none is.
        if escape.is_none_or(|escape| escape == "default") {
            whole = whole
                .replace("${upstream_cache_status}", "-")
                .replace("$upstream_cache_status", "-");
        }
        let asks_for_pipe =
            |piece: &Piece<'_>| matches!(piece, Piece::Variable(name) if *name == "pipe");
        let tells_pipe = pieces_of(&whole).iter().any(asks_for_pipe);
        if tells_pipe {
            let pieces = pieces_of(&whole).into_iter().map(|piece| match piece {
                Piece::Variable("pipe") => (false, ".".to_owned()),
                Piece::Variable(name) => (true, name.to_owned()),
                Piece::Literal(text) => (false, text.to_owned()),
            });
            whole = joined_of(&pieces.collect::<Vec<_>>());
        }
        let said = self
            .words
            .text(&whole, &scope.constants, phase)
            .and_then(|text| match text.contains('$') {
                true => Ok(text),
                false => Err("a format has variables".to_owned()),
            })
            .inspect_err(|why| self.accounts.lost(format, why.clone()))?;
        if tells_pipe {
            self.accounts.changed(
                format,
                "`$pipe` is `.` here: no line tells whether a request was sent before the answer to \
                 another one",
            );
        }
        if escape == Some("json")
            && let Some(fields) = fields(&said)
        {
            self.accounts.translated(format, "`fields` in `access_log`");
            return Ok(Table::new().with("fields", fields.inline()));
        }
        self.accounts.translated(format, "`format` in `access_log`");
        let table = Table::new().with("format", text(&said));
        Ok(match escape {
            None | Some("default") => table,
            Some(escape) => table.with("escape", text(escape)),
        })
    }

    /// What `if=` asks for: that a text is neither empty nor `0`.
    fn loggable(
        &self,
        scope: &Scope<'_>,
        condition: &str,
        phase: Phase,
    ) -> Result<Loggable, String> {
        if let [Piece::Variable(name)] = pieces_of(condition)[..]
            && let Some(map) = self.words.tables.get(name)
            && let Some(when) = when_of(map, phase)
        {
            self.accounts.translated(map, "`when` in `access_log`");
            self.accounts.with_children(map);
            return Ok(Loggable::When(when));
        }
        let said = self.words.text(condition, &scope.constants, phase)?;
        match pieces_of(&said)[..] {
            [] | [Piece::Literal("0")] => Ok(Loggable::Never),
            [Piece::Variable(name)] => {
                let (key, name) = asked_of(name);
                let is_so = list([text("!"), text("!0")]);
                let asked = Table::new().with(&name, is_so);
                Ok(Loggable::When(Table::new().with(key, asked.inline())))
            }
            _ if said.contains('$') => {
                Err("`if` of a log asks for one variable: see `[variable]` for others".to_owned())
            }
            _ => Ok(Loggable::Always),
        }
    }
}

/// A `map` that is made for the `if` of a log, where it is one condition: all that it lists is
/// logged and all else is not, or the other way round.
fn when_of(map: &Directive, phase: Phase) -> Option<Table> {
    let is_logged = |value: &str| match value.contains('$') {
        true => None,
        false => Some(!matches!(value, "" | "0")),
    };
    let [Piece::Variable(source)] = pieces_of(map.argument(0))[..] else {
        return None;
    };
    Template::parse_for(
        map.argument(0),
        phase,
        crate::http::variable::Names::default(),
    )
    .ok()?;
    let (mut otherwise, mut listed) = (false, Vec::new());
    for entry in map.children() {
        match &*entry.name {
            "volatile" => {}
            "hostnames" | "include" => return None,
            "default" => otherwise = is_logged(entry.argument(0))?,
            _ => listed.push(entry),
        }
    }
    let not = if otherwise { "!" } else { "" };
    let of_status = listed.iter().map(|entry| statuses(&entry.name));
    let of_status = match source {
        "status" => of_status.collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let mut patterns = Vec::new();
    for entry in &listed {
        if is_logged(entry.argument(0))? == otherwise {
            return None;
        }
        patterns.push(format!("{not}{}", pattern(&entry.name)?));
    }
    if patterns.is_empty() {
        return None;
    }
    if let Some(statuses) = of_status {
        let statuses: Vec<String> = statuses
            .concat()
            .iter()
            .map(|status| format!("{not}{status}"))
            .collect();
        return Some(Table::new().with("status", texts(&statuses)));
    }
    let (key, name) = asked_of(source);
    let asked = Table::new().with(&name, texts(&patterns));
    Some(Table::new().with(key, asked.inline()))
}

/// A key of a `map` as a pattern of `when`. Texts are compared in any case
/// (`ngx_http_map_module.c`).
fn pattern(key: &str) -> Option<String> {
    if let Some(regex) = key.strip_prefix('~') {
        check_regex(regex.strip_prefix('*').unwrap_or(regex)).ok()?;
        return Some(key.to_owned());
    }
    let key = key.strip_prefix('\\').unwrap_or(key);
    match key.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        true => Some(format!("~*^{}$", regex::escape(key))),
        false => Some(escaped(key)),
    }
}

/// The statuses of `~^[23]`, `~^4` or `404`.
fn statuses(key: &str) -> Option<Vec<String>> {
    if key.len() == 3 && key.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(vec![key.to_owned()]);
    }
    let first = key.strip_prefix("~^")?;
    let classes = match first.strip_prefix('[') {
        Some(classes) => classes.strip_suffix(']')?,
        None => (first.len() == 1).then_some(first)?,
    };
    let is_class = |class: char| matches!(class, '1'..='5');
    let known = !classes.is_empty() && classes.chars().all(is_class);
    known.then(|| classes.chars().map(|class| format!("{class}xx")).collect())
}

/// The members of a format that is one JSON object, where lines of `fields` mean the same: a value
/// in quotes is a string, one without is a figure.
fn fields(format: &str) -> Option<Table> {
    let mut rest = format.trim().strip_prefix('{')?.trim_start();
    let mut fields = Table::new();
    loop {
        let (name, after) = rest.strip_prefix('"')?.split_once('"')?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        let (is_string, value, after) = match rest.strip_prefix('"') {
            Some(after) => {
                let (value, after) = after.split_once('"')?;
                (true, value, after)
            }
            None => {
                let (value, _) = rest.split_once([',', '}'])?;
                (false, value.trim(), rest.get(value.len()..)?)
            }
        };
        let template = Template::parse(value).ok()?;
        let is_number = LogField::new(String::new(), template).is_number;
        let is_plain = !name.contains(['\\', '$']) && !value.contains(['\\', '\n']);
        if is_string == is_number || !is_plain || fields.get(&super::writer::key(name)).is_some() {
            return None;
        }
        fields.set(name, text(value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => break,
        }
    }
    (rest.strip_prefix('}')?.is_empty()).then_some(fields)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_object_becomes_fields_where_its_lines_mean_the_same() {
        let inline = |format| fields(format).map(|fields| fields.inline());
        assert_eq!(
            inline("{ \"a b\": \"$host:$uri\", \"s\":$status }").as_deref(),
            Some("{ \"a b\" = \"$host:$uri\", s = \"$status\" }")
        );
        for other in [
            "$host",
            "{}",
            "{\"s\":\"$status\"}",
            "{\"h\":$host}",
            "{\"a\":{\"b\":\"$host\"}}",
            "{\"a\":\"$host\",\"a\":\"$uri\"}",
            "{\"a\":\"x\\\\\",\"b\":\"$uri\"}",
            "{\"a\":\"$host\"} $uri",
            "{\"a\":\"$host\",}",
            "{\"a\":1}",
        ] {
            assert_eq!(inline(other), None, "{other}");
        }
    }

    #[test]
    fn statuses_of_a_map_are_told_by_class_where_they_are() {
        let of = |key| statuses(key).map(|statuses| statuses.join(" "));
        assert_eq!(of("~^[23]").as_deref(), Some("2xx 3xx"));
        assert_eq!(of("~^4").as_deref(), Some("4xx"));
        assert_eq!(of("404").as_deref(), Some("404"));
        for other in ["~^40", "~[23]", "~^[^2]", "~^[2-4]", "4xx", "default"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_key_of_a_map_is_a_pattern_of_when() {
        assert_eq!(pattern("~*bot").as_deref(), Some("~*bot"));
        assert_eq!(pattern("/x.y").as_deref(), Some("~*^/x\\.y$"));
        assert_eq!(pattern("404").as_deref(), Some("404"));
        assert_eq!(pattern("").as_deref(), Some(""));
        assert_eq!(pattern("~(?=a)"), None);
    }
}

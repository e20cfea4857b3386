//! Where redirects lead whose place a client has a say in. nginx puts scheme and host before a path
//! (`ngx_http_header_filter`, `absolute_redirect`); a path is sent as it is here, and one that begins
//! with two slashes would be another site's.

use super::Translator;
use super::scope::Scope;
use super::variables::{MatchPlace, Part};

/// How a redirect begins.
enum Begin {
    /// As it always does, or as nobody but the configuration says.
    Fixed,
    /// A path that a client may have given two slashes.
    Path,
    /// As this variable says, which a client may have written.
    Client(String),
}

impl Translator<'_> {
    /// A redirect to `written`, which stands for nginx's `url`, and what is to be told of it: that a
    /// client can be led to another site.
    pub(super) fn led_to(
        &self,
        scope: &Scope<'_>,
        url: &str,
        written: String,
    ) -> (String, Option<String>) {
        let Ok(parts) = self.words.resolve(&scope.constants, url) else {
            return (written, None);
        };
        let is_off = |name| scope.value(name) == Some("off");
        match self.begin(&parts, scope) {
            Begin::Path if is_off("absolute_redirect") => {
                let danger = "a path that begins with `//` or `/\\` leads to another site, as it does in \
                              nginx: put `$scheme://$host` before it";
                (written, Some(danger.to_owned()))
            }
            Begin::Path => {
                let host = match is_off("port_in_redirect") {
                    true => "$host",
                    false => "$http_host",
                };
                (format!("$scheme://{host}{written}"), None)
            }
            Begin::Client(variable) => {
                let danger = format!(
                    "`{variable}` is what a client writes, and leads to any site it likes: put \
                     `https://`, the host and a `/` before it"
                );
                (written, Some(danger))
            }
            Begin::Fixed => (written, None),
        }
    }

    fn begin(&self, parts: &[Part], scope: &Scope<'_>) -> Begin {
        match parts {
            [Part::Literal(text), rest @ ..] if text.starts_with('/') => {
                let is_path = match text.as_bytes().get(1) {
                    None => !rest.is_empty(),
                    Some(second) => matches!(second, b'/' | b'\\'),
                };
                if is_path { Begin::Path } else { Begin::Fixed }
            }
            [Part::Literal(text), rest @ ..] => match text.split_once("://") {
                Some((_, host)) if !host.contains(['/', '?', '#']) => of_host(rest),
                _ => Begin::Fixed,
            },
            [Part::Variable(name), Part::Literal(text), rest @ ..] if name == "scheme" => {
                match text.strip_prefix("://") {
                    Some(host) if !host.contains(['/', '?', '#']) => of_host(rest),
                    _ => Begin::Fixed,
                }
            }
            [first, ..] if begins_with_slash(first) => Begin::Path,
            [first, ..] => match client(first) {
                Some(variable) => Begin::Client(variable),
                None => self.begin_of_values(first, scope),
            },
            [] => Begin::Fixed,
        }
    }

    /// How a redirect begins that begins with what a `map` or an `if` gives.
    fn begin_of_values(&self, first: &Part, scope: &Scope<'_>) -> Begin {
        let values = self.values(std::slice::from_ref(first), &scope.constants);
        let is_path = |value: &String| {
            let second = value.strip_prefix('/').and_then(|rest| rest.chars().next());
            matches!(second, Some('/' | '\\' | '$'))
                || ["$uri", "$request_uri", "$document_uri"]
                    .iter()
                    .any(|uri| value.starts_with(uri))
        };
        match values {
            Ok(values) if values.iter().any(is_path) => Begin::Client(name_of(first)),
            _ => Begin::Fixed,
        }
    }
}

/// How what stands behind a scheme and the beginning of a host goes on.
fn of_host(rest: &[Part]) -> Begin {
    for part in rest {
        if begins_with_slash(part) {
            break;
        }
        if let Some(variable) = client(part) {
            return Begin::Client(variable);
        }
        if matches!(part, Part::Literal(text) if text.contains(['/', '?', '#'])) {
            break;
        }
    }
    Begin::Fixed
}

/// Whether a part always begins with a slash.
fn begins_with_slash(part: &Part) -> bool {
    match part {
        Part::Variable(name) => matches!(&**name, "uri" | "document_uri" | "request_uri"),
        Part::Group(matched, name) => matched
            .inside(name)
            .is_some_and(|inside| inside.trim_start_matches(['^', '\\']).starts_with('/')),
        Part::Literal(text) => text.starts_with('/'),
        Part::Choice(_) | Part::Behind(..) => false,
    }
}

/// The variable of a part that a client writes as it likes.
fn client(part: &Part) -> Option<String> {
    let is_free = match part {
        Part::Variable(name) => {
            let headers = name.starts_with("http_") && name != "http_host";
            headers || name.starts_with("arg_") || name.starts_with("cookie_")
        }
        Part::Group(matched, _) => {
            let is_of_host = |part: &Part| matches!(part, Part::Variable(name) if matches!(&**name, "host" | "http_host" | "server_name"));
            matched.place != MatchPlace::Host
                && matched.place != MatchPlace::Key
                && !matched.from.iter().all(is_of_host)
        }
        _ => false,
    };
    is_free.then(|| name_of(part))
}

fn name_of(part: &Part) -> String {
    match part {
        Part::Variable(name) | Part::Group(_, name) => format!("${name}"),
        Part::Choice(choice) => format!("${}", choice.name),
        Part::Literal(_) | Part::Behind(..) => String::new(),
    }
}

//! Text with variables, as in `https://$host$request_uri`: parsed once, rendered into a buffer.

use std::fmt;

use super::variable::{Names, Phase, Scope, UnknownVariable, Variable, VariableSource};

/// Literal text and variables in turn.
///
/// As in nginx, a variable is `$name` or `${name}`, a name being letters, digits and `_`, and there
/// is no way to write a `$` that is none. Of `$10`, the name is `1`: what a group has matched is `$1`
/// to `$9` (`ngx_http_script_compile`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Variable(Variable),
}

/// What is wrong with a template's text; worded as [`Problem`](crate::config::problem::Problem) has
/// it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    pub message: String,
    pub hint: Option<String>,
}

impl Template {
    /// Takes every variable of nginx's own.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Template::parse_of(text, Names::default()).map_err(first)
    }

    /// As [`Template::parse`], for a text that outlives the configuration: what is not nginx's own
    /// is looked for in that of the exchange at hand.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse_named(text: &str) -> Result<Template, TemplateError> {
        let look_up = |name: &str| match Variable::parse_or_named(name) {
            Some(variable) => Ok(variable),
            None => Names::default().look_up(name).map_err(TemplateError::from),
        };
        Template::parse_with(text, look_up).map_err(first)
    }

    /// As [`Template::parse`], with further names.
    ///
    /// # Errors
    /// Everything that is wrong with the text, each once.
    pub fn parse_of(text: &str, names: Names<'_>) -> Result<Template, Vec<TemplateError>> {
        Template::parse_with(text, |name| {
            names.look_up(name).map_err(TemplateError::from)
        })
    }

    /// As [`Template::parse_of`], with such variables as have a value there.
    ///
    /// # Errors
    /// Everything that is wrong with the text, each once.
    pub fn parse_for(
        text: &str,
        phase: Phase,
        names: Names<'_>,
    ) -> Result<Template, Vec<TemplateError>> {
        Template::parse_with(text, |name| has_value(names.look_up(name)?, name, phase))
    }

    /// The names of the variables in a text, right or wrong, as far as it can be read.
    pub fn names_in(text: &str) -> impl Iterator<Item = &str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let (_, after) = rest.split_once('$')?;
            let (name, after) = split_name(after).ok()?;
            rest = after;
            Some(name)
        })
    }

    fn parse_with(
        text: &str,
        look_up: impl Fn(&str) -> Result<Variable, TemplateError>,
    ) -> Result<Template, Vec<TemplateError>> {
        let (mut parts, mut errors) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('$') {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            let (name, after) = match split_name(after) {
                Ok(split) => split,
                // Where a name ends cannot be told, nor what follows it.
                Err(error) => {
                    errors.push(error);
                    return Err(errors);
                }
            };
            match look_up(name) {
                Ok(variable) => parts.push(Part::Variable(variable)),
                Err(error) if errors.contains(&error) => {}
                Err(error) => errors.push(error),
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.into()));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Template {
            source: text.into(),
            parts: parts.into(),
        })
    }

    /// The variables it has, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Variable(variable) => Some(variable),
        })
    }

    /// Whether it is one variable and nothing else.
    pub fn is_variable_alone(&self) -> bool {
        matches!(&*self.parts, [Part::Variable(_)])
    }

    /// Whether it takes from what a regex has matched.
    pub fn has_captures(&self) -> bool {
        self.variables()
            .any(|variable| matches!(variable, Variable::Capture(_)))
    }

    /// The text, if it contains no variable.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text with the variables' values; one without a value leaves nothing, as in
    /// nginx.
    pub fn render<S: VariableSource + ?Sized>(&self, source: &S, out: &mut Vec<u8>) {
        self.render_with(source, out, b"", |_, _| ());
    }

    /// As [`render`](Template::render), alone.
    pub fn rendered<S: VariableSource + ?Sized>(&self, source: &S) -> Vec<u8> {
        let mut out = Vec::new();
        self.render(source, &mut out);
        out
    }

    /// As [`render`](Template::render), for logs: a variable without a value leaves `missing`, and
    /// after each value `escape(out, start)` may change what `out` has from `start` on.
    pub fn render_with<S: VariableSource + ?Sized>(
        &self,
        source: &S,
        out: &mut Vec<u8>,
        missing: &[u8],
        escape: impl Fn(&mut Vec<u8>, usize),
    ) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => {
                    let start = out.len();
                    if source.append(variable, out) {
                        escape(out, start);
                    } else {
                        out.extend_from_slice(missing);
                    }
                }
            }
        }
    }
}

impl From<UnknownVariable> for TemplateError {
    fn from(unknown: UnknownVariable) -> TemplateError {
        TemplateError {
            message: unknown.to_string(),
            hint: unknown.hint(),
        }
    }
}

/// Of errors that there are.
fn first(errors: Vec<TemplateError>) -> TemplateError {
    let mut errors = errors.into_iter();
    errors.next().unwrap_or_else(|| TemplateError {
        message: String::new(),
        hint: None,
    })
}

/// The text that was parsed.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// The name after a `$`, and what follows it.
fn split_name(after: &str) -> Result<(&str, &str), TemplateError> {
    if after.starts_with(|digit: char| matches!(digit, '1'..='9')) {
        return Ok(after.split_at(1));
    }
    let braced = after.strip_prefix('{');
    let text = braced.unwrap_or(after);
    let end = text
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = match braced {
        None => Some(rest),
        Some(_) => rest.strip_prefix('}'),
    };
    match rest {
        Some(rest) if !name.is_empty() => Ok((name, rest)),
        Some(_) => Err(TemplateError {
            message: "`$` without a variable's name".to_owned(),
            hint: Some("write `$name` or `${name}`; a literal `$` is not possible".to_owned()),
        }),
        None => Err(TemplateError {
            message: format!("the closing bracket of variable `${{{name}` is missing"),
            hint: Some("a name has letters, digits and `_`: `${name}`".to_owned()),
        }),
    }
}

/// Whether a variable has a value in that phase; else, what the user is told.
fn has_value(variable: Variable, name: &str, phase: Phase) -> Result<Variable, TemplateError> {
    if variable.has_value_in(phase) {
        return Ok(variable);
    }
    let of_requests = variable.is_known_to(Scope::Request);
    let (message, hint) = match phase {
        Phase::Session if of_requests => (
            format!("`${name}` is a variable that only requests have"),
            Some("`docs/streams.md` lists those that streams have".to_owned()),
        ),
        _ if !of_requests => (
            format!("`${name}` is a variable that only streams have"),
            None,
        ),
        _ => (
            format!("`${name}` has no value in {}", phase.place()),
            Some(where_instead(&variable)),
        ),
    };
    Err(TemplateError { message, hint })
}

/// Where a variable of requests has a value, for one that has none where it stands.
fn where_instead(variable: &Variable) -> String {
    let mut places: Vec<&str> = Phase::ALL
        .into_iter()
        .filter(|phase| !matches!(phase, Phase::Session | Phase::Choice))
        .filter(|phase| variable.has_value_in(*phase))
        .map(Phase::place)
        .collect();
    let last = places.pop().unwrap_or_default();
    let places = match places.is_empty() {
        true => last.to_owned(),
        false => format!("{} and {last}", places.join(", ")),
    };
    match variable {
        Variable::SentHeader(name) => {
            let name = name.as_str().replace('-', "_");
            format!("it has one in {places}; `$upstream_http_{name}` is what the server sent")
        }
        _ => format!("it has one in {places}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::http::variable::Variable;

    /// Knows `$host` and an empty `$args`.
    struct Example;

    impl VariableSource for Example {
        fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
            match variable {
                Variable::Host => out.extend_from_slice(b"ex.com"),
                Variable::Args => (),
                _ => return false,
            }
            true
        }
    }

    fn rendered(text: &str) -> String {
        let mut out = b">".to_vec();
        Template::parse(text).unwrap().render(&Example, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn variables_are_replaced_by_their_values() {
        assert_eq!(rendered("https://$host/x"), ">https://ex.com/x");
        assert_eq!(rendered("${host}name$host"), ">ex.comnameex.com");
        assert_eq!(rendered("[$args$http_x]"), ">[]");
        assert_eq!(rendered("é{}"), ">é{}");
    }

    #[test]
    fn a_missing_value_is_marked_and_a_value_is_escaped_where_asked() {
        let mut out = Vec::new();
        let template = Template::parse("$host,$args,$http_x").unwrap();
        template.render_with(&Example, &mut out, b"-", |out, start| {
            out[start..].make_ascii_uppercase()
        });
        assert_eq!(out, b"EX.COM,,-");
    }

    #[test]
    fn text_without_variables_is_a_literal() {
        assert_eq!(Template::parse("").unwrap().as_literal(), Some(""));
        assert_eq!(Template::parse("a}{").unwrap().as_literal(), Some("a}{"));
        assert_eq!(Template::parse("$host").unwrap().as_literal(), None);
    }

    #[test]
    fn a_template_shows_the_text_it_was_parsed_from() {
        assert_eq!(
            Template::parse("a${host}$args").unwrap().to_string(),
            "a${host}$args"
        );
    }

    #[test]
    fn a_dollar_needs_a_name() {
        for text in ["$", "a$", "$$host", "$-", "${}", "5 $ each"] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.message, "`$` without a variable's name", "{text}");
        }
        for text in ["${host", "${host-x}", "${"] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.message.contains("closing bracket"), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_one_that_may_be_meant() {
        let error = Template::parse("$remote_adr").unwrap_err();
        assert_eq!(error.message, "unknown variable `$remote_adr`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `$remote_addr`?"));
        assert_eq!(Template::parse("$zzz").unwrap_err().hint, None);
        let error = Template::parse("$cokie_user").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `$cookie_user`?"));
    }

    #[test]
    fn a_variable_without_a_value_there_is_refused_with_the_places_where_it_has_one() {
        let error = Template::parse_for("$upstream_addr", Phase::Request, Names::default())
            .map_err(first)
            .unwrap_err();
        assert_eq!(
            error.message,
            "`$upstream_addr` has no value in `request_headers`"
        );
        let hint = "it has one in `response_headers` and `access_log`";
        assert_eq!(error.hint.as_deref(), Some(hint));
        let error = Template::parse_for("$sent_http_x_a", Phase::Response, Names::default())
            .map_err(first)
            .unwrap_err();
        let hint = "it has one in `access_log`; `$upstream_http_x_a` is what the server sent";
        assert_eq!(error.hint.as_deref(), Some(hint));
        for phase in Phase::ALL {
            assert!(Template::parse_for("$remote_addr $msec", phase, Names::default()).is_ok());
        }
        let session = Template::parse_for("$session_time", Phase::Log, Names::default())
            .map_err(first)
            .unwrap_err();
        assert!(session.message.ends_with("only streams have"));
        let several = Template::parse_for(
            "$zzz $remote_addr $uri $yyy $zzz",
            Phase::Session,
            Names::default(),
        )
        .unwrap_err();
        let messages: Vec<&str> = several.iter().map(|error| &*error.message).collect();
        assert_eq!(
            messages,
            [
                "unknown variable `$zzz`",
                "`$uri` is a variable that only requests have",
                "unknown variable `$yyy`"
            ],
            "all of them, each once"
        );
        let request = Template::parse_for("$uri", Phase::Session, Names::default())
            .map_err(first)
            .unwrap_err();
        assert!(request.message.ends_with("only requests have"));
    }
}

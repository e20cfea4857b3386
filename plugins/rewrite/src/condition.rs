//! Conditions, as of nginx's `if` (`ngx_http_rewrite_if_condition`), without those about files.

use waypost_sdk::{Settings, SettingsError, Template};

use crate::pattern::Pattern;
use crate::target::Target;

/// What has to be so for a rule to apply.
pub(crate) struct Condition {
    name: String,
    variable: Template,
    test: Test,
    is_negated: bool,
}

enum Test {
    /// Neither empty nor `0`.
    IsTrue,
    Equals(Vec<u8>),
    Matches(Box<Pattern>),
}

impl Condition {
    /// `$variable`, or `$variable OPERATOR VALUE` with one of `=`, `!=`, `~`, `~*`, `!~` and `!~*`.
    pub(crate) fn parse(table: &Settings, key: &str, text: &str) -> Result<Self, SettingsError> {
        let (variable, rest) = match text.trim().split_once(char::is_whitespace) {
            Some((variable, rest)) => (variable, rest.trim()),
            None => (text.trim(), ""),
        };
        let name = variable.strip_prefix('$').filter(|name| !name.is_empty());
        let Some(name) = name else {
            let message = format!(
                "`{text}` is no condition such as `$http_x_beta` or `$http_user_agent ~* bot`"
            );
            return Err(table.error(key, &message));
        };
        let template = table.as_template(key, variable)?;
        let (operator, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let value = value.trim();
        let value = unquoted(value).unwrap_or(value);
        let matching = |ignores_case| {
            let pattern = Pattern::parse(value, ignores_case);
            let pattern = pattern.map_err(|message| table.error(key, &message))?;
            Ok(Test::Matches(Box::new(pattern)))
        };
        let (is_negated, comparison) = match operator.strip_prefix('!') {
            Some(comparison) => (true, comparison),
            None => (false, operator),
        };
        let test = match comparison {
            "" if !is_negated => Test::IsTrue,
            "=" => Test::Equals(value.as_bytes().to_vec()),
            "~" => matching(false)?,
            "~*" => matching(true)?,
            _ => {
                let message = format!(
                    "`{operator}` is no operator: `=`, `!=`, `~`, `~*`, `!~` and `!~*` are"
                );
                return Err(table.error(key, &message));
            }
        };
        Ok(Condition {
            name: name.trim_matches(['{', '}']).to_owned(),
            variable: template,
            test,
            is_negated,
        })
    }

    pub(crate) fn holds(&mut self, target: &Target) -> bool {
        let value = target.variable(&self.name, &self.variable);
        let passes = match &mut self.test {
            Test::IsTrue => !value.is_empty() && value != b"0",
            Test::Equals(expected) => value == *expected,
            Test::Matches(pattern) => pattern.matches(&value),
        };
        passes != self.is_negated
    }
}

/// The text between quotes of one kind.
fn unquoted(text: &str) -> Option<&str> {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\''))
}

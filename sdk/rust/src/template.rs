//! Text with nginx's variables, as in `$scheme://$host` or `${arg_user}-x`: parsed once, rendered
//! for each request.

use crate::Request;

/// Literal text and variables in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    /// Reads `$name` and `${name}`; names are letters, digits and `_`, and do not begin with a
    /// digit.
    ///
    /// # Errors
    /// What is wrong, for a [`Settings::error`](crate::Settings::error): a `$` without a name, or a
    /// `${` without its `}`. Whether the variables exist is not looked at here: read settings by
    /// [`Settings::template`](crate::Settings::template).
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            if dollar > 0 {
                parts.push(Part::Literal(rest[..dollar].to_owned()));
            }
            let after = &rest[dollar + 1..];
            let name_at = usize::from(after.starts_with('{'));
            let length = after[name_at..]
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len() - name_at);
            let name = &after[name_at..name_at + length];
            rest = &after[name_at + length..];
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(format!(
                    "`{text}` has a `$` without a variable name after it"
                ));
            }
            if name_at == 1 {
                rest = rest
                    .strip_prefix('}')
                    .ok_or_else(|| format!("`{text}` has a `${{{name}` without its `}}`"))?;
            }
            parts.push(Part::Variable(name.to_owned()));
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Template { parts })
    }

    /// The text itself, where no variable is in it.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of its variables, without their `$`.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The variable that it is, where there is nothing else in it.
    pub(crate) fn variable(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Variable(name)] => Some(name),
            _ => None,
        }
    }

    /// The text for this request. A variable without a value is empty, as in nginx.
    pub fn render(&self, request: Request) -> Vec<u8> {
        // One variable alone, the usual case, is passed on as it came.
        if let [Part::Variable(name)] = self.parts.as_slice() {
            return request.variable(name).unwrap_or_default();
        }
        let mut rendered = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => rendered.extend_from_slice(text.as_bytes()),
                Part::Variable(name) => rendered.extend(request.variable(name).unwrap_or_default()),
            }
        }
        rendered
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Template;
    use crate::testing;

    fn rendered(template: &str) -> String {
        let request = testing::Request::get("/x?user=7").header("X-Tenant", "acme");
        let template = Template::parse(template).unwrap();
        String::from_utf8(testing::host::rendered(&template, request)).unwrap()
    }

    #[test]
    fn variables_and_text_alternate() {
        assert_eq!(rendered("$request_uri"), "/x?user=7");
        assert_eq!(rendered("$http_x_tenant:$arg_user"), "acme:7");
        assert_eq!(rendered("u${arg_user}x"), "u7x");
        assert_eq!(rendered("plain"), "plain");
    }

    #[test]
    fn a_variable_without_a_value_is_empty() {
        assert_eq!(rendered("[$cookie_none]"), "[]");
    }

    #[test]
    fn a_dollar_without_a_name_is_refused() {
        for wrong in ["$", "a$", "$$x", "${", "${}", "${x", "$-", "$1"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}

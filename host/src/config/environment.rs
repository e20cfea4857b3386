//! `${env:NAME}` and `${env:NAME:-default}` in string values.
//!
//! Replaced before anything else looks at the string. Other `${...}` are variables of a request and
//! stay as they are.

const OPEN: &str = "${env:";

/// A text with its references replaced; `None` where it has none. The error is a message for the
/// user and a hint.
pub(super) fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, (String, &'static str)> {
    if !text.contains(OPEN) {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once(OPEN) {
        out.push_str(before);
        let Some((reference, after)) = reference.split_once('}') else {
            return Err((format!("`{OPEN}` without its `}}`"), FORM));
        };
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !is_name(name) {
            return Err((
                format!("`{name}` cannot be the name of an environment variable"),
                FORM,
            ));
        }
        let value = match (variable(name), default) {
            (Some(value), _) => value,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                let message = format!("environment variable `{name}` is not set");
                return Err((message, "set it, or give a default: `${env:NAME:-default}`"));
            }
        };
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

const FORM: &str = "write `${env:NAME}` or `${env:NAME:-default}`";

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<Option<String>, String> {
        let variable = |name: &str| (name == "PORT").then(|| "8080".to_owned());
        expand(text, &variable).map_err(|(message, _)| message)
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        assert_eq!(expanded("[::]:${env:PORT}").unwrap().unwrap(), "[::]:8080");
        assert_eq!(
            expanded("${env:PORT}${env:PORT}!").unwrap().unwrap(),
            "80808080!"
        );
        assert_eq!(
            expanded("${env:PORT:-1} ${env:GONE:-2}").unwrap().unwrap(),
            "8080 2"
        );
        assert_eq!(expanded("${env:GONE:-}").unwrap().unwrap(), "");
    }

    #[test]
    fn variables_of_a_request_are_left_alone() {
        assert_eq!(expanded("https://$host${request_uri}"), Ok(None));
        assert_eq!(
            expanded("${env:PORT}${host}").unwrap().unwrap(),
            "8080${host}"
        );
    }

    #[test]
    fn an_unset_variable_without_a_default_is_refused() {
        assert_eq!(
            expanded("${env:GONE}").unwrap_err(),
            "environment variable `GONE` is not set"
        );
    }

    #[test]
    fn a_malformed_reference_is_refused() {
        assert_eq!(
            expanded("${env:PORT").unwrap_err(),
            "`${env:` without its `}`"
        );
        for name in ["", "1X", "A-B"] {
            let message = format!("`{name}` cannot be the name of an environment variable");
            assert_eq!(expanded(&format!("${{env:{name}}}")).unwrap_err(), message);
        }
    }
}

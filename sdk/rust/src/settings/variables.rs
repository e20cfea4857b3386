//! Settings with nginx's variables: each is checked when it is read, so that a misspelt one is
//! reported at its line, and not found out by the first request.

use super::Settings;
use crate::host::nginx;
use crate::{SettingsError, Template};

/// When a variable is read.
#[derive(Debug, Clone, Copy)]
enum ReadBy {
    /// Before a server was chosen.
    Early,
    /// When the answer may be there.
    Late,
}

impl Settings {
    /// A text with variables that `pick` is to read: `key = "$scheme://$host"`. A variable that does
    /// not exist is refused.
    ///
    /// # Errors
    /// A value of another type, a `$` without a name, or a variable that cannot have a value before
    /// a server is chosen, such as `$upstream_addr`.
    pub fn template(&mut self, key: &'static str) -> Result<Option<Template>, SettingsError> {
        let text = self.text(key)?;
        text.map(|text| self.as_template(key, &text)).transpose()
    }

    /// As [`template`](Settings::template), for a text of this key that was read already.
    ///
    /// # Errors
    /// As for [`template`](Settings::template).
    pub fn as_template(&self, key: &str, text: &str) -> Result<Template, SettingsError> {
        self.template_read_by(key, text, ReadBy::Early)
    }

    /// As [`template`](Settings::template), for a text that is made when the answer may be there:
    /// in `done`, `on_response` or `on_end`.
    ///
    /// # Errors
    /// A value of another type, a `$` without a name, or a variable that does not exist.
    pub fn template_of_answer(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Template>, SettingsError> {
        let text = self.text(key)?;
        let template = text.map(|text| self.template_read_by(key, &text, ReadBy::Late));
        template.transpose()
    }

    /// As [`texts_by_name`](Settings::texts_by_name), of [templates](Settings::template).
    ///
    /// # Errors
    /// As for [`template`](Settings::template).
    pub fn templates_by_name(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(String, Template)>, SettingsError> {
        let texts = self.texts_by_name(key)?.into_iter();
        let template = |(name, text): (String, String)| {
            let template = self.as_template(&format!("{key}.{name}"), &text)?;
            Ok((name, template))
        };
        texts.map(template).collect()
    }

    /// One variable that `pick` is to read, or a list of them, each with its `$`:
    /// `key = ["$cookie_id", "$arg_id"]`. Their names without it; empty where the key is missing.
    ///
    /// # Errors
    /// A value of another type, or what is no variable that can have a value before a server is
    /// chosen.
    pub fn variables(&mut self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        self.variables_read_by(key, ReadBy::Early)
    }

    /// As [`variables`](Settings::variables), for variables that `done` is to read: those of the
    /// answer, such as `$upstream_cookie_id`, are among them.
    ///
    /// # Errors
    /// A value of another type, or what is no variable that can have a value here.
    pub fn variables_of_answer(&mut self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        self.variables_read_by(key, ReadBy::Late)
    }

    fn template_read_by(
        &self,
        key: &str,
        text: &str,
        read_by: ReadBy,
    ) -> Result<Template, SettingsError> {
        let template = Template::parse(text).map_err(|message| self.error(key, &message))?;
        let mut variables = template.variables();
        variables.try_for_each(|name| self.check_variable(key, name, read_by))?;
        drop(variables);
        Ok(template)
    }

    fn variables_read_by(
        &mut self,
        key: &'static str,
        read_by: ReadBy,
    ) -> Result<Vec<String>, SettingsError> {
        let texts = self.texts(key)?;
        let name = |text: String| match Template::parse(&text) {
            Ok(template) => match template.variable() {
                Some(name) => {
                    let checked = self.check_variable(key, name, read_by);
                    checked.map(|()| name.to_owned())
                }
                None => Err(self.no_variable(key, &text)),
            },
            Err(_) => Err(self.no_variable(key, &text)),
        };
        texts.into_iter().map(name).collect()
    }

    fn no_variable(&self, key: &str, text: &str) -> SettingsError {
        self.error(
            key,
            &format!("`{text}` is not a variable such as `$cookie_route`"),
        )
    }

    fn check_variable(&self, key: &str, name: &str, read_by: ReadBy) -> Result<(), SettingsError> {
        let problem = match read_by {
            ReadBy::Early => nginx::check_early_variable(name),
            ReadBy::Late => nginx::check_variable(name),
        };
        problem.map_or(Ok(()), |problem| Err(self.error(key, &problem)))
    }
}

//! The settings as they are written, and what is wrong with them.

use waypost_sdk::{Settings, SettingsError, Template, headers};

/// Reads `path`.
pub(crate) fn path(settings: &mut Settings) -> Result<Template, SettingsError> {
    let path = settings.text("path")?.unwrap_or_else(|| "/".to_owned());
    if !path.starts_with(['/', '$']) {
        let message = format!("`{path}` must begin with `/`: the server is that of `upstream`");
        return Err(settings.error("path", &message));
    }
    settings.as_template("path", &path)
}

/// Reads a list of headers.
pub(crate) fn header_names(
    settings: &mut Settings,
    key: &'static str,
) -> Result<Vec<String>, SettingsError> {
    let names = settings.texts(key)?;
    for (number, name) in names.iter().enumerate() {
        check(settings, &format!("{key}[{number}]"), name)?;
    }
    Ok(names)
}

/// Reads `set_headers`. `Host` may be among them.
pub(crate) fn set_headers(
    settings: &mut Settings,
) -> Result<Vec<(String, Template)>, SettingsError> {
    let set = settings.templates_by_name("set_headers")?;
    for (name, _) in &set {
        if !name.eq_ignore_ascii_case("host") {
            check(settings, &format!("set_headers.{name}"), name)?;
        }
    }
    Ok(set)
}

/// Reads `attributes`.
pub(crate) fn attributes(settings: &mut Settings) -> Result<Vec<(String, String)>, SettingsError> {
    let attributes = settings.texts_by_name("attributes")?;
    for (attribute, header) in &attributes {
        let key = format!("attributes.{attribute}");
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if attribute.len() > 64 || !attribute.bytes().all(allowed) {
            let message = format!("`{attribute}` must be of `a-z`, `0-9` and `_`");
            return Err(settings.error(&key, &message));
        }
        check(settings, &key, header)?;
    }
    Ok(attributes)
}

fn check(settings: &Settings, key: &str, name: &str) -> Result<(), SettingsError> {
    if !headers::is_name(name) {
        let message = format!("`{name}` cannot be a header's name");
        return Err(settings.error(key, &message));
    }
    if headers::frames_or_routes(name) {
        let message = format!("`{name}` frames a message or names its server: take another one");
        return Err(settings.error(key, &message));
    }
    Ok(())
}

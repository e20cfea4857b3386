//! The settings as they are written, and what is wrong with them.

use waypost_sdk::{Settings, SettingsError, headers, log};

use crate::algorithm::Algorithm;
use crate::key::Key;
use crate::key_set::KeySet;

/// Reads `algorithms`.
pub(crate) fn algorithms(settings: &mut Settings) -> Result<Option<Vec<Algorithm>>, SettingsError> {
    let names = settings.texts("algorithms")?;
    let read = |(number, name): (usize, &String)| {
        Algorithm::named(name).ok_or_else(|| {
            let known = Algorithm::ALL.map(|(name, _)| name).join("`, `");
            let message = format!("`{name}` is no algorithm that can be allowed: `{known}`");
            settings.error(&format!("algorithms[{number}]"), &message)
        })
    };
    let algorithms: Vec<_> = names
        .iter()
        .enumerate()
        .map(read)
        .collect::<Result<_, _>>()?;
    Ok((!algorithms.is_empty()).then_some(algorithms))
}

/// Reads `secret` or `key_file`.
pub(crate) fn keys(
    settings: &mut Settings,
    allowed: Option<&[Algorithm]>,
) -> Result<(KeySet, Option<String>), SettingsError> {
    let secret = settings.text("secret")?;
    let file = settings.file("key_file")?;
    let (key, path, mut keys) = match (secret, file) {
        (Some(secret), None) => {
            let key = Key::secret(secret.as_bytes());
            let key = key.map_err(|message| settings.error("secret", &message))?;
            ("secret", None, KeySet::of(key))
        }
        (None, Some(file)) => {
            let missing =
                || settings.error("key_file", &format!("there is no file `{}`", file.path));
            let content = file.content.as_ref().ok_or_else(missing)?;
            let keys = read_file(&file.path, content);
            let keys = keys.map_err(|message| settings.error("key_file", &message))?;
            ("key_file", Some(file.path), keys)
        }
        (None, None) => {
            let missing = "`key_file` or `secret` is missing";
            return Err(settings.error("key_file", missing));
        }
        (Some(_), Some(_)) => {
            let both = "there is a `secret` already: a token is signed with the one or the other";
            return Err(settings.error("key_file", both));
        }
    };
    if let Some(allowed) = allowed {
        let kept = keys.keep(allowed);
        kept.map_err(|message| settings.error(key, &format!("{message}: see `algorithms`")))?;
    }
    Ok((keys, path))
}

/// The keys of a file, with a line in the log about those that are skipped.
pub(crate) fn read_file(path: &str, content: &[u8]) -> Result<KeySet, String> {
    let (keys, skipped) = KeySet::read(content).map_err(|why| format!("`{path}`: {why}"))?;
    if let Some(first) = skipped.first() {
        let count = skipped.len();
        log::warn(&format!(
            "key_file `{path}`: {count} keys are skipped, the first: {first}"
        ));
    }
    Ok(keys)
}

/// Reads `claims_to_headers`.
pub(crate) fn headers(settings: &mut Settings) -> Result<Vec<(String, String)>, SettingsError> {
    let headers = settings.texts_by_name("claims_to_headers")?;
    for (claim, header) in &headers {
        if !headers::is_name(header) || headers::frames_or_routes(header) {
            let message = format!("`{header}` is no header that a claim can be written to");
            return Err(settings.error(&format!("claims_to_headers.{claim}"), &message));
        }
    }
    Ok(headers)
}

/// Reads `claims`.
pub(crate) fn attributes(settings: &mut Settings) -> Result<Vec<(String, String)>, SettingsError> {
    let claims = settings.texts("claims")?;
    let named = |(number, claim): (usize, String)| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if claim.is_empty() || claim.len() > 60 || !claim.bytes().all(allowed) {
            let message = format!(
                "`{claim}` has no attribute to go with it: letters, digits and `_` can be in its \
                 name, 60 at most"
            );
            return Err(settings.error(&format!("claims[{number}]"), &message));
        }
        let attribute = format!("jwt_{}", claim.to_ascii_lowercase());
        Ok((claim, attribute))
    };
    claims.into_iter().enumerate().map(named).collect()
}

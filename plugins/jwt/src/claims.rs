//! What the claims of a token have to be: RFC 7519, section 4.1.

use std::time::Duration;

use serde_json::{Map, Value};
use waypost_sdk::{Settings, SettingsError};

/// How far in the future a token may have been issued: clocks differ.
const CLOCKS_DIFFER_MS: f64 = 60_000.0;

/// The rules of the settings.
pub(crate) struct Rules {
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway_ms: f64,
    requires_expiry: bool,
}

impl Rules {
    pub(crate) fn read(settings: &mut Settings) -> Result<Rules, SettingsError> {
        let leeway = settings.duration("leeway")?.unwrap_or(Duration::ZERO);
        if leeway > Duration::from_secs(3600) {
            return Err(settings.error("leeway", "`leeway` must be one hour at most"));
        }
        Ok(Rules {
            issuers: settings.texts("issuer")?,
            audiences: settings.texts("audience")?,
            leeway_ms: leeway.as_secs_f64() * 1000.0,
            requires_expiry: settings.optional_flag("require_exp")?.unwrap_or(true),
        })
    }

    /// Until when the claims are good, in milliseconds since 1970.
    ///
    /// # Errors
    /// Why they are not.
    pub(crate) fn check(
        &self,
        claims: &Map<String, Value>,
        now_ms: u64,
    ) -> Result<f64, &'static str> {
        let now = now_ms as f64;
        let until = match time(claims, "exp", "its `exp` is no number")? {
            Some(expiry) => expiry + self.leeway_ms,
            None if self.requires_expiry => return Err("it has no `exp`"),
            None => f64::INFINITY,
        };
        if now >= until {
            return Err("it has expired");
        }
        let from = time(claims, "nbf", "its `nbf` is no number")?;
        if from.is_some_and(|from| now + self.leeway_ms < from) {
            return Err("it is not valid yet");
        }
        let issued = time(claims, "iat", "its `iat` is no number")?;
        let differ = self.leeway_ms.max(CLOCKS_DIFFER_MS);
        if issued.is_some_and(|issued| now + differ < issued) {
            return Err("it was issued in the future");
        }
        if !self.issuers.is_empty() {
            let issuer = claims.get("iss").and_then(Value::as_str);
            if !issuer.is_some_and(|issuer| self.issuers.iter().any(|each| each == issuer)) {
                return Err("it is not of an issuer that is trusted");
            }
        }
        if !self.audiences.is_empty() && !self.is_for_us(claims.get("aud")) {
            return Err("it is for another audience");
        }
        Ok(until)
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let is_ours = |audience: &Value| {
            let audience = audience.as_str();
            audience.is_some_and(|audience| self.audiences.iter().any(|each| each == audience))
        };
        match audience {
            Some(Value::Array(audiences)) => {
                audiences.iter().all(Value::is_string) && audiences.iter().any(is_ours)
            }
            Some(audience) => is_ours(audience),
            None => false,
        }
    }
}

/// A time in milliseconds: seconds in the claim, perhaps with a fraction.
fn time(
    claims: &Map<String, Value>,
    name: &str,
    wrong: &'static str,
) -> Result<Option<f64>, &'static str> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .map(|seconds| Some(seconds * 1000.0))
            .ok_or(wrong),
    }
}

/// A claim as text. None where there is none, or where it is no text, number, flag or list of them;
/// nor where commas would not tell the members of a list apart.
pub(crate) fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match claims.get(name)? {
        Value::Array(values) => {
            let member = |value| scalar(value).filter(|text| !text.contains(','));
            let values: Option<Vec<_>> = values.iter().map(member).collect();
            values.map(|values| values.join(","))
        }
        value => scalar(value),
    }
}

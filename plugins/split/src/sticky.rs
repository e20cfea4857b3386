//! The cookie that keeps a client on its side when shares change: `name=value; Max-Age=...; Path=/;
//! HttpOnly; SameSite=Lax`, and `Secure` over TLS.

use std::time::Duration;

use waypost_sdk::{Request, Settings, SettingsError, headers};

/// How long a client keeps its side, unless told otherwise.
const DEFAULT_EXPIRES: Duration = Duration::from_secs(30 * 86_400);

/// What the cookies of all clients have in common.
pub(crate) struct Sticky {
    name: String,
    /// What follows the value, without `Secure`.
    attributes: String,
    /// `None`: where the client speaks TLS.
    secure: Option<bool>,
}

impl Sticky {
    /// Reads the table `sticky`; the cookie has the attribute's name unless told otherwise.
    pub(crate) fn configure(mut table: Settings, attribute: &str) -> Result<Self, SettingsError> {
        let name = table.text("name")?;
        let name = name.unwrap_or_else(|| attribute.to_owned());
        if !headers::is_name(&name) {
            return Err(table.error("name", &format!("`{name}` cannot be a cookie's name")));
        }
        let expires = table.duration("expires")?.unwrap_or(DEFAULT_EXPIRES);
        let path = table.text("path")?.unwrap_or_else(|| "/".to_owned());
        let domain = table.text("domain")?;
        for (key, text) in [("path", Some(&path)), ("domain", domain.as_ref())] {
            // RFC 6265, section 4.1.1.
            let is_wrong = |text: &&String| {
                text.is_empty() || text.contains(|c: char| !c.is_ascii_graphic() || c == ';')
            };
            if text.is_some_and(|text| is_wrong(&text)) {
                let message = format!("`{key}` must be of visible ASCII without `;`");
                return Err(table.error(key, &message));
            }
        }
        let same_site = [("strict", "Strict"), ("lax", "Lax"), ("none", "None")];
        let same_site = table.choice("samesite", &same_site)?.unwrap_or("Lax");
        let secure = table.optional_flag("secure")?;
        if same_site == "None" && secure != Some(true) {
            let message = "browsers take `samesite = \"none\"` only with `secure = true`";
            return Err(table.error("samesite", message));
        }
        let http_only = table.optional_flag("httponly")?.unwrap_or(true);
        table.finish()?;
        let mut attributes = format!("; Max-Age={}; Path={path}", expires.as_secs());
        if let Some(domain) = domain {
            attributes.push_str("; Domain=");
            attributes.push_str(&domain);
        }
        if http_only {
            attributes.push_str("; HttpOnly");
        }
        attributes.push_str("; SameSite=");
        attributes.push_str(same_site);
        Ok(Sticky {
            name,
            attributes,
            secure,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The header `Set-Cookie` for a part.
    pub(crate) fn render(&self, value: &str, request: Request) -> String {
        let is_secure = self.secure.unwrap_or_else(|| request.scheme() == "https");
        let secure = if is_secure { "; Secure" } else { "" };
        format!("{}={value}{}{secure}", self.name, self.attributes)
    }
}

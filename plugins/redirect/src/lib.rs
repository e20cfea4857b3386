//! `redirect`: sends clients to the one spelling of a URL that a site wants to have: another
//! scheme or host, with or without `www.`, with or without a slash at the end.
//!
//! The URL that a request has already is never redirected to, so there is no loop, whatever is
//! combined. `Location` has what the client sees: its scheme, its host and its path as it has
//! written them, except for what is changed. Nothing is remembered, so each worker has an instance.

mod url;

use waypost_sdk::{
    About, Call, Describe, Hook, OnRequest, Schema, Settings, SettingsError, Sharing, Verdict,
};

use url::{Scheme, Slash, Www};

/// Redirects to the wanted spelling of a URL.
pub struct Redirect {
    scheme: Option<Scheme>,
    /// With its port, if it has one.
    host: Option<String>,
    port: Option<u16>,
    www: Option<Www>,
    path: Option<String>,
    trailing_slash: Option<Slash>,
    status: Option<u16>,
}

impl Hook for Redirect {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let schemes = [("https", Scheme::Https), ("http", Scheme::Http)];
        let scheme = settings.choice("scheme", &schemes)?;
        let host = literal(&mut settings, "host")?;
        if let Some(host) = &host
            && !url::is_authority(host)
        {
            let message = format!("`{host}` must be a host such as `www.example.com`");
            return Err(settings.error("host", &message));
        }
        let port = settings.number_within("port", 1..=65_535)?;
        if port.is_some()
            && host
                .as_deref()
                .is_some_and(|host| url::port_of(host).is_some())
        {
            let message = "`host` has a port already: leave one of them out";
            return Err(settings.error("port", message));
        }
        let www = settings.choice("www", &[("add", Www::Add), ("remove", Www::Remove)])?;
        if www.is_some() && host.is_some() {
            let message = "`host` says whether there is a `www.`: leave one of them out";
            return Err(settings.error("www", message));
        }
        let path = literal(&mut settings, "path")?;
        if path.as_deref().is_some_and(|path| !url::is_path(path)) {
            let message = "`path` must begin with `/` and be percent-encoded, without `?` and `#`";
            return Err(settings.error("path", message));
        }
        let slashes = [("add", Slash::Add), ("remove", Slash::Remove)];
        let trailing_slash = settings.choice("trailing_slash", &slashes)?;
        if trailing_slash.is_some() && path.is_some() {
            let message = "`path` says how it ends: leave one of them out";
            return Err(settings.error("trailing_slash", message));
        }
        let status = settings.number("status")?;
        if status.is_some_and(|status| !matches!(status, 301 | 302 | 303 | 307 | 308)) {
            let message = "the `status` of a redirect is 301, 302, 303, 307 or 308";
            return Err(settings.error("status", message));
        }
        settings.finish()?;
        let redirect = Redirect {
            scheme,
            host,
            port: port.and_then(|port| u16::try_from(port).ok()),
            www,
            path,
            trailing_slash,
            status: status.and_then(|status| u16::try_from(status).ok()),
        };
        match redirect.scheme.is_some() || redirect.names_authority() || redirect.names_path() {
            true => Ok(redirect),
            false => Err(SettingsError::new(
                "",
                "nothing says where to: set `scheme`, `host`, `port`, `www`, `path` or \
                 `trailing_slash`",
            )),
        }
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

/// A text without variables.
fn literal(settings: &mut Settings, key: &'static str) -> Result<Option<String>, SettingsError> {
    let text = settings.text(key)?;
    match text.as_deref().is_some_and(|text| text.contains('$')) {
        true => {
            let message = format!(
                "`{key}` is sent as it stands, without variables; `rewrite` has them, with the \
                 flag `redirect` or `permanent`"
            );
            Err(settings.error(key, &message))
        }
        false => Ok(text),
    }
}

impl OnRequest for Redirect {
    fn on_request(&mut self, call: &Call) -> Verdict {
        // Each part is asked for only where it can make a difference.
        let request = call.request();
        let scheme = request.scheme();
        let new_scheme = self.scheme.map_or(scheme.as_str(), |wanted| wanted.text());
        let is_other_scheme = new_scheme != scheme;
        let authority = match is_other_scheme || self.names_authority() {
            true => Some(request.authority()),
            false => None,
        };
        let new_authority = authority.as_deref().and_then(|received| {
            let new = self.authority_at(received, new_scheme, is_other_scheme);
            let is_same = !is_other_scheme && url::is_same_authority(&new, received, new_scheme);
            (!is_same).then_some(new)
        });
        let path = self.names_path().then(|| request.path());
        let new_path = path.as_deref().and_then(|received| self.new_path(received));
        let is_nameless = authority.as_deref() == Some("");
        if new_authority.is_none() && new_path.is_none() && !is_nameless {
            return Verdict::Proceed;
        }
        let authority = new_authority
            .or(authority)
            .unwrap_or_else(|| request.authority());
        if authority.is_empty() {
            // Of HTTP/1.0, without `Host`: there is no URL to redirect to.
            call.changes().answer(400, "");
            return Verdict::Answer;
        }
        let mut location = format!("{new_scheme}://{authority}");
        match new_path.or(path).unwrap_or_else(|| request.path()).as_str() {
            // `OPTIONS *` is about the server as a whole, which no URL is; its root is next to it.
            "*" => location.push('/'),
            path => location += path,
        }
        let query = request.query();
        if !query.is_empty() {
            location.push('?');
            location += &query;
        }
        let changes = call.changes();
        changes.set_response_header("Location", url::escaped(&location).as_bytes());
        changes.answer(self.status_for(&request.method()), "");
        Verdict::Answer
    }
}

impl Redirect {
    fn names_authority(&self) -> bool {
        self.host.is_some() || self.port.is_some() || self.www.is_some()
    }

    fn names_path(&self) -> bool {
        self.path.is_some() || self.trailing_slash.is_some()
    }

    /// The authority to redirect to. The port that a client has used stays only while scheme and
    /// host do: others are served at other ports.
    fn authority_at(&self, received: &str, new_scheme: &str, is_other_scheme: bool) -> String {
        let (host, port) = url::split_authority(received);
        let new_host = match (&self.host, self.www) {
            (Some(host), _) => host.clone(),
            (None, Some(www)) => www.applied_to(host),
            (None, None) => host.to_owned(),
        };
        let new_port = match self.port {
            Some(port) => Some(port),
            None if is_other_scheme || self.host.is_some() => None,
            None => port,
        };
        match new_port {
            Some(port) if !new_host.is_empty() && port != url::default_port(new_scheme) => {
                format!("{new_host}:{port}")
            }
            _ => new_host,
        }
    }

    /// `None` where it stays the same.
    fn new_path(&self, received: &str) -> Option<String> {
        if let Some(path) = &self.path {
            return (path != received).then(|| path.clone());
        }
        self.trailing_slash?.applied_to(received)
    }

    /// 308 keeps the method and the body of what is no GET (RFC 9110, section 15.4.9).
    fn status_for(&self, method: &str) -> u16 {
        self.status.unwrap_or(match method {
            "GET" | "HEAD" => 301,
            _ => 308,
        })
    }
}

impl Describe for Redirect {
    fn describe() -> About {
        About::new("redirects to another scheme, host or spelling of the path")
            .settings(
                Schema::new()
                    .choice("scheme", "the scheme to have", &["https", "http"])
                    .text("host", "the host to have")
                    .number("port", "the port to have", 1..=65_535)
                    .choice("www", "`www.` in front of the host", &["add", "remove"])
                    .text("path", "the path to have")
                    .choice("trailing_slash", "`/` behind the path", &["add", "remove"])
                    .number("status", "301, 302, 303, 307 or 308", 301..=308),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(Redirect, on_request, describe);

#[cfg(test)]
mod tests;

//! `split`: sends clients to one of several parts: a route, an upstream, or a value that logs,
//! headers and policies can read. Which part is decided by a header or a cookie of the operator's
//! choice, by the part that the client had before, or by nginx's `split_clients`: the same key is on
//! the same side as in nginx.
//!
//! Nothing is remembered (what is kept, the client keeps in a cookie), so each worker has an
//! instance.

mod murmur;
mod parts;
mod sticky;

use waypost_sdk::{
    About, Call, Describe, Hook, OnRequest, Schema, Settings, SettingsError, Sharing, Template,
    Verdict, headers, log,
};

use parts::{Part, Target};
use sticky::Sticky;

/// Clients by part.
pub struct Split {
    key: Option<Template>,
    parts: Vec<Part>,
    /// A header whose value may name a part.
    header: Option<String>,
    /// A cookie whose value may name a part.
    cookie: Option<String>,
    sticky: Option<Sticky>,
    /// The attribute that tells the part.
    attribute: String,
}

impl Hook for Split {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let key = settings.template("key")?;
        let header = settings.text("header")?;
        let cookie = settings.text("cookie")?;
        for (setting, name) in [("header", &header), ("cookie", &cookie)] {
            if name.as_deref().is_some_and(|name| !headers::is_name(name)) {
                let message = format!("`{setting}` must be the name of a {setting}");
                return Err(settings.error(setting, &message));
            }
        }
        let attribute = settings.text("attribute")?;
        let attribute = attribute.unwrap_or_else(|| "split".to_owned());
        if !is_attribute(&attribute) {
            let message = "`attribute` must be of `a-z`, `0-9` and `_`, 64 at most";
            return Err(settings.error("attribute", message));
        }
        let sticky = match settings.table("sticky")? {
            Some(table) => Some(Sticky::configure(table, &attribute)?),
            None => None,
        };
        let parts = parts::configure(&mut settings)?;
        let has_shares = parts.iter().any(|part| part.boundary.is_some());
        if key.is_none() && has_shares {
            return Err(settings.missing("key"));
        }
        if key.is_some() && !has_shares {
            let message = "no part has a `share` of the keys: give them one, or leave `key` out";
            return Err(settings.error("key", message));
        }
        if !has_shares && header.is_none() && cookie.is_none() {
            let message = "nothing chooses a part: set `key` and shares, `header`, or `cookie`";
            return Err(settings.error("", message));
        }
        if !has_shares && sticky.is_some() {
            let message = "`sticky` keeps what a `share` has chosen, and no part has one";
            return Err(settings.error("sticky", message));
        }
        settings.finish()?;
        Ok(Split {
            key,
            parts,
            header,
            cookie,
            sticky,
            attribute,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl OnRequest for Split {
    fn on_request(&mut self, call: &Call) -> Verdict {
        if self.has_led_here(call) {
            return Verdict::Proceed;
        }
        match self.choose(call) {
            Some(part) => self.send(call, part),
            None => Verdict::Proceed,
        }
    }
}

impl Split {
    fn choose(&self, call: &Call) -> Option<&Part> {
        let request = call.request();
        let named = |value: Option<Vec<u8>>| {
            let value = value?;
            self.parts.iter().find(|part| part.is_named_by(&value))
        };
        let by_header = self.header.as_deref();
        let by_cookie = self.cookie.as_deref();
        let asked = by_header
            .and_then(|name| named(request.header(name)))
            .or_else(|| by_cookie.and_then(|name| named(request.cookie(name))));
        if asked.is_some() {
            return asked;
        }
        if let Some(sticky) = &self.sticky
            && let Some(kept) = request.cookie(sticky.name())
            && let Some(part) = self.parts.iter().find(|part| part.is_kept_as(&kept))
        {
            return Some(part);
        }
        let key = self.key.as_ref()?.render(request);
        let part = parts::by_hash(&self.parts, murmur::hash(&key))?;
        if let Some(sticky) = &self.sticky {
            let cookie = sticky.render(&part.value, request);
            call.changes().add_response_header("Set-Cookie", cookie);
        }
        Some(part)
    }

    fn send(&self, call: &Call, part: &Part) -> Verdict {
        let changes = call.changes();
        let (is_there, verdict) = match &part.target {
            Target::Route(name) => (changes.take_route(name), Verdict::Reroute),
            Target::Upstream(name) => (changes.take_upstream(name), Verdict::Proceed),
            Target::Value => (true, Verdict::Proceed),
        };
        if !is_there {
            // The route is another listener's. Where else it would lead is not the client's part.
            let line = format!("part `{}` leads to no route of this listener", part.value);
            log::exchange(log::Level::Error, &line);
            changes.answer(500, b"");
            return Verdict::Answer;
        }
        changes.set_attribute(&self.attribute, &part.value);
        verdict
    }

    /// Whether this is the route that the hook has led to: it may have the same hook, which has
    /// decided already.
    fn has_led_here(&self, call: &Call) -> bool {
        let leads_to_route = |part: &Part| matches!(part.target, Target::Route(_));
        if !self.parts.iter().any(leads_to_route) {
            return false;
        }
        let Some(value) = call.exchange().attribute(&self.attribute) else {
            return false;
        };
        let mut parts = self.parts.iter();
        parts.any(|part| leads_to_route(part) && part.value.as_bytes() == value)
    }
}

fn is_attribute(name: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(is_allowed)
}

impl Describe for Split {
    fn describe() -> About {
        let part = Schema::new()
            .text("share", "of all keys, as `0.5%`; `*` for the rest")
            .text("route", "the name of the route that it leads to")
            .text("upstream", "the upstream that it leads to")
            .text("value", "what it is called")
            .texts("when", "values of the header or cookie that ask for it");
        let sticky = Schema::new()
            .text("name", "the cookie's name")
            .duration("expires", "how long a client keeps its side")
            .text("path", "the cookie's path")
            .text("domain", "the cookie's domain")
            .choice(
                "samesite",
                "the cookie's `SameSite`",
                &["strict", "lax", "none"],
            )
            .flag("secure", "over TLS only")
            .flag("httponly", "not for scripts");
        About::new("splits clients: nginx's `split_clients`, by header, by cookie")
            .settings(
                Schema::new()
                    .template("key", "whose hash chooses a part")
                    .text("header", "a header that may ask for a part")
                    .text("cookie", "a cookie that may ask for a part")
                    .text("attribute", "`$hook_NAME` has the part's value")
                    .table("sticky", "a cookie keeps clients on their side", sticky)
                    .tables("parts", "what clients are split into", part)
                    .required(),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(Split, on_request, describe);

#[cfg(test)]
mod tests;

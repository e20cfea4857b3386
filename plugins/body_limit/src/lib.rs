//! `body_limit`: bounds the bodies of requests by their media type, more narrowly than
//! `client_max_body_size` does for all of a route.
//!
//! A length that a request tells is held against the bound before anything is read. A body without
//! one is watched on its way: it is refused with the byte that is too much, and what its server has
//! of it by then breaks off.
//!
//! Nothing depends on other requests, so each worker has an instance.

use std::collections::HashMap;

use waypost_sdk::metrics::Counter;
use waypost_sdk::{
    About, Body, Call, Describe, Hook, Manner, OnEnd, OnRequest, OnRequestBody, Schema, Settings,
    SettingsError, Sharing, Summary, Verdict, parse_size,
};

/// Content Too Large.
const TOO_LARGE: u16 = 413;

/// What bodies may have.
pub struct BodyLimit {
    /// Of types that are not listed; none for no bound.
    others: Option<u64>,
    /// By media type, in lower case.
    types: Vec<(Pattern, u64)>,
    /// Bytes that are left to bodies under way, by exchange.
    left: HashMap<u64, u64>,
    refused: Counter,
}

/// A media type of the settings.
enum Pattern {
    /// `application/json`
    Type(String),
    /// `image/*`, without the star.
    Group(String),
}

impl Pattern {
    fn parse(text: &str) -> Option<Pattern> {
        let is_token = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed)
        };
        let (group, rest) = text.split_once('/')?;
        let text = text.to_ascii_lowercase();
        match (is_token(group), rest) {
            (true, "*") => Some(Pattern::Group(text[..=group.len()].to_owned())),
            (true, rest) if is_token(rest) => Some(Pattern::Type(text)),
            _ => None,
        }
    }

    fn is_of(&self, media_type: &str) -> bool {
        match self {
            Pattern::Type(known) => known == media_type,
            Pattern::Group(group) => media_type.starts_with(group.as_str()),
        }
    }
}

impl Hook for BodyLimit {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let others = settings.size("limit")?;
        let mut types = Vec::new();
        for (name, size) in settings.texts_by_name("types")? {
            let key = format!("types.{name}");
            let pattern = Pattern::parse(&name).ok_or_else(|| {
                let message =
                    format!("`{name}` is no media type: write `application/json` or `image/*`");
                settings.error(&key, &message)
            })?;
            let size = parse_size(&size).ok_or_else(|| {
                settings.error(
                    &key,
                    &format!("`{key}` must be a size such as \"8k\" or \"1m\""),
                )
            })?;
            types.push((pattern, size));
        }
        // A type by its name counts before its group.
        types.sort_by_key(|(pattern, _)| matches!(pattern, Pattern::Group(_)));
        if others.is_none() && types.is_empty() {
            return Err(settings.missing("limit"));
        }
        settings.finish()?;
        Ok(BodyLimit {
            others,
            types,
            left: HashMap::new(),
            refused: Counter::named("refused"),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl BodyLimit {
    /// The bound of a request's body; none for no bound. Of one with several types it is the least:
    /// which of them a server goes by is not known.
    fn limit(&self, call: &Call) -> Option<u64> {
        let headers = call.request().header_all("content-type");
        match headers.as_slice() {
            [] => self.limit_of(b""),
            headers => headers
                .iter()
                .filter_map(|header| self.limit_of(header))
                .min(),
        }
    }

    /// That of a value of `Content-Type`.
    fn limit_of(&self, header: &[u8]) -> Option<u64> {
        let media_type = header
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let media_type = String::from_utf8_lossy(media_type.trim_ascii()).to_ascii_lowercase();
        let listed = self
            .types
            .iter()
            .find(|(pattern, _)| pattern.is_of(&media_type));
        listed.map(|(_, limit)| *limit).or(self.others)
    }

    fn refuse(&self, call: &Call) -> Verdict {
        self.refused.add(1);
        // Without a text: the error page that the route has.
        call.changes().answer(TOO_LARGE, "");
        Verdict::Answer
    }
}

impl OnRequest for BodyLimit {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let Some(limit) = self.limit(call) else {
            return Verdict::Proceed;
        };
        let length = call.request().header("content-length");
        let length = length.and_then(|length| String::from_utf8(length).ok()?.parse::<u64>().ok());
        match length {
            // The host sees to it that no more comes than is told.
            Some(length) if length <= limit => Verdict::Proceed,
            Some(_) => self.refuse(call),
            None => {
                if call.bodies().want_request(Manner::Watch) {
                    self.left.insert(call.exchange, limit);
                }
                Verdict::Proceed
            }
        }
    }
}

impl OnRequestBody for BodyLimit {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        let Some(left) = self.left.get_mut(&call.exchange) else {
            return Verdict::Proceed;
        };
        match left.checked_sub(body.bytes.len() as u64) {
            Some(less) => {
                *left = less;
                Verdict::Proceed
            }
            None => self.refuse(call),
        }
    }
}

impl OnEnd for BodyLimit {
    fn on_end(&mut self, call: &Call, _: &Summary) {
        self.left.remove(&call.exchange);
    }
}

impl Describe for BodyLimit {
    fn describe() -> About {
        About::new("bounds the bodies of requests by their media type")
            .settings(
                Schema::new()
                    .size(
                        "limit",
                        "of types that are not listed; without it they have no bound",
                    )
                    .texts_by_name("types", "sizes by media type, as `image/*` = \"8m\""),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(BodyLimit, on_request, on_request_body, on_end, describe);

#[cfg(test)]
mod tests;

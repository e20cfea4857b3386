//! `substitute`: replaces text in answers, as nginx's `sub_filter` does: letters of either case are
//! the same, the text that begins first is replaced first, and of several that begin at one place
//! the one that is written first.
//!
//! Answers in gzip are decompressed for it. What could be the beginning of a text is held back, and
//! nothing else: so answers stay live, and take as much memory as the longest text.
//!
//! Nothing depends on other exchanges, so each worker has an instance.

mod searches;

use std::collections::HashMap;

use waypost_sdk::{
    About, Body, Call, Describe, Form, Hook, Manner, OnEnd, OnResponse, OnResponseBody, Schema,
    Settings, SettingsError, Sharing, Summary, Template, Verdict,
};

use searches::{Search, Searches};

/// The media type that is looked at whatever the settings say (`sub_filter_types`).
const ALWAYS: &str = "text/html";

/// Bytes that a text may have: as many as the plugin may have to hold back.
const LONGEST: usize = 4096;

/// What is replaced.
pub struct Substitute {
    pairs: Vec<(Template, Template)>,
    /// Each text the first time only.
    once: bool,
    /// In lower case; none for all.
    types: Option<Vec<String>>,
    keeps_last_modified: bool,
    /// Answers under way, by exchange.
    under_way: HashMap<u64, Searches>,
}

impl Hook for Substitute {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let mut pairs = Vec::new();
        for mut table in settings.tables("replace")? {
            let search = table.template_of_answer("text")?;
            let search = search.ok_or_else(|| table.missing("text"))?;
            match search.literal() {
                Some("") => return Err(table.error("text", "it must not be empty")),
                Some(text) if text.len() > LONGEST => {
                    let message = format!("a text has {LONGEST} bytes at most");
                    return Err(table.error("text", &message));
                }
                _ => {}
            }
            let by = table.template_of_answer("by")?;
            let by = by.ok_or_else(|| table.missing("by"))?;
            table.finish()?;
            pairs.push((search, by));
        }
        if pairs.is_empty() {
            return Err(settings.missing("replace"));
        }
        let once = settings.optional_flag("once")?.unwrap_or(true);
        let mut types = settings.texts("types")?;
        types
            .iter_mut()
            .for_each(|name| name.make_ascii_lowercase());
        if let Some(wrong) = types
            .iter()
            .find(|name| *name != "*" && !name.contains('/'))
        {
            let message = format!("`{wrong}` is no media type: write `text/css`, or `*` for all");
            return Err(settings.error("types", &message));
        }
        let types = match types.iter().any(|name| name == "*") {
            true => None,
            false => {
                types.push(ALWAYS.to_owned());
                Some(types)
            }
        };
        let keeps_last_modified = settings.flag("last_modified")?;
        settings.finish()?;
        Ok(Substitute {
            pairs,
            once,
            types,
            keeps_last_modified,
            under_way: HashMap::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl Substitute {
    fn is_for(&self, call: &Call) -> bool {
        let Some(types) = &self.types else {
            return true;
        };
        let header = call.response().header("content-type").unwrap_or_default();
        let media_type = header
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let media_type = media_type.trim_ascii();
        let is_it = |known: &String| known.as_bytes().eq_ignore_ascii_case(media_type);
        types.iter().any(is_it)
    }
}

impl OnResponse for Substitute {
    fn on_response(&mut self, call: &Call) {
        self.under_way.remove(&call.exchange); // of an answer that never left
        if !self.is_for(call) || !call.bodies().want_response(Manner::Chunks, Form::Decoded) {
            return;
        }
        let pairs = self.pairs.iter();
        let searches = pairs.map(|(search, by)| {
            let search = search.render(call.request());
            Search::new(search, by.render(call.request()))
        });
        // Texts that variables leave empty, or make too long, are not looked for.
        let searches = searches.filter(|search| (1..=LONGEST).contains(&search.length()));
        let searches = Searches::new(searches.collect(), self.once);
        self.under_way.insert(call.exchange, searches);
        if !self.keeps_last_modified {
            // The answer is another one than that time and tag are of (`ngx_http_sub_header_filter`).
            call.changes().remove_response_header("Last-Modified");
            call.changes().remove_response_header("ETag");
        }
    }
}

impl OnResponseBody for Substitute {
    fn on_response_body(&mut self, call: &Call, body: Body) -> Verdict {
        if let Some(searches) = self.under_way.get_mut(&call.exchange)
            && let Some(replaced) = searches.pass(&body.bytes, body.last)
        {
            call.bodies().set(replaced);
        }
        Verdict::Proceed
    }
}

impl OnEnd for Substitute {
    fn on_end(&mut self, call: &Call, _: &Summary) {
        self.under_way.remove(&call.exchange);
    }
}

impl Describe for Substitute {
    fn describe() -> About {
        let pair = Schema::new()
            .template("text", "what is looked for, in letters of either case")
            .required()
            .template("by", "what stands in its place")
            .required();
        About::new("replaces text in answers, as nginx's `sub_filter`")
            .settings(
                Schema::new()
                    .tables("replace", "texts and what stands in their place", pair)
                    .required()
                    .flag("once", "each text the first time only; unless it is false")
                    .texts("types", "media types besides `text/html`; `*` for all")
                    .flag("last_modified", "`Last-Modified` stays, and a weak `ETag`"),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(Substitute, on_response, on_response_body, on_end, describe);

#[cfg(test)]
mod tests;

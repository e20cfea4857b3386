//! `access`: lets clients in, or turns them away, by their addresses: nginx's
//! `ngx_http_access_module` and `ngx_stream_access_module`.
//!
//! The first rule that matches decides; if none does, the client is let in. With
//! `satisfy = "any"` nothing is turned away here: what the rules say is left in the attribute
//! `access`, for a hook behind this one (`basic_auth`, `jwt`) that asks those for credentials whom
//! no rule allows.

mod rules;

use waypost_sdk::log::{self, Level};
use waypost_sdk::metrics::Counter;
use waypost_sdk::{
    About, Call, Describe, Hook, OnRequest, Schema, Settings, SettingsError, Sharing, Verdict,
};

use rules::{Decision, Rules};

/// What the hook does at its places.
pub struct Access {
    /// For places that say nothing of their own.
    defaults: Place,
    places: Vec<Place>,
    denied: Counter,
}

/// What one place says.
#[derive(Clone, Default)]
struct Place {
    rules: Option<Rules>,
    satisfy: Satisfy,
}

/// nginx's `satisfy`: whether all hooks that guard have to let a request in, or one of them.
#[derive(Clone, Copy, Default)]
enum Satisfy {
    #[default]
    All,
    Any,
}

impl Hook for Access {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Access {
            defaults: Place::default().read(settings)?,
            places: Vec::new(),
            denied: Counter::named("denied"),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker // a decision depends on nothing that was before
    }

    fn attach(&mut self, _place: usize, settings: Settings) -> Result<(), SettingsError> {
        let missing = settings.missing("rules");
        let place = self.defaults.clone().read(settings)?;
        if place.rules.is_none() {
            return Err(missing);
        }
        self.places.push(place);
        Ok(())
    }
}

impl Place {
    /// Takes what a table says; what it does not say stays. As in nginx, rules take the place of
    /// those from further out, all of them.
    fn read(mut self, mut settings: Settings) -> Result<Self, SettingsError> {
        let words = [("all", Satisfy::All), ("any", Satisfy::Any)];
        if let Some(satisfy) = settings.choice("satisfy", &words)? {
            if matches!(satisfy, Satisfy::Any) && settings.are_of_streams() {
                let message = "nothing asks for credentials in a stream: leave `satisfy` out, or \
                               everybody is let in";
                return Err(settings.error("satisfy", message));
            }
            self.satisfy = satisfy;
        }
        if let Some(rules) = Rules::read(&mut settings)? {
            self.rules = Some(rules);
        }
        settings.finish()?;
        Ok(self)
    }
}

impl OnRequest for Access {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let Place { rules, satisfy } = &self.places[call.place];
        let client = call.connection().client_address();
        let decision = rules.as_ref().and_then(|rules| rules.decide(client));
        match (satisfy, decision) {
            (Satisfy::All, Some(Decision::Deny)) => {
                log::exchange(Level::Error, "access forbidden by rule");
                self.denied.add(1);
                call.changes().answer(403, "");
                return Verdict::Answer;
            }
            (Satisfy::All, _) => {}
            // Set in any case: rules from further out may have decided otherwise.
            (Satisfy::Any, decision) => {
                let value = match decision {
                    Some(Decision::Allow) => "allowed",
                    Some(Decision::Deny) => "denied",
                    None => "none",
                };
                call.changes().set_attribute("access", value);
            }
        }
        Verdict::Proceed
    }
}

impl Describe for Access {
    fn describe() -> About {
        let summary = "lets clients in, or turns them away, by address";
        About::new(summary)
            .settings(schema())
            .place_settings(schema())
    }
}

/// The same for a declaration and a place: each may say what the other does not.
fn schema() -> Schema {
    let rules = "`allow` or `deny`, and an address, a network, `unix:` or `all`: the first rule \
                 that matches decides, and no match lets in";
    let satisfy = "`any`: turn nothing away, but let a hook behind this one ask for credentials";
    Schema::new()
        .texts("rules", rules)
        .choice("satisfy", satisfy, &["all", "any"])
}

waypost_sdk::export_hook!(Access, on_request, describe);

#[cfg(test)]
mod tests;

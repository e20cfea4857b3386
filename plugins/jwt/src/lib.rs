//! `jwt`: lets requests in that carry a signed token (RFC 7519, RFC 6750), and tells servers and
//! other hooks what it claims.
//!
//! The usual holes are closed by what there is (RFC 8725): `none` is no algorithm here, a key
//! serves the algorithms of its kind and no others, keys that a token brings along are not looked
//! at, and a name that claims are written to is never the client's to set.

mod algorithm;
mod es384;
mod key;
mod key_set;
mod token;
mod claims;
mod verified;
mod written;

use serde_json::{Map, Value};
use waypost_sdk::log::{self, Level};
use waypost_sdk::metrics::Counter;
use waypost_sdk::{
    About, Call, Describe, FileChanges, Hook, OnRequest, Schema, Settings, SettingsError, Sharing,
    Verdict, clock,
};

use algorithm::Algorithm;
use claims::Rules;
use key::Key;
use key_set::KeySet;
use token::Token;
use verified::VerifiedTokens;

/// What the hook does at its places.
pub struct Jwt {
    /// None while the file is gone or makes no sense: no token is good then.
    keys: Option<KeySet>,
    key_file: Option<String>,
    algorithms: Option<Vec<Algorithm>>,
    rules: Rules,
    /// The variable that has the token; by default it is in `Authorization`.
    variable: Option<String>,
    /// Claims and the headers that have their values, of requests to servers.
    headers: Vec<(String, String)>,
    /// Claims and the attributes that have their values.
    attributes: Vec<(String, String)>,
    verified: VerifiedTokens,
    /// For places that say nothing of their own.
    defaults: Place,
    places: Vec<Place>,
    refused: Counter,
    signatures: Counter,
}

/// What one place says.
#[derive(Clone, Default)]
struct Place {
    realm: Option<String>,
    /// Requests without a token go on.
    optional: bool,
    /// nginx's `satisfy any`: clients whose addresses `access` allows are not asked.
    any: bool,
}

impl Hook for Jwt {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let algorithms = written::algorithms(&mut settings)?;
        let (keys, key_file) = written::keys(&mut settings, algorithms.as_deref())?;
        let mut variables = settings.variables("token")?;
        if variables.len() > 1 {
            return Err(settings.error("token", "`token` must be one variable"));
        }
        Ok(Jwt {
            keys: Some(keys),
            key_file,
            algorithms,
            rules: Rules::read(&mut settings)?,
            variable: variables.pop(),
            headers: written::headers(&mut settings)?,
            attributes: written::attributes(&mut settings)?,
            verified: VerifiedTokens::default(),
            defaults: Place::default().read(settings)?,
            places: Vec::new(),
            refused: Counter::named("refused"),
            signatures: Counter::named("signatures"),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker // each verifies a token once, and then no lock is in the way
    }

    fn attach(&mut self, _place: usize, settings: Settings) -> Result<(), SettingsError> {
        self.places.push(self.defaults.clone().read(settings)?);
        Ok(())
    }
}

impl Place {
    /// Takes what a table says; what it does not say stays.
    fn read(mut self, mut settings: Settings) -> Result<Self, SettingsError> {
        if let Some(realm) = settings.text("realm")? {
            self.realm = Some(realm.replace('\\', "\\\\").replace('"', "\\\""));
        }
        if let Some(optional) = settings.optional_flag("optional")? {
            self.optional = optional;
        }
        if let Some(any) = settings.choice("satisfy", &[("all", false), ("any", true)])? {
            self.any = any;
        }
        settings.finish()?;
        Ok(self)
    }

    /// The challenge of RFC 6750, section 3.
    fn challenge(&self, error: Option<&str>) -> String {
        let realm = self
            .realm
            .as_ref()
            .map(|realm| format!("realm=\"{realm}\""));
        let error = error.map(|error| format!("error=\"{error}\""));
        let parameters: Vec<_> = realm.into_iter().chain(error).collect();
        format!("Bearer {}", parameters.join(", "))
            .trim_end()
            .to_owned()
    }
}

impl OnRequest for Jwt {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let place = &self.places[call.place];
        let is_allowed = || call.exchange().attribute("access").as_deref() == Some(b"allowed");
        if place.any && is_allowed() {
            return self.let_in(call, &[]); // as in nginx, whatever token there may be
        }
        let Some(token) = self.token(call) else {
            return self.without_token(call);
        };
        let now_ms = clock::wall_ms();
        self.verified.seed(call.random);
        if let Some(known) = self.verified.find(&token, now_ms) {
            return self.let_in(call, &known.values);
        }
        match self.verify(&token, now_ms) {
            Ok((until_ms, claims)) => {
                let values = self.values(&claims);
                let verdict = self.let_in(call, &values);
                self.verified.add(&token, until_ms, values);
                verdict
            }
            Err(why) => {
                log::exchange(Level::Info, &format!("the token was refused: {why}"));
                self.refuse(call, Some("invalid_token"))
            }
        }
    }
}

impl Jwt {
    /// The token of a request.
    fn token(&self, call: &Call) -> Option<Vec<u8>> {
        if let Some(variable) = &self.variable {
            return call.variable(variable).filter(|token| !token.is_empty());
        }
        let mut header = call.request().header("authorization")?;
        let (scheme, rest) = header.split_at_checked("Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let spaces = rest.len() - rest.trim_ascii_start().len();
        header.drain(..scheme.len() + spaces);
        Some(header)
    }

    fn without_token(&self, call: &Call) -> Verdict {
        if self.places[call.place].optional {
            return self.let_in(call, &[]);
        }
        log::exchange(Level::Info, "no token was provided");
        self.refuse(call, None)
    }

    /// Until when a token is good, and what it claims.
    fn verify(&self, token: &[u8], now_ms: u64) -> Result<(f64, Map<String, Value>), &'static str> {
        let keys = self.keys.as_ref().ok_or("there are no keys")?;
        let token = Token::parse(token)?;
        let mut keys = keys
            .candidates(token.algorithm, token.key_id.as_deref())
            .peekable();
        if keys.peek().is_none() {
            return Err("no key is for its `alg` and `kid`");
        }
        let is_signed = |key: &Key| {
            self.signatures.add(1);
            key.verifies(token.algorithm, token.message, &token.signature)
        };
        if !keys.any(is_signed) {
            return Err("its signature is wrong");
        }
        let claims = token.claims()?;
        Ok((self.rules.check(&claims, now_ms)?, claims))
    }

    /// What is told of the claims: first for the headers, then for the attributes.
    fn values(&self, claims: &Map<String, Value>) -> Vec<Option<String>> {
        let told = self.headers.iter().chain(&self.attributes);
        told.map(|(claim, _)| claims::text(claims, claim)).collect()
    }

    /// Lets a request go on, with these values. Headers that have none are taken away: they would
    /// be the client's.
    fn let_in(&self, call: &Call, values: &[Option<String>]) -> Verdict {
        let changes = call.changes();
        let mut values = values
            .iter()
            .map(Option::as_deref)
            .chain(std::iter::repeat(None));
        for (_, header) in &self.headers {
            let value = values.next().flatten();
            let is_set = value.is_some_and(|value| changes.set_request_header(header, value));
            if !is_set && !changes.remove_request_header(header) {
                // Whatever the reason is, the client's own value must not go on.
                changes.answer(500, "");
                return Verdict::Answer;
            }
        }
        for (_, attribute) in &self.attributes {
            if let Some(value) = values.next().flatten() {
                changes.set_attribute(attribute, value);
            }
        }
        Verdict::Proceed
    }

    fn refuse(&self, call: &Call, error: Option<&str>) -> Verdict {
        self.refused.add(1);
        let challenge = self.places[call.place].challenge(error);
        let changes = call.changes();
        changes.set_response_header("WWW-Authenticate", challenge);
        changes.answer(401, "");
        Verdict::Answer
    }
}

impl FileChanges for Jwt {
    fn changed(&mut self, path: &str, content: Option<&[u8]>) {
        if self.key_file.as_deref() != Some(path) {
            return;
        }
        self.verified.clear();
        let keys = content.ok_or_else(|| format!("`{path}` is gone"));
        let keys = keys.and_then(|content| written::read_file(path, content));
        let keys = keys.and_then(|mut keys| match &self.algorithms {
            Some(allowed) => keys.keep(allowed).map(|()| keys),
            None => Ok(keys),
        });
        self.keys = keys
            .inspect_err(|why| log::error(&format!("key_file {why}: no token is good until then")))
            .ok();
    }
}

impl Describe for Jwt {
    fn describe() -> About {
        let satisfy = "`any`: do not ask clients whom the hook `access` before this one allows";
        let place = || {
            Schema::new()
                .text("realm", "what the token is for, as clients are told")
                .flag("optional", "let requests without a token go on")
                .choice("satisfy", satisfy, &["all", "any"])
        };
        let settings = place()
            .text(
                "key_file",
                "the public key in PEM, or a set of keys in JSON (JWKS)",
            )
            .text(
                "secret",
                "what tokens of HS256, HS384 and HS512 are signed with",
            )
            .texts(
                "algorithms",
                "the only ones that are taken; by default those of the keys' kind",
            )
            .texts("issuer", "what `iss` has to be, one of them")
            .texts("audience", "what `aud` has to name, one of them")
            .duration("leeway", "how far clocks may differ")
            .flag("require_exp", "`false`: take tokens that never expire")
            .variables(
                "token",
                "the variable that has the token, such as `$cookie_token`",
            )
            .texts_by_name(
                "claims_to_headers",
                "claims, and the request headers that tell them",
            )
            .texts("claims", "claims that `$hook_jwt_NAME` tells");
        About::new("lets requests in that carry a signed token")
            .settings(settings)
            .place_settings(place())
            .no_streams()
    }
}

waypost_sdk::export_hook!(Jwt, on_request, file_changes, describe);

#[cfg(test)]
mod tests;

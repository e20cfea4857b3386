//! `basic_auth`: asks for a user and a password: nginx's `ngx_http_auth_basic_module`, and
//! RFC 7617.
//!
//! Slow hashes are verified by the host, off its workers' threads. What came of it is remembered
//! for a while, so that they are not paid for each request. Each worker has an instance with all
//! users, and remembers its own: a slow hash is paid once for each of them. To spread credentials
//! over instances would pay it once, and have all users in each of 64.

mod credentials;
mod users;
mod remembered;

use std::collections::HashMap;
use std::time::Duration;

use waypost_sdk::log::{self, Level};
use waypost_sdk::metrics::Counter;
use waypost_sdk::{
    About, Call, Describe, FileChanges, Hook, OnCheck, OnRequest, Schema, Settings, SettingsError,
    Sharing, Template, Verdict,
};

use credentials::Credentials;
use remembered::{Fingerprint, Remembered};
use users::Users;

/// How long a verdict is remembered.
const REMEMBER: Duration = Duration::from_secs(60);
/// Checks under way that are known of; past it, the oldest are begun again.
const MOST_PENDING: usize = 4096;

/// What the hook does at its places.
pub struct BasicAuth {
    users: Users,
    remembered: Remembered,
    /// What was asked of the host for an exchange. Those that ended meanwhile stay until there are
    /// too many.
    pending: HashMap<u64, Fingerprint>,
    /// For places that say nothing of their own.
    defaults: Place,
    places: Vec<Place>,
    refused: Counter,
    checks: Counter,
}

/// What one place says.
#[derive(Clone, Default)]
struct Place {
    realm: Option<Template>,
    /// nginx's `satisfy any`: clients whose addresses `access` allows are not asked.
    any: bool,
}

impl Hook for BasicAuth {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let users = Users::read(&mut settings)?;
        let remember = settings.duration("remember")?.unwrap_or(REMEMBER);
        Ok(BasicAuth {
            users,
            remembered: Remembered::new(remember),
            pending: HashMap::new(),
            defaults: Place::default().read(settings)?,
            places: Vec::new(),
            refused: Counter::named("refused"),
            checks: Counter::named("checks"),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn attach(&mut self, _place: usize, settings: Settings) -> Result<(), SettingsError> {
        let missing = settings.missing("realm");
        let place = self.defaults.clone().read(settings)?;
        if place.realm.is_none() {
            return Err(missing);
        }
        self.places.push(place);
        Ok(())
    }
}

impl Place {
    /// Takes what a table says; what it does not say stays.
    fn read(mut self, mut settings: Settings) -> Result<Self, SettingsError> {
        if let Some(realm) = settings.template("realm")? {
            self.realm = Some(realm);
        }
        if let Some(any) = settings.choice("satisfy", &[("all", false), ("any", true)])? {
            self.any = any;
        }
        settings.finish()?;
        Ok(self)
    }

    /// The realm of a request. None where it is `off`: nothing is asked for.
    fn realm(&self, call: &Call) -> Option<Vec<u8>> {
        let realm = self.realm.as_ref()?;
        match realm.literal() {
            Some("off") => None,
            Some(realm) => Some(realm.as_bytes().to_vec()),
            None => Some(realm.render(call.request())).filter(|realm| realm != b"off"),
        }
    }

    fn is_off(&self, call: &Call) -> bool {
        let literal = self.realm.as_ref().and_then(Template::literal);
        literal.map_or_else(|| self.realm(call).is_none(), |realm| realm == "off")
    }

    fn is_satisfied(&self, call: &Call) -> bool {
        self.any && call.exchange().attribute("access").as_deref() == Some(b"allowed")
    }
}

impl OnRequest for BasicAuth {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let place = &self.places[call.place];
        if place.is_satisfied(call) || place.is_off(call) {
            return Verdict::Proceed;
        }
        let header = call.request().header("authorization");
        let Some(credentials) = header.as_deref().and_then(Credentials::parse) else {
            log::exchange(
                Level::Info,
                "no user/password was provided for basic authentication",
            );
            return self.ask(call);
        };
        self.remembered.seed(call);
        self.judge(call, &credentials)
    }
}

impl OnCheck for BasicAuth {
    fn on_check(&mut self, call: &Call, passed: bool) -> Verdict {
        let header = call.request().header("authorization");
        let Some(credentials) = header.as_deref().and_then(Credentials::parse) else {
            return self.ask(call);
        };
        let asked = self.pending.remove(&call.exchange);
        let stored = self.users.find(&credentials.user);
        let fingerprint = self.remembered.fingerprint(&credentials, stored.as_ref());
        // The file may have changed meanwhile: what was checked is not what counts now.
        if asked != Some(fingerprint) {
            return self.judge(call, &credentials);
        }
        let passed = passed && stored.is_some();
        self.remembered.remember(fingerprint, passed, call.now_us);
        self.end(call, &credentials, passed)
    }
}

impl BasicAuth {
    /// Looks at a password, or has the host look at it.
    fn judge(&mut self, call: &Call, credentials: &Credentials) -> Verdict {
        if self.users.are_gone() {
            let name = self.users.name();
            log::exchange(Level::Error, &format!("the users' file \"{name}\" is gone"));
            call.changes().answer(403, "");
            return Verdict::Answer;
        }
        let stored = self.users.find(&credentials.user);
        // An unknown user costs what another one does, so that the time does not tell.
        let any = self.users.any();
        let Some(compared) = stored.as_ref().or(any.as_ref()) else {
            return self.end(call, credentials, false);
        };
        if let Some(passed) = compared.matches(&credentials.password) {
            let passed = passed && stored.is_some();
            return self.end(call, credentials, passed);
        }
        let fingerprint = self.remembered.fingerprint(credentials, stored.as_ref());
        if let Some(passed) = self.remembered.recall(&fingerprint, call.now_us) {
            return self.end(call, credentials, passed);
        }
        if self.pending.len() >= MOST_PENDING {
            self.pending.clear();
        }
        self.pending.insert(call.exchange, fingerprint);
        self.checks.add(1);
        let checks = call.checks();
        checks.verify_password(compared.hash(), &credentials.password);
        Verdict::Wait
    }

    fn end(&self, call: &Call, credentials: &Credentials, passed: bool) -> Verdict {
        if passed {
            call.changes().set_attribute("user", &credentials.user);
            return Verdict::Proceed;
        }
        let user = String::from_utf8_lossy(&credentials.user);
        let message = match self.users.find(&credentials.user) {
            Some(_) => format!("user \"{user}\": password mismatch"),
            None => format!("user \"{user}\" was not found in \"{}\"", self.users.name()),
        };
        log::exchange(Level::Error, &message);
        self.refused.add(1);
        self.ask(call)
    }

    /// Answers 401, with what is asked for.
    fn ask(&self, call: &Call) -> Verdict {
        let realm = self.places[call.place].realm(call).unwrap_or_default();
        let mut challenge = b"Basic realm=\"".to_vec();
        for byte in realm {
            // RFC 9110, section 5.6.4.
            if byte == b'"' || byte == b'\\' {
                challenge.push(b'\\');
            }
            challenge.push(byte);
        }
        challenge.push(b'"');
        let changes = call.changes();
        changes.set_response_header("WWW-Authenticate", challenge);
        changes.answer(401, "");
        Verdict::Answer
    }
}

impl FileChanges for BasicAuth {
    fn changed(&mut self, path: &str, content: Option<&[u8]>) {
        self.users.changed(path, content);
    }
}

impl Describe for BasicAuth {
    fn describe() -> About {
        let satisfy = "`any`: do not ask clients whom the hook `access` before this one allows";
        let place = || {
            Schema::new()
                .template("realm", "what the password is for; `off` asks for none")
                .choice("satisfy", satisfy, &["all", "any"])
        };
        About::new("asks for a user and a password")
            .settings(
                place()
                    .texts_by_name("users", "users and the hashes of their passwords")
                    .text("users_file", "a file of such users, as `htpasswd` makes it")
                    .duration(
                        "remember",
                        "how long the verdict of a slow hash is remembered",
                    ),
            )
            .place_settings(place())
            .no_streams()
    }
}

waypost_sdk::export_hook!(BasicAuth, on_request, on_check, file_changes, describe);

#[cfg(test)]
mod tests;

//! `cors`: lets pages of other origins read answers, as the Fetch standard says ("CORS protocol").
//! Preflight requests are answered here; for all others the headers are set that the browser wants
//! to see, whichever answer comes, in place of those that a server has set itself.
//!
//! A request of an origin that is not allowed passes without these headers, and its preflight
//! request is answered without them: the browser refuses both to the page and says why. A status
//! such as 403 would not make it safer, and would say less.
//!
//! Nothing depends on earlier requests, so each worker has an instance.

mod origins;

use waypost_sdk::{
    About, Call, Describe, Hook, OnRequest, Schema, Settings, SettingsError, Sharing, Verdict,
    headers,
};

use origins::Origins;

/// The headers that tell the browser what a page may see.
const OF_ANSWERS: [&str; 3] = [
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Expose-Headers",
];

/// The most bytes of a requested method or list of headers that are repeated to the client.
const LONGEST_ECHO: usize = 4096;

/// Cross-origin resource sharing.
pub struct Cors {
    origins: Origins,
    credentials: bool,
    expose: Option<String>,
    methods: Allowed,
    headers: Allowed,
    max_age: Option<String>,
    private_network: bool,
    /// What the answer to a preflight request depends on.
    preflight_vary: String,
}

/// What a preflight request is told of methods or headers.
enum Allowed {
    These(String),
    /// `*`: what was asked for. (The `*` of the standard means less: with credentials nothing, and
    /// of headers never `Authorization`.)
    Any,
}

impl Hook for Cors {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let credentials = settings.flag("credentials")?;
        let origins = Origins::configure(&mut settings, credentials)?;
        let methods = Allowed::configure(&mut settings, "methods", "GET, HEAD, POST")?;
        let headers = Allowed::configure(&mut settings, "headers", "")?;
        let expose = list(&mut settings, "expose")?.filter(|names| !names.is_empty());
        if expose.as_deref() == Some("*") && credentials {
            let message = "with `credentials` the `*` means nothing to browsers: name the headers";
            return Err(settings.error("expose", message));
        }
        let max_age = settings.duration("max_age")?;
        let private_network = settings.flag("private_network")?;
        settings.finish()?;
        let mut vary = vec![
            "Access-Control-Request-Method",
            "Access-Control-Request-Headers",
        ];
        if !origins.is_any() {
            vary.insert(0, "Origin");
        }
        if private_network {
            vary.push("Access-Control-Request-Private-Network");
        }
        Ok(Cors {
            origins,
            credentials,
            expose,
            methods,
            headers,
            max_age: max_age.map(|duration| duration.as_secs().to_string()),
            private_network,
            preflight_vary: vary.join(", "),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl Allowed {
    fn configure(
        settings: &mut Settings,
        key: &'static str,
        default: &str,
    ) -> Result<Self, SettingsError> {
        Ok(match list(settings, key)?.as_deref() {
            None => Allowed::These(default.to_owned()),
            Some("*") => Allowed::Any,
            Some(names) => Allowed::These(names.to_owned()),
        })
    }
}

/// Methods or headers' names, as a header lists them. `None` where the key is missing.
fn list(settings: &mut Settings, key: &'static str) -> Result<Option<String>, SettingsError> {
    let names = settings.texts(key)?;
    if let Some(wrong) = names.iter().find(|name| !headers::is_name(name)) {
        let message =
            format!("`{wrong}` cannot be a method or a header's name; several are a list of texts");
        return Err(settings.error(key, &message));
    }
    if names.len() > 1 && names.iter().any(|name| name == "*") {
        return Err(settings.error(key, "`*` stands for all: leave the others out"));
    }
    Ok((!names.is_empty()).then(|| names.join(", ")))
}

impl OnRequest for Cors {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let Some(origin) = call.request().header("origin") else {
            // A cache may give this answer to a page of any origin (Fetch, "CORS protocol and HTTP
            // caches"): so it is that of all pages, or is told apart from theirs.
            match self.origins.is_any() {
                true => self.share_answer(call, Some(b"*")),
                false => {
                    call.changes().add_response_header("Vary", "Origin");
                }
            }
            return Verdict::Proceed;
        };
        let is_allowed = self.origins.allow(&origin);
        let origin = is_allowed.then_some(&*origin);
        if let Some(method) = preflighted_method(call) {
            self.answer_preflight(call, origin, &method);
            return Verdict::Answer;
        }
        self.share_answer(call, origin);
        Verdict::Proceed
    }
}

/// The method that a preflight request asks about; `None` if it is no such request.
fn preflighted_method(call: &Call) -> Option<Vec<u8>> {
    let request = call.request();
    if request.method() != "OPTIONS" {
        return None;
    }
    request.header("access-control-request-method")
}

impl Cors {
    /// Sets what the answer tells the browser, whichever answer it will be; what a server says
    /// itself goes.
    fn share_answer(&self, call: &Call, origin: Option<&[u8]>) {
        let changes = call.changes();
        if !self.origins.is_any() {
            changes.add_response_header("Vary", "Origin");
        }
        let Some(origin) = origin else {
            for name in OF_ANSWERS {
                changes.remove_response_header(name);
            }
            return;
        };
        self.set_origin(call, origin);
        match &self.expose {
            Some(names) => changes.set_response_header("Access-Control-Expose-Headers", names),
            None => changes.remove_response_header("Access-Control-Expose-Headers"),
        };
    }

    fn set_origin(&self, call: &Call, origin: &[u8]) {
        let changes = call.changes();
        let origin = if self.origins.is_any() { b"*" } else { origin };
        changes.set_response_header("Access-Control-Allow-Origin", origin);
        match self.credentials {
            true => changes.set_response_header("Access-Control-Allow-Credentials", "true"),
            false => changes.remove_response_header("Access-Control-Allow-Credentials"),
        };
    }

    fn answer_preflight(&self, call: &Call, origin: Option<&[u8]>, method: &[u8]) {
        let (request, changes) = (call.request(), call.changes());
        changes.answer(204, "");
        changes.set_response_header("Vary", &self.preflight_vary);
        let Some(origin) = origin else {
            return;
        };
        self.set_origin(call, origin);
        match &self.methods {
            Allowed::These(methods) => {
                changes.set_response_header("Access-Control-Allow-Methods", methods);
            }
            Allowed::Any if headers::is_name(method) && method.len() <= LONGEST_ECHO => {
                changes.set_response_header("Access-Control-Allow-Methods", method);
            }
            Allowed::Any => {}
        }
        match &self.headers {
            Allowed::These(headers) if headers.is_empty() => {}
            Allowed::These(headers) => {
                changes.set_response_header("Access-Control-Allow-Headers", headers);
            }
            Allowed::Any => {
                let asked = request.header("access-control-request-headers");
                if let Some(asked) = asked.filter(|asked| is_list(asked)) {
                    changes.set_response_header("Access-Control-Allow-Headers", asked);
                }
            }
        }
        if let Some(seconds) = &self.max_age {
            changes.set_response_header("Access-Control-Max-Age", seconds);
        }
        let asks = || request.header("access-control-request-private-network");
        if self.private_network && asks().as_deref() == Some(b"true") {
            changes.set_response_header("Access-Control-Allow-Private-Network", "true");
        }
    }
}

/// A list of tokens, as headers have them.
fn is_list(text: &[u8]) -> bool {
    let mut names = text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    text.len() <= LONGEST_ECHO && names.all(headers::is_name)
}

impl Describe for Cors {
    fn describe() -> About {
        About::new("cross-origin resource sharing: preflight requests answered, headers set")
            .settings(
                Schema::new()
                    .flag("credentials", "pages may send cookies and the like")
                    .texts("origins", "origins whose pages may read answers")
                    .required()
                    .texts("methods", "methods that pages may use")
                    .texts("headers", "headers that pages may send")
                    .texts("expose", "headers that pages may read")
                    .duration("max_age", "how long browsers remember a preflight request")
                    .flag(
                        "private_network",
                        "pages of public networks may ask as well",
                    ),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(Cors, on_request, describe);

#[cfg(test)]
mod tests;

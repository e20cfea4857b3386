//! `mirror`: sends copies of requests to another upstream, and throws away what is answered (nginx:
//! `ngx_http_mirror_module`).
//!
//! A copy has the method, the target and the headers of the request, and its body where `body_limit`
//! says so: it is read as a whole then, before the request goes on. Nothing waits for a copy, and
//! nothing that becomes of it changes what becomes of the request.

use waypost_sdk::http::Request;
use waypost_sdk::log::{self, Level};
use waypost_sdk::metrics::Counter;
use waypost_sdk::{
    About, Beyond, Body, Bound, Call, Describe, Hook, Manner, OnRequest, OnRequestBody, Schema,
    Settings, SettingsError, Sharing, Template, Verdict, headers,
};

/// Headers of a request that are about a body, where a copy has none.
const OF_BODY: [&str; 3] = ["content-length", "content-type", "content-encoding"];

/// Sends copies.
pub struct Mirror {
    upstream: String,
    /// None for the request's own.
    path: Option<Template>,
    /// Of all requests, in millionths.
    share: u64,
    /// All where none are named.
    methods: Vec<String>,
    set_headers: Vec<(String, Template)>,
    timeout: Option<std::time::Duration>,
    /// Of bodies that are copied; none where none are.
    body_limit: Option<u32>,
    sent: Counter,
    refused: Counter,
    /// By what the requests say of their length: nothing is told of a body that goes by.
    too_large: Counter,
}

const ALL: u64 = 1_000_000;

impl Hook for Mirror {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let upstream = settings.upstream("upstream")?;
        let upstream = upstream.ok_or_else(|| settings.missing("upstream"))?;
        let path = settings.text("path")?;
        if let Some(path) = &path
            && !path.starts_with(['/', '$'])
        {
            let message = format!("`{path}` must begin with `/`: the server is that of `upstream`");
            return Err(settings.error("path", &message));
        }
        let path = path.map(|path| settings.as_template("path", &path));
        let path = path.transpose()?;
        let set_headers = settings.templates_by_name("set_headers")?;
        for (name, _) in &set_headers {
            if !headers::is_name(name) || headers::is_framing(name) {
                let message = format!("`{name}` is no header that can be set");
                return Err(settings.error(&format!("set_headers.{name}"), &message));
            }
        }
        let methods = settings.texts("methods")?;
        let is_method = |method: &String| method.bytes().all(|byte| byte.is_ascii_uppercase());
        if let Some(other) = methods.iter().find(|method| !is_method(method)) {
            let message = format!("`{other}` is no method of a request, such as `GET`");
            return Err(settings.error("methods", &message));
        }
        let mirror = Mirror {
            upstream,
            path,
            share: share(&mut settings)?,
            methods,
            set_headers,
            timeout: settings.duration("timeout")?,
            body_limit: settings.body_limit(
                "body_limit",
                "a body that is copied has from 1 byte to 8m: without `body_limit` copies have none",
            )?,
            sent: Counter::named("sent"),
            refused: Counter::named("refused"),
            too_large: Counter::named("too_large"),
        };
        settings.finish()?;
        Ok(mirror)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

/// Reads `share`.
fn share(settings: &mut Settings) -> Result<u64, SettingsError> {
    let Some(text) = settings.text("share")? else {
        return Ok(ALL);
    };
    let percent = text
        .strip_suffix('%')
        .and_then(|percent| percent.trim().parse::<f64>().ok());
    match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
        // Within bounds, and never negative.
        Some(percent) => Ok((percent / 100.0 * ALL as f64).round() as u64),
        None => Err(settings.error("share", &format!("`{text}` must be a share such as \"5%\""))),
    }
}

impl OnRequest for Mirror {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let is_drawn = self.share == ALL || call.random % ALL < self.share;
        if !is_drawn || !self.is_for(&call.request().method()) {
            return Verdict::Proceed;
        }
        match self.body_limit.filter(|_| call.request().may_have_body()) {
            Some(at_most) if length(call).is_some_and(|length| length > at_most.into()) => {
                self.too_large.add(1);
                let message = "no copy was sent: the body is larger than `body_limit`";
                log::exchange(Level::Debug, message);
            }
            Some(at_most) => {
                let beyond = Beyond::Pass;
                let wanted = Manner::Whole(Bound { at_most, beyond });
                call.bodies().want_request(wanted);
            }
            None => self.send(self.copy(call, None)),
        }
        Verdict::Proceed
    }
}

/// Of the body of a request, if it says that.
fn length(call: &Call) -> Option<u64> {
    let length = call.request().header("content-length")?;
    std::str::from_utf8(&length).ok()?.trim().parse().ok()
}

impl OnRequestBody for Mirror {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        self.send(self.copy(call, Some(body.bytes)));
        Verdict::Proceed
    }
}

impl Mirror {
    fn is_for(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|wanted| wanted == method)
    }

    fn send(&self, copy: Request) {
        match copy.send_and_leave() {
            Ok(()) => self.sent.add(1),
            Err(error) => {
                self.refused.add(1);
                log::exchange(Level::Warn, &format!("no copy was sent: {error}"));
            }
        }
    }

    fn copy(&self, call: &Call, body: Option<Vec<u8>>) -> Request {
        let request = call.request();
        let target = match &self.path {
            Some(path) => String::from_utf8_lossy(&path.render(request)).into_owned(),
            None => match request.query() {
                query if query.is_empty() => request.path(),
                query => format!("{}?{query}", request.path()),
            },
        };
        let mut copy = Request::new(&request.method(), &self.upstream, &target);
        copy.timeout = self.timeout;
        for (name, value) in request.headers_to_pass() {
            let is = |other: &str| other.eq_ignore_ascii_case(&name);
            let is_replaced = self.set_headers.iter().any(|(set, _)| is(set));
            let is_left_out = body.is_none() && OF_BODY.iter().any(|of_body| is(of_body));
            if !is_replaced && !is_left_out {
                copy = copy.header(&name, value);
            }
        }
        for (name, value) in &self.set_headers {
            let value = value.render(request);
            // As in nginx, one without a value is not sent.
            if !value.is_empty() {
                copy = copy.header(name, value);
            }
        }
        copy.body = body.unwrap_or_default();
        copy
    }
}

impl Describe for Mirror {
    fn describe() -> About {
        About::new("copies of requests for another upstream")
            .settings(
                Schema::new()
                    .text("upstream", "who gets them")
                    .required()
                    .template("path", "what it is asked for, the request's own without it")
                    .text("share", "of all requests, such as \"5%\"")
                    .texts("methods", "requests with other ones are not copied")
                    .texts_by_name("set_headers", "headers that are set, with variables")
                    .duration("timeout", "for all of it, up to the answer")
                    .size("body_limit", "of bodies that are copied, none without it"),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(Mirror, on_request, on_request_body, describe);

#[cfg(test)]
mod tests;

//! `forward_auth`: asks another server about each request, and lets it in if that server does
//! (nginx: `ngx_http_auth_request_module`; Traefik: ForwardAuth; Caddy: `forward_auth`).
//!
//! The server gets the request's headers, and where the request was meant to go in
//! `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`; the body with `body_limit` alone. A
//! status of 2xx lets it in. 401 and 403 turn it away, and what else is answered is an error, as in
//! nginx; or whatever is not 2xx is what the client gets, as in Traefik, so that the server can send it
//! to a page to log in.
//!
//! What a server says of the user goes into headers that the client cannot set: they are taken from
//! every request, whether or not the answer has them.
//!
//! With a `cache`, a verdict holds for further requests for a while, without a question.

mod cached; // verdicts that are kept
mod written; // the settings

use cached::{Cache, Kept};
use waypost_sdk::http::{Error, Request, Response};
use waypost_sdk::log::{self, Level};
use waypost_sdk::{
    About, Beyond, Body, Bound, Call, Describe, Hook, Manner, OnRequest, OnRequestBody, Schema,
    Settings, SettingsError, Sharing, Template, Verdict,
};

/// Bytes of an answer that a client gets: as many as a hook may answer.
const ANSWER: u32 = 64 << 10;

/// Headers of a request that are about its body, which the server that is asked has not.
const OF_BODY: [&str; 3] = ["content-length", "content-type", "content-encoding"];

/// Headers of a request that are not the server's that is asked: `Host` names another server, and the
/// others are about what is known of the resource.
const LEFT_OUT: [&str; 6] = [
    "host",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-range",
];

/// Headers of an answer that count, whatever is named.
const ALWAYS_WANTED: [&str; 2] = ["cache-control", "www-authenticate"];

/// Headers of an answer that a client does not get with it.
const NOT_PASSED: [&str; 8] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "server",
    "transfer-encoding",
    "upgrade",
];

/// Asks whether a request may pass.
pub struct ForwardAuth {
    upstream: String,
    path: Template,
    method: String,
    /// Those of the client that are sent; all but those [left out](LEFT_OUT) where none are named.
    request_headers: Vec<String>,
    set_headers: Vec<(String, Template)>,
    /// Of a 2xx: to the request, and to the answer that the client gets.
    copy_to_request: Vec<String>,
    copy_to_response: Vec<String>,
    /// Attributes and the headers of a 2xx that they have their values of.
    attributes: Vec<(String, String)>,
    passes_refusals: bool,
    /// Headers of an answer that are needed, where the client does not get it.
    wanted_headers: Vec<String>,
    error_status: u16,
    timeout: Option<std::time::Duration>,
    cache: Option<Cache>,
    /// Of bodies that are sent; none where none are.
    body_limit: Option<u32>,
}

impl Hook for ForwardAuth {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let upstream = settings.upstream("upstream")?;
        let upstream = upstream.ok_or_else(|| settings.missing("upstream"))?;
        let path = written::path(&mut settings)?;
        let method = settings.text("method")?.unwrap_or_else(|| "GET".to_owned());
        let is_capitals = method.bytes().all(|byte| byte.is_ascii_uppercase());
        if method.is_empty() || !is_capitals || method == "CONNECT" || method == "TRACE" {
            let message = format!("`{method}` is no method that can be asked with, such as `GET`");
            return Err(settings.error("method", &message));
        }
        let refusals = [("status", false), ("answer", true)];
        let passes_refusals = settings.choice("refusal", &refusals)?.unwrap_or(false);
        let error_status = settings.number_within("error_status", 500..=599)?;
        let copy_to_request = written::header_names(&mut settings, "copy_to_request")?;
        let copy_to_response = written::header_names(&mut settings, "copy_to_response")?;
        let attributes = written::attributes(&mut settings)?;
        let named = copy_to_request.iter().chain(&copy_to_response);
        let named = named
            .chain(attributes.iter().map(|(_, name)| name))
            .cloned();
        let mut hook = ForwardAuth {
            upstream,
            path,
            method,
            request_headers: written::header_names(&mut settings, "request_headers")?,
            set_headers: written::set_headers(&mut settings)?,
            wanted_headers: named.chain(ALWAYS_WANTED.map(str::to_owned)).collect(),
            copy_to_request,
            copy_to_response,
            attributes,
            passes_refusals,
            error_status: error_status
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(500),
            timeout: settings.duration("timeout")?,
            cache: Cache::read(&mut settings, passes_refusals)?,
            body_limit: settings.body_limit(
                "body_limit",
                "a body that is sent has from 1 byte to 8m: without `body_limit` none is",
            )?,
        };
        if hook.body_limit.is_some() {
            if matches!(&*hook.method, "GET" | "HEAD") {
                let message = "a body goes with another `method`, such as `POST`";
                return Err(settings.error("body_limit", message));
            }
            if hook.cache.is_some() {
                let message =
                    "a verdict about a body is not kept: leave out `cache` or `body_limit`";
                return Err(settings.error("cache", message));
            }
        }
        let asks = hook.asks();
        if let Some(cache) = &mut hook.cache {
            cache.of_hook(&asks);
        }
        settings.finish()?;
        Ok(hook)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl OnRequest for ForwardAuth {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let cache = self.cache.as_ref();
        let place = cache.and_then(|cache| Some((cache, cache.key(&call.request())?)));
        let known = place.as_ref().and_then(|(cache, key)| cache.get(key));
        if let Some(verdict) = known {
            return self.decide(call, &verdict);
        }
        if let Some(at_most) = self.body_limit.filter(|_| call.request().may_have_body()) {
            let beyond = Beyond::Refuse;
            let wanted = Manner::Whole(Bound { at_most, beyond });
            if call.bodies().want_request(wanted) {
                // Hooks behind this one are asked first.
                for name in &self.copy_to_request {
                    call.changes().remove_request_header(name);
                }
                return Verdict::Proceed;
            }
        }
        self.ask(call, None, place)
    }
}

impl OnRequestBody for ForwardAuth {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        self.ask(call, Some(body.bytes), None)
    }
}

/// Whether a status lets a request in.
fn is_good(status: u16) -> bool {
    (200..300).contains(&status)
}

impl ForwardAuth {
    /// Asks, and keeps the verdict at a place, if there is one.
    fn ask(&self, call: &Call, body: Option<Vec<u8>>, place: Option<(&Cache, Vec<u8>)>) -> Verdict {
        match self.question(call, body).send() {
            Ok(answer) if self.passes_refusals && !is_good(answer.status()) => {
                self.pass_refusal(call, &answer)
            }
            Ok(answer) => {
                let verdict = self.verdict(&answer);
                if let Some((cache, key)) = place.filter(|_| self.may_be_kept(&answer)) {
                    let cache_control: Vec<&[u8]> = answer.header_all("cache-control").collect();
                    cache.keep(&key, &verdict, &cache_control);
                }
                self.decide(call, &verdict)
            }
            Err(error) => self.fail(call, &error),
        }
    }

    /// What the server is asked.
    fn question(&self, call: &Call, body: Option<Vec<u8>>) -> Request {
        let request = call.request();
        let target = self.path.render(request);
        let target = String::from_utf8_lossy(&target);
        let mut question = Request::new(&self.method, &self.upstream, &target);
        question.timeout = self.timeout;
        if self.passes_refusals {
            question.wanted_body = ANSWER;
        } else {
            question.wanted_headers = Some(self.wanted_headers.clone());
        }
        for (name, value) in request.headers_to_pass() {
            if self.is_sent(&name, body.is_some()) {
                question = question.header(&name, value);
            }
        }
        let is_set = |name: &str| {
            let mut set = self.set_headers.iter();
            set.any(|(ours, _)| ours.eq_ignore_ascii_case(name))
        };
        for (name, value) in forwarded(call)
            .into_iter()
            .filter(|(name, _)| !is_set(name))
        {
            question = question.header(name, value);
        }
        for (name, value) in &self.set_headers {
            let value = value.render(request);
            // As in nginx, one without a value is not sent.
            if !value.is_empty() {
                question = question.header(name, value);
            }
        }
        question.body = body.unwrap_or_default();
        question
    }

    /// Whether a header of the client's is sent. What is said here of the request, and of the user,
    /// is never the client's to say.
    fn is_sent(&self, name: &str, with_body: bool) -> bool {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        let is_ours = FORWARDED.iter().chain(&OF_PROXIES).any(|ours| is(ours))
            || self.set_headers.iter().any(|(ours, _)| is(ours))
            || self.copy_to_request.iter().any(|ours| is(ours));
        let is_wanted = match self.request_headers.as_slice() {
            [] if OF_BODY.iter().any(|of_body| is(of_body)) => with_body,
            [] => !LEFT_OUT.iter().any(|left_out| is(left_out)),
            wanted => wanted.iter().any(|wanted| is(wanted)),
        };
        is_wanted && !is_ours
    }

    /// What is asked, and what of an answer counts: hooks that say the same may share verdicts.
    fn asks(&self) -> String {
        format!(
            "{:?}",
            (
                (&self.upstream, &self.path, &self.method),
                (&self.request_headers, &self.set_headers),
                (
                    &self.copy_to_request,
                    &self.copy_to_response,
                    &self.attributes
                ),
            )
        )
    }

    /// The headers whose values belong to a verdict with this status, in the order in which
    /// [`decide`](ForwardAuth::decide) has them.
    fn headers_of(&self, status: u16) -> Vec<&str> {
        if !is_good(status) {
            return vec!["www-authenticate"];
        }
        let copied = self.copy_to_request.iter().chain(&self.copy_to_response);
        let of_attributes = self.attributes.iter().map(|(_, header)| header);
        copied.chain(of_attributes).map(String::as_str).collect()
    }

    fn verdict(&self, answer: &Response) -> Kept {
        let status = answer.status();
        let headers = self.headers_of(status).into_iter();
        let values = headers.map(|name| answer.header_all(name).map(<[u8]>::to_vec).collect());
        Kept {
            status,
            values: values.collect(),
        }
    }

    /// Whether other requests may have what an answer says: no cookie that is set for this one.
    fn may_be_kept(&self, answer: &Response) -> bool {
        let is_cookie = |name: &String| name.eq_ignore_ascii_case("set-cookie");
        !self.copy_to_response.iter().any(is_cookie) || answer.header("set-cookie").is_none()
    }

    fn decide(&self, call: &Call, verdict: &Kept) -> Verdict {
        match is_good(verdict.status) {
            true => self.let_in(call, &verdict.values),
            false => self.refuse(call, verdict),
        }
    }

    fn let_in(&self, call: &Call, values: &[Vec<Vec<u8>>]) -> Verdict {
        let changes = call.changes();
        let mut values = values.iter().map(Vec::as_slice);
        for name in &self.copy_to_request {
            changes.remove_request_header(name);
            for value in values.next().unwrap_or_default() {
                changes.add_request_header(name, value);
            }
        }
        for name in &self.copy_to_response {
            for value in values.next().unwrap_or_default() {
                changes.add_response_header(name, value);
            }
        }
        for (attribute, _) in &self.attributes {
            let value = values.next().and_then(<[_]>::first);
            changes.set_attribute(attribute, value.map(Vec::as_slice).unwrap_or_default());
        }
        Verdict::Proceed
    }

    /// As nginx does: 401 with what the client has to show, 403, and an error for all else.
    fn refuse(&self, call: &Call, verdict: &Kept) -> Verdict {
        let changes = call.changes();
        match verdict.status {
            401 => {
                for challenge in verdict.values.iter().flatten() {
                    changes.add_response_header("WWW-Authenticate", challenge);
                }
                changes.answer(401, "");
            }
            403 => _ = changes.answer(403, ""),
            status => {
                let message = format!("auth request unexpected status: {status}");
                log::exchange(Level::Error, &message);
                changes.answer(self.error_status, "");
            }
        }
        Verdict::Answer
    }

    /// The client gets what the server has answered.
    fn pass_refusal(&self, call: &Call, answer: &Response) -> Verdict {
        let changes = call.changes();
        let status = answer.status();
        for (name, value) in answer.headers() {
            let is = |other: &&str| other.eq_ignore_ascii_case(name);
            if !NOT_PASSED.iter().any(is) {
                changes.add_response_header(name, value);
            }
        }
        match answer.body() {
            Ok(body) if changes.answer(status, body) => {}
            Ok(_) => {
                let error = Error(format!("a client cannot be answered with {status}"));
                return self.fail(call, &error);
            }
            Err(error) => return self.fail(call, &error),
        }
        Verdict::Answer
    }

    fn fail(&self, call: &Call, error: &Error) -> Verdict {
        let message = format!(
            "auth request to upstream `{}` failed: {error}",
            self.upstream
        );
        log::exchange(Level::Error, &message);
        call.changes().answer(self.error_status, "");
        Verdict::Answer
    }
}

const FORWARDED: [&str; 5] = [
    "X-Forwarded-Method",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Uri",
    "X-Forwarded-For",
];

/// What proxies say of a client besides. A server that believes it must not hear it from the client.
const OF_PROXIES: [&str; 6] = [
    "Forwarded",
    "X-Real-IP",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
];

/// Where a request was meant to go, and whose it is.
fn forwarded(call: &Call) -> [(&'static str, Vec<u8>); 5] {
    let request = call.request();
    let variable = |name| request.variable(name).unwrap_or_default();
    [
        (FORWARDED[0], request.method().into_bytes()),
        (FORWARDED[1], request.scheme().into_bytes()),
        (FORWARDED[2], request.authority().into_bytes()),
        (FORWARDED[3], variable("request_uri")),
        (FORWARDED[4], variable("remote_addr")),
    ]
}

impl Describe for ForwardAuth {
    fn describe() -> About {
        About::new("asks another server whether a request may pass")
            .settings(
                Schema::new()
                    .text("upstream", "who is asked")
                    .required()
                    .template("path", "what is asked for, `/` without it")
                    .text("method", "asked with, `GET` without it")
                    .texts(
                        "request_headers",
                        "headers of the client that are sent; all without it",
                    )
                    .texts_by_name(
                        "set_headers",
                        "headers that are sent besides, with variables",
                    )
                    .texts("copy_to_request", "headers of a 2xx for the server behind")
                    .texts("copy_to_response", "headers of a 2xx for the client")
                    .texts_by_name(
                        "attributes",
                        "attributes with the value of a header of a 2xx",
                    )
                    .choice(
                        "refusal",
                        "what the client gets that is turned away: a status, or the answer",
                        &["status", "answer"],
                    )
                    .number("error_status", "where there is no verdict", 500..=599)
                    .duration("timeout", "for all of it, up to the answer")
                    .size("body_limit", "of bodies that are sent, none without it")
                    .table(
                        "cache",
                        "verdicts that hold for further requests",
                        Schema::new()
                            .texts("key", "what a verdict depends on, with variables")
                            .required()
                            .duration("time", "how long one holds, 10 s without it")
                            .texts("statuses", "those that are kept, all of 2xx without it"),
                    ),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(ForwardAuth, on_request, on_request_body, describe);

#[cfg(test)]
mod tests;

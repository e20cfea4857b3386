//! `forward_auth`: asks another server about each request, and lets it in if that server does
//! (nginx: `ngx_http_auth_request_module`; Traefik: ForwardAuth; Caddy: `forward_auth`).
//!
//! The server gets the request's headers, and where the request was meant to go in
//! `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`; never the body. A status of 2xx lets
//! it in. 401 and 403 turn it away, and what else is answered is an error, as in nginx; or whatever is
//! not 2xx is what the client gets, as in Traefik, so that the server can send it to a page to log
//! in.
//!
//! What a server says of the user goes into headers that the client cannot set: they are taken from
//! every request, whether or not the answer has them.

mod written;

use waypost_sdk::http::{Error, Request, Response};
use waypost_sdk::log::{self, Level};
use waypost_sdk::{
    About, Call, Describe, Hook, OnRequest, Schema, Settings, SettingsError, Sharing, Template,
    Verdict,
};

/// Bytes of an answer that a client gets: as many as a hook may answer.
const ANSWER: u32 = 64 << 10;

/// Headers of a request that are not the server's that is asked. `Host` names another server, and
/// the others are about a body, or about what is known of the resource.
const LEFT_OUT: [&str; 9] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-range",
];

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
}

impl Hook for ForwardAuth {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let upstream = settings.upstream("upstream")?;
        let upstream = upstream.ok_or_else(|| settings.missing("upstream"))?;
        let path = written::path(&mut settings)?;
        let method = settings.text("method")?.unwrap_or_else(|| "GET".to_owned());
        if !waypost_sdk::headers::is_name(&method) || method == "CONNECT" || method == "TRACE" {
            let message = format!("`{method}` is no method that can be asked with");
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
        let hook = ForwardAuth {
            upstream,
            path,
            method,
            request_headers: written::header_names(&mut settings, "request_headers")?,
            set_headers: written::set_headers(&mut settings)?,
            wanted_headers: named.chain(["www-authenticate".to_owned()]).collect(),
            copy_to_request,
            copy_to_response,
            attributes,
            passes_refusals,
            error_status: error_status
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(500),
            timeout: settings.duration("timeout")?,
        };
        settings.finish()?;
        Ok(hook)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl OnRequest for ForwardAuth {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let answered = self.question(call).send();
        match answered {
            Ok(answer) if (200..300).contains(&answer.status()) => self.let_in(call, &answer),
            Ok(answer) if self.passes_refusals => self.pass_refusal(call, &answer),
            Ok(answer) => self.refuse(call, &answer),
            Err(error) => self.fail(call, &error),
        }
    }
}

impl ForwardAuth {
    /// What the server is asked.
    fn question(&self, call: &Call) -> Request {
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
        for (name, value) in request.headers() {
            if self.is_sent(&name) {
                question = question.header(&name, value);
            }
        }
        for (name, value) in forwarded(call) {
            question = question.header(name, value);
        }
        for (name, value) in &self.set_headers {
            question = question.header(name, value.render(request));
        }
        question
    }

    /// Whether a header of the client's is sent. What is said here of the request, and of the user,
    /// is never the client's to say.
    fn is_sent(&self, name: &str) -> bool {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        let is_ours = FORWARDED.iter().any(|ours| is(ours))
            || self.set_headers.iter().any(|(ours, _)| is(ours))
            || self.copy_to_request.iter().any(|ours| is(ours));
        let is_wanted = match self.request_headers.as_slice() {
            [] => !LEFT_OUT.iter().any(|left_out| is(left_out)),
            wanted => wanted.iter().any(|wanted| is(wanted)),
        };
        is_wanted && !is_ours
    }

    fn let_in(&self, call: &Call, answer: &Response) -> Verdict {
        let changes = call.changes();
        for name in &self.copy_to_request {
            changes.remove_request_header(name);
            for value in answer.header_all(name) {
                changes.add_request_header(name, value);
            }
        }
        for name in &self.copy_to_response {
            for value in answer.header_all(name) {
                changes.add_response_header(name, value);
            }
        }
        for (attribute, name) in &self.attributes {
            changes.set_attribute(attribute, answer.header(name).unwrap_or_default());
        }
        Verdict::Proceed
    }

    /// As nginx does: 401 with what the client has to show, 403, and an error for all else.
    fn refuse(&self, call: &Call, answer: &Response) -> Verdict {
        let changes = call.changes();
        match answer.status() {
            401 => {
                for challenge in answer.header_all("www-authenticate") {
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
            Ok(body) => _ = changes.answer(status, body),
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
                    .duration("timeout", "for the connection, and for the answer"),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(ForwardAuth, on_request, describe);

#[cfg(test)]
mod tests;

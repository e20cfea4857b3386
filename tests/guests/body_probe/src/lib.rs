//! A hook that does with bodies what its settings tell it, or the header `X-NAME-REQUEST` and
//! `X-NAME-RESPONSE` of the request in their place: for the specs of bodies.
//!
//! Each is `MANNER | COMMAND | ...`, where a manner is `none`, `whole N refuse`, `whole N pass`,
//! `chunks` or `watch`, with `decoded` behind it for an answer that is wanted as text.

use std::collections::HashMap;
use std::hint::black_box;

use waypost_sdk::{
    Beyond, Body, Bound, Call, Form, Hook, Manner, OnCheck, OnEnd, OnRequest, OnRequestBody,
    OnResponse, OnResponseBody, Settings, SettingsError, Sharing, Summary, Verdict, log,
};

pub struct Probe {
    name: String,
    request: String,
    response: String,
    says: bool,
    sharing: Sharing,
    /// Bodies under way.
    bodies: HashMap<(u64, Side), UnderWay>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Request,
    Response,
}

#[derive(Default)]
struct UnderWay {
    calls: u64,
    held: Vec<u8>,
}

impl Hook for Probe {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let probe = Probe {
            name: settings.text("name")?.unwrap_or_else(|| "probe".to_owned()),
            request: settings.text("request")?.unwrap_or_default(),
            response: settings.text("response")?.unwrap_or_default(),
            says: settings.flag("says")?,
            sharing: match settings.text("sharing")?.as_deref() {
                Some("process") => Sharing::PerProcess,
                _ => Sharing::PerWorker,
            },
            bodies: HashMap::new(),
        };
        settings.finish()?;
        Ok(probe)
    }

    fn sharing(&self) -> Sharing {
        self.sharing.clone()
    }
}

impl Probe {
    /// The manner that is wanted, and the commands for each call.
    fn told(&self, call: &Call, side: Side) -> (String, Vec<String>) {
        let (kind, own) = match side {
            Side::Request => ("request", &self.request),
            Side::Response => ("response", &self.response),
        };
        let header = call.request().header(&format!("x-{}-{kind}", self.name));
        let told = match header {
            Some(header) => String::from_utf8_lossy(&header).into_owned(),
            None => own.clone(),
        };
        let mut parts = told.split(" | ").map(str::to_owned);
        (parts.next().unwrap_or_default(), parts.collect())
    }

    fn say(&self, what: &str) {
        if self.says {
            log::info(&format!("{} {what}", self.name));
        }
    }

    fn obey(&mut self, call: &Call, side: Side, body: Body) -> Verdict {
        let Body { mut bytes, last } = body;
        let kind = match side {
            Side::Request => "request",
            Side::Response => "response",
        };
        let (_, commands) = self.told(call, side);
        let mut under_way = self
            .bodies
            .remove(&(call.exchange, side))
            .unwrap_or_default();
        under_way.calls += 1;
        let calls = under_way.calls;
        self.say(&format!(
            "sees {} of a {kind}, call {calls}, last {last}",
            bytes.len()
        ));
        let (mut verdict, mut is_other) = (Verdict::Proceed, false);
        let (changes, bodies) = (call.changes(), call.bodies());
        for command in &commands {
            let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
            let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let number: u64 = first.parse().unwrap_or_default();
            let instead = match verb {
                "upper" => Some(bytes.to_ascii_uppercase()),
                "drop" => Some(Vec::new()),
                "size" => Some(vec![b'x'; number as usize]),
                // More than it may, whatever it was given.
                "grow" => Some(vec![b'x'; (64 << 10) + 33 * bytes.len() + 1]),
                "tag" if last => Some([&bytes, rest.as_bytes()].concat()),
                "tag" => None,
                "hold" => {
                    under_way.held.extend_from_slice(&bytes);
                    Some(match last {
                        true => std::mem::take(&mut under_way.held),
                        false => Vec::new(),
                    })
                }
                "trap" if number == 0 || number == calls => panic!("as it is told"),
                "trap" => None,
                "trap_last" if last => panic!("as it is told"),
                "trap_last" => None,
                "loop" => {
                    while black_box(true) {}
                    None
                }
                "answer" if number >= 1000 && number - 1000 != calls => None,
                "answer" => {
                    let status = if number >= 1000 { 418 } else { number as u16 };
                    changes.answer(status, text);
                    verdict = Verdict::Answer;
                    None
                }
                "wait" => {
                    call.checks().verify_password(first, text);
                    verdict = Verdict::Wait;
                    None
                }
                "reroute" => {
                    verdict = Verdict::Reroute;
                    None
                }
                "route" => {
                    changes.take_route(rest);
                    verdict = Verdict::Reroute;
                    None
                }
                // The first letter of the body names the server that it goes to.
                "by_letter" => {
                    changes.take_upstream(match bytes.first() {
                        Some(b'a') => "a",
                        _ => "b",
                    });
                    None
                }
                "set" => {
                    changes.set_request_header(first, text);
                    None
                }
                "path" => {
                    changes.set_path(rest);
                    None
                }
                "answer_set" => {
                    changes.set_response_header(first, text);
                    None
                }
                // What there is of a body, told to the client.
                "tell" => {
                    let trailers = bodies.trailers();
                    let trailers: Vec<String> = trailers
                        .iter()
                        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
                        .collect();
                    let told = format!("{} {last} {}", bytes.len(), trailers.join(","));
                    changes.set_response_header(&format!("X-{}-{kind}", self.name), told.trim());
                    None
                }
                _ => panic!("what is {verb}?"),
            };
            if let Some(instead) = instead {
                (bytes, is_other) = (instead, true);
            }
        }
        if is_other {
            bodies.set(&bytes);
        }
        if !last {
            self.bodies.insert((call.exchange, side), under_way);
        }
        verdict
    }
}

/// What a manner's words mean; none for none.
fn manner(text: &str) -> Option<Manner> {
    let mut words = text.split(' ');
    match words.next()? {
        "chunks" => Some(Manner::Chunks),
        "watch" => Some(Manner::Watch),
        "whole" => Some(Manner::Whole(Bound {
            at_most: words.next()?.parse().ok()?,
            beyond: match words.next()? {
                "pass" => Beyond::Pass,
                _ => Beyond::Refuse,
            },
        })),
        _ => None,
    }
}

impl OnRequest for Probe {
    fn on_request(&mut self, call: &Call) -> Verdict {
        if let Some(manner) = manner(&self.told(call, Side::Request).0) {
            assert!(call.bodies().want_request(manner), "it is exported");
        }
        Verdict::Proceed
    }
}

impl OnCheck for Probe {
    fn on_check(&mut self, call: &Call, passed: bool) -> Verdict {
        call.bodies().set(format!("checked: {passed}"));
        Verdict::Proceed
    }
}

impl OnResponse for Probe {
    fn on_response(&mut self, call: &Call) {
        let (told, _) = self.told(call, Side::Response);
        let form = match told.ends_with("decoded") {
            true => Form::Decoded,
            false => Form::AsSent,
        };
        self.bodies.remove(&(call.exchange, Side::Response));
        if let Some(manner) = manner(&told) {
            assert!(call.bodies().want_response(manner, form), "it is exported");
        }
    }
}

impl OnRequestBody for Probe {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        self.obey(call, Side::Request, body)
    }
}

impl OnResponseBody for Probe {
    fn on_response_body(&mut self, call: &Call, body: Body) -> Verdict {
        self.obey(call, Side::Response, body)
    }
}

impl OnEnd for Probe {
    fn on_end(&mut self, call: &Call, summary: &Summary) {
        self.bodies.remove(&(call.exchange, Side::Request));
        self.bodies.remove(&(call.exchange, Side::Response));
        let how = match summary.complete {
            true => "whole",
            false => "cut",
        };
        self.say(&format!("ends {} {} {how}", call.exchange, summary.status));
    }
}

waypost_sdk::export_hook!(
    Probe,
    on_request,
    on_check,
    on_response,
    on_request_body,
    on_response_body,
    on_end
);

//! `request_id`: names each request, so that the log lines of all that have handled it can be found
//! by one id: a UUID of version 7 (RFC 9562), or a trace of W3C's Trace Context.
//!
//! What a client sends is taken only from peers that the settings trust, and only if it is sane:
//! ids end up in logs, and a client that chooses its own can pass for another one there. Nothing is
//! remembered, so each worker has an instance.

mod trace;

use waypost_sdk::{
    About, Call, Describe, Draws, Hook, Network, OnRequest, Schema, Settings, SettingsError,
    Sharing, Value, Verdict, clock, headers,
};

use trace::TraceParent;

/// The most bytes of an id that is taken from a client.
const LONGEST: usize = 128;

/// The attribute with the id.
const ATTRIBUTE: &str = "request_id";

/// An id for each request.
pub struct RequestId {
    format: Format,
    /// Of the answer, and of the request if `format` is `Uuid`.
    header: String,
    /// Peers whose ids are taken.
    trusted: Vec<Network>,
    response: bool,
}

#[derive(Clone, Copy)]
enum Format {
    Uuid,
    /// `sampled` is what new traces say of themselves.
    TraceParent {
        sampled: bool,
    },
}

impl Hook for RequestId {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let format = [("uuid", false), ("traceparent", true)];
        let is_trace = settings.choice("format", &format)?.unwrap_or(false);
        let sampled = settings.optional_flag("sampled")?;
        let format = match (is_trace, sampled) {
            (true, sampled) => Format::TraceParent {
                sampled: sampled.unwrap_or(true),
            },
            (false, None) => Format::Uuid,
            (false, Some(_)) => {
                let message = "`sampled` is for traces: it needs `format = \"traceparent\"`";
                return Err(settings.error("sampled", message));
            }
        };
        let header = settings.text("header")?;
        let header = header.unwrap_or_else(|| "X-Request-ID".to_owned());
        if !headers::is_name(&header) {
            let message = format!("`{header}` cannot be a header's name");
            return Err(settings.error("header", &message));
        }
        if headers::frames_or_routes(&header) {
            let message =
                format!("`{header}` frames a message or names its server: take another one");
            return Err(settings.error("header", &message));
        }
        let trusted = trusted(&mut settings)?;
        let response = settings.optional_flag("response")?.unwrap_or(true);
        settings.finish()?;
        Ok(RequestId {
            format,
            header,
            trusted,
            response,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

/// `trust = true`, or the networks of the peers that are trusted.
fn trusted(settings: &mut Settings) -> Result<Vec<Network>, SettingsError> {
    let wrong = "`trust` must be `true`, `false`, or a list of networks such as \"10.0.0.0/8\"";
    let texts = match settings.value("trust") {
        None | Some(Value::Bool(false)) => Vec::new(),
        Some(Value::Bool(true)) => vec![Value::from("all")],
        Some(Value::Array(texts)) => texts,
        Some(text @ Value::String(_)) => vec![text],
        Some(_) => return Err(settings.error("trust", wrong)),
    };
    let network = |text: Value| match text.as_str() {
        Some(text) => Network::parse(text).map_err(|why| settings.error("trust", &why)),
        None => Err(settings.error("trust", wrong)),
    };
    texts.into_iter().map(network).collect()
}

impl OnRequest for RequestId {
    fn on_request(&mut self, call: &Call) -> Verdict {
        match self.format {
            Format::Uuid => self.name_by_uuid(call),
            Format::TraceParent { sampled } => self.name_by_trace(call, sampled),
        }
        Verdict::Proceed
    }
}

impl RequestId {
    fn name_by_uuid(&self, call: &Call) {
        let changes = call.changes();
        if self.is_trusted(call)
            && let Some(id) = call.request().header(&self.header)
            && is_sane(&id)
        {
            // Set anew: further values of the same header would contradict it.
            changes.set_request_header(&self.header, &id);
            self.tell(call, &id);
            return;
        }
        let id = uuid(clock::wall_ms(), &mut call.draws());
        changes.set_request_header(&self.header, id);
        self.tell(call, &id);
    }

    fn name_by_trace(&self, call: &Call, sampled: bool) {
        let (changes, mut draws) = (call.changes(), call.draws());
        let received = match self.is_trusted(call) {
            true => match call.request().header_all("traceparent").as_slice() {
                [only] => TraceParent::parse(only),
                _ => None,
            },
            false => None,
        };
        let trace = match received {
            Some(trace) => trace.continued(&mut draws),
            None => {
                // It belongs to a trace that ends here (Trace Context, 3.3 and 4.3).
                changes.remove_request_header("tracestate");
                TraceParent::begin(sampled, &mut draws)
            }
        };
        changes.set_request_header("traceparent", trace.render());
        self.tell(call, trace.trace_id());
    }

    fn tell(&self, call: &Call, id: &[u8]) {
        if self.response {
            call.changes().set_response_header(&self.header, id);
        }
        call.changes().set_attribute(ATTRIBUTE, id);
    }

    /// The peer's word counts, not that of the client that it reports: it is the peer that has
    /// written the header, or passed it on.
    fn is_trusted(&self, call: &Call) -> bool {
        if self.trusted.is_empty() {
            return false;
        }
        let peer = call.connection().peer_address();
        self.trusted.iter().any(|network| network.contains(peer))
    }
}

/// A bounded number of visible ASCII characters: nothing that breaks a log line or a header.
fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds since 1970, then, beside
/// version and variant, 74 random bits.
fn uuid(wall_ms: u64, draws: &mut Draws) -> [u8; 36] {
    let (first, second) = (draws.draw(), draws.draw());
    let high = wall_ms << 16 | 0x7000 | first & 0x0fff;
    let low = 1 << 63 | second >> 2;
    let mut digits = [0; 32];
    write_hex(high, &mut digits[..16]);
    write_hex(low, &mut digits[16..]);
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&digits[..8]);
    text[9..13].copy_from_slice(&digits[8..12]);
    text[14..18].copy_from_slice(&digits[12..16]);
    text[19..23].copy_from_slice(&digits[16..20]);
    text[24..].copy_from_slice(&digits[20..]);
    text
}

/// The last digits of a number, as many as fit, in lower case.
fn write_hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

impl Describe for RequestId {
    fn describe() -> About {
        About::new("takes or makes an id for each request")
            .settings(
                Schema::new()
                    .choice("format", "what an id is", &["uuid", "traceparent"])
                    .flag("sampled", "what new traces say of themselves")
                    .text("header", "the header that has the id")
                    .flag_or_texts("trust", "peers whose ids are taken: all, none, or networks")
                    .flag("response", "the answer has the header too"),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(RequestId, on_request, describe);

#[cfg(test)]
mod tests;

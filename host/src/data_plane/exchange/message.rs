//! A request as an upstream gets it: what is there of it, and how the rest follows.

use crate::data_plane::body::Encoder;
use crate::data_plane::upstream::RequestStart;
use crate::http::trace_context::{SpanId, set_span};

/// What is sent, the same in every attempt but for the span that it is told of.
pub(super) struct UpstreamMessage<'a> {
    pub(super) head: &'a mut [u8],
    /// Where the head has a `traceparent` of ours, whose span is that of the attempt.
    pub(super) traceparent: Option<usize>,
    /// The body, or as much of it as is kept for another attempt.
    pub(super) body: &'a [u8],
    /// How the rest of the body is passed on as it arrives; none where `body` is all of it.
    pub(super) rest: Option<Encoder<'a>>,
    /// Over HTTP/2: the trailer lines behind a body that is there as a whole.
    pub(super) trailers: &'a [u8],
    /// The protocol that the client asks to change to (`Upgrade`).
    pub(super) upgrade: Option<&'a str>,
    /// The key that the endpoint has to answer, if it is not the client's.
    pub(super) websocket_key: Option<&'a str>,
    pub(super) http2: bool,
}

impl UpstreamMessage<'_> {
    /// Names the span of the next attempt in the head.
    pub(super) fn set_span(&mut self, span: SpanId) {
        if let Some(traceparent) = self.traceparent.and_then(|at| self.head.get_mut(at..)) {
            set_span(traceparent, span);
        }
    }

    pub(super) fn start(&self) -> RequestStart<'_> {
        let whole = self.body.is_empty() && self.rest.is_none() && self.trailers.is_empty();
        RequestStart {
            head: self.head,
            ends: whole && self.upgrade.is_none(),
            protocol: self.upgrade,
        }
    }
}

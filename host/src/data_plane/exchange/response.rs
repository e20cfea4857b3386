//! The response on its way to the client, its body streamed with back-pressure.

use std::io;
use std::task::Context;
use std::time::{Duration, Instant};

use super::head::{ClientHead, HeadKind, HeadSource};
use super::rest::Delivered;
use super::state::{Exchange, SentBytes};
use crate::config::model::Route;
use crate::data_plane::body::{CHUNK_FRAMING, Coding, append, append_end};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::downstream::Outgoing;
use crate::data_plane::upstream::{
    Attempt, BodyFailure, Connection, EndpointId, Errno, Failure, Upload,
};
use crate::http::framing::{Chunk, ChunkedDecoder, Framing, MAX_TRAILERS};
use crate::http::head::{FieldName, ResponseHead, Version};

/// How an upstream's response is passed on.
pub(super) struct ResponsePlan<'a> {
    pub(super) framing: Framing,
    pub(super) route: &'a Route,
    /// The client's connection may be kept.
    pub(super) keep: bool,
    pub(super) read_timeout: Duration,
    pub(super) buffers: &'a Buffers,
    /// Called when the endpoint has sent all, before the client has: whoever asks again at once
    /// must not find this exchange still counted.
    pub(super) endpoint_done: &'a dyn Fn(),
}

/// What was passed on.
pub(super) struct Passed {
    pub(super) delivered: Delivered,
    /// The client got all of it.
    pub(super) complete: bool,
    /// Bytes from and to the upstream, and of the body.
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) length: u64,
    pub(super) ended: Instant,
}

/// Passes a response on whose head was read. The upstream's connection comes back if it can serve
/// another request.
///
/// # Errors
/// [`Failure::InvalidBody`] where the body is broken from the start, and nothing was sent to the
/// client yet.
pub(super) async fn pass_on(
    outgoing: &mut Outgoing,
    exchange: &Exchange,
    mut attempt: Attempt,
    upload: &mut Upload<'_>,
    answer: &ResponsePlan<'_>,
) -> Result<(Passed, Option<(EndpointId, Connection)>), Failure> {
    let buffers = answer.buffers;
    let (keep, coding) = client_framing(exchange, answer, upload.may_be_dropped());
    let mut out = match coding {
        Coding::Plain => buffers.take_head(),
        Coding::Chunked => buffers.take_body(),
    };
    let reusable = {
        let head = exchange.response.borrow();
        let client_head = ClientHead {
            status: head.status(),
            source: HeadSource::Upstream(&head),
            kind: HeadKind::Final {
                coding,
                keeps_length: answer.framing.length().is_some() && head.status() != 204,
                keep,
            },
            route: Some(answer.route),
        };
        client_head.write(exchange, &mut out);
        upstream_keeps(&head, answer.framing)
    };

    let mut body = ResponseBody::new(answer.framing);
    let result = body
        .pass(
            outgoing,
            exchange,
            &mut attempt,
            upload,
            answer,
            coding,
            &mut out,
        )
        .await;
    buffers.give(out);
    let complete = result.is_ok();
    match result {
        Ok(()) => {}
        Err(PassError::NothingSent) => return Err(Failure::InvalidBody),
        Err(PassError::Upstream(failure @ (BodyFailure::ClientGone | BodyFailure::Request(_)))) => {
            exchange.info(&failure)
        }
        Err(PassError::Upstream(error)) => {
            exchange.error(&error, exchange.stats.last_address().as_deref())
        }
        Err(PassError::Client(error)) if error.kind() == io::ErrorKind::TimedOut => {
            exchange.info(&"client timed out (110: Connection timed out) while sending to client");
        }
        Err(PassError::Client(error)) => {
            exchange.info(&format_args!(
                "send() failed ({}) while sending to client",
                Errno(&error)
            ));
        }
    }
    exchange.stats.complete.set(complete);
    let delivered = match complete {
        true => Delivered::Whole { keep },
        false => Delivered::Cut,
    };
    let passed = Passed {
        delivered,
        complete,
        received: attempt.bytes_received,
        sent: 0,
        length: body.passed,
        ended: Instant::now(),
    };
    // Bytes past the end would be taken for the next answer.
    let reusable = reusable && complete && attempt.unread().is_empty();
    let endpoint = attempt.endpoint;
    let connection = attempt.finish(buffers);
    Ok((passed, reusable.then_some((endpoint, connection))))
}

/// Whether the client's connection can be kept, and the coding of its body. `little_left`: what is
/// still to come of the request is no obstacle.
fn client_framing(
    exchange: &Exchange,
    answer: &ResponsePlan<'_>,
    little_left: bool,
) -> (bool, Coding) {
    // The connection may have come to its end since the request came in.
    let keep = answer.keep && little_left && !exchange.listener_state.is_closing();
    match (answer.framing, exchange.request.version()) {
        (Framing::Length(_) | Framing::Stream(Some(_)), _) | (_, Version::Http2) => {
            (keep, Coding::Plain)
        }
        (_, Version::Http11) => (keep, Coding::Chunked),
        // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
        (_, Version::Http10) => (false, Coding::Plain),
    }
}

fn upstream_keeps(head: &ResponseHead, framing: Framing) -> bool {
    framing != Framing::UntilClose
        && match head.version() {
            Version::Http11 => !head.fields().lists(FieldName::Connection, b"close"),
            Version::Http10 => head.fields().lists(FieldName::Connection, b"keep-alive"),
            // A stream serves once.
            Version::Http2 => false,
        }
}

/// Why a response did not reach the client whole.
enum PassError {
    /// The body is broken from its first byte: another answer is still possible.
    NothingSent,
    Upstream(BodyFailure),
    Client(io::Error),
}

/// A response body on its way.
struct ResponseBody {
    framing: BodyState,
    /// The lines behind a body that is done.
    trailers: Vec<u8>,
    /// There were too many, which is still to be logged.
    trailers_dropped: bool,
    /// Body bytes passed on, without framing.
    passed: u64,
}

enum BodyState {
    Length(u64),
    Chunked(ChunkedDecoder),
    /// Of the connection, or of the stream of HTTP/2.
    UntilClose,
    Done,
}

impl ResponseBody {
    fn new(framing: Framing) -> ResponseBody {
        let framing = match framing {
            Framing::Length(0) => BodyState::Done,
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::Chunked(ChunkedDecoder::of_response()),
            Framing::UntilClose | Framing::Stream(_) => BodyState::UntilClose,
        };
        ResponseBody {
            framing,
            trailers: Vec::new(),
            trailers_dropped: false,
            passed: 0,
        }
    }

    /// Passes all of it on, behind the head that waits in `out`.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of an exchange, each borrowed for its own time"
    )]
    async fn pass(
        &mut self,
        outgoing: &mut Outgoing,
        exchange: &Exchange,
        attempt: &mut Attempt,
        upload: &mut Upload<'_>,
        answer: &ResponsePlan<'_>,
        coding: Coding,
        out: &mut Vec<u8>,
    ) -> Result<(), PassError> {
        let head = out.len();
        let mut begun = None;
        loop {
            let taken = self.take(attempt.unread(), coding, out);
            if std::mem::take(&mut self.trailers_dropped) {
                let message = format!(
                    "upstream sent trailers of more than {MAX_TRAILERS} bytes, which were dropped"
                );
                let server = exchange.stats.last_address().unwrap_or_default();
                exchange.warn(&message, &server);
            }
            if matches!(self.framing, BodyState::UntilClose) && attempt.has_ended() {
                self.framing = BodyState::Done;
                append_end(b"", coding, out);
            }
            let done = matches!(self.framing, BodyState::Done);
            if done {
                (answer.endpoint_done)();
            }
            let taken = match taken {
                Ok(taken) => taken,
                Err(_) if begun.is_none() => return Err(PassError::NothingSent),
                Err(error) => return Err(PassError::Upstream(error)),
            };
            let last = done && self.trailers.is_empty();
            let sent = match &begun {
                Some(sent) => sent,
                None => {
                    exchange.keep_sent_header(&out[..head]);
                    let length = out.len();
                    outgoing
                        .writer
                        .begin_response(out, head, last && attempt.unread().is_empty())
                        .map_err(PassError::Client)?;
                    let apart = length - out.len();
                    begun.insert(SentBytes::begin(exchange, outgoing, apart, head - apart))
                }
            };
            if last {
                outgoing.writer.end_with_next_write();
            }
            let (unread, upstream) = attempt.unread_and_writer();
            let (consumed, mut body) = match taken {
                // Bytes that need no coding go from the buffer they were received in.
                TakenBody::AsIs(length) => (length, &unread[..length]),
                // The coded end of a body may be all there is to write.
                TakenBody::Coded(consumed) => (consumed, &[][..]),
            };
            if out.len() + body.len() <= out.capacity() {
                // The kernel takes one piece faster than two.
                out.extend_from_slice(body);
                body = &[];
            }
            let mut client_waits = false;
            let meanwhile = |cx: &mut Context<'_>| {
                if done && std::mem::replace(&mut client_waits, true) {
                    // The endpoint has said all, and the client may not read before it has.
                    upload.give_up();
                }
                upload.drive_or_drop(cx, upstream);
            };
            let written = outgoing.write_while(out, body, meanwhile).await;
            sent.count(exchange, outgoing);
            attempt.consume(consumed);
            out.clear();
            written.map_err(PassError::Client)?;
            if done {
                return (outgoing.writer.end(&self.trailers))
                    .map_err(|error| PassError::Client(error.into()));
            }
            if !attempt.unread().is_empty() {
                continue;
            }
            match attempt
                .read_body(upload, answer.read_timeout, answer.buffers)
                .await
            {
                Ok(0) => {
                    let trailers = attempt.read_trailers(answer.read_timeout).await;
                    self.trailers = trailers.map_err(PassError::Upstream)?;
                    self.end_of_stream(coding, out)
                        .map_err(PassError::Upstream)?;
                }
                Ok(_) => {}
                Err(error) => return Err(PassError::Upstream(error)),
            }
        }
    }

    fn end_of_stream(&mut self, coding: Coding, out: &mut Vec<u8>) -> Result<(), BodyFailure> {
        match self.framing {
            BodyState::UntilClose => {
                self.framing = BodyState::Done;
                append_end(&self.trailers, coding, out);
                Ok(())
            }
            _ => Err(BodyFailure::Closed),
        }
    }

    /// Takes body bytes from what was received: either some that can be written as they are, or
    /// coded ones appended to `out`.
    fn take(
        &mut self,
        unread: &[u8],
        coding: Coding,
        out: &mut Vec<u8>,
    ) -> Result<TakenBody, BodyFailure> {
        match (&mut self.framing, coding) {
            (BodyState::Done, _) => Ok(TakenBody::Coded(0)),
            (BodyState::Length(left), _) => {
                let length = (unread.len() as u64).min(*left) as usize;
                *left -= length as u64;
                if *left == 0 {
                    self.framing = BodyState::Done;
                }
                self.passed += length as u64;
                Ok(TakenBody::AsIs(length))
            }
            (BodyState::UntilClose, Coding::Plain) => {
                self.passed += unread.len() as u64;
                Ok(TakenBody::AsIs(unread.len()))
            }
            (BodyState::UntilClose, Coding::Chunked) => {
                append(unread, coding, out);
                self.passed += unread.len() as u64;
                Ok(TakenBody::Coded(unread.len()))
            }
            (BodyState::Chunked(decoder), _) => {
                let mut consumed = 0;
                out.reserve(unread.len() + CHUNK_FRAMING);
                loop {
                    match decoder.next(&unread[consumed..]) {
                        Ok(Chunk::Data { start, end }) => {
                            append(&unread[consumed + start..consumed + end], coding, out);
                            self.passed += (end - start) as u64;
                            consumed += end;
                        }
                        Ok(Chunk::More) => return Ok(TakenBody::Coded(unread.len())),
                        Ok(Chunk::End { end }) => {
                            append_end(decoder.trailers(), coding, out);
                            self.trailers = decoder.trailers().to_vec();
                            self.trailers_dropped = decoder.trailers_were_dropped();
                            self.framing = BodyState::Done;
                            return Ok(TakenBody::Coded(consumed + end));
                        }
                        Err(_) => return Err(BodyFailure::BadChunk),
                    }
                }
            }
        }
    }
}

enum TakenBody {
    AsIs(usize),
    Coded(usize),
}

/// Passes an interim response on (1xx; RFC 9110 section 15.2).
pub(super) async fn send_interim(
    outgoing: &mut Outgoing,
    exchange: &Exchange,
    head: &ResponseHead,
) -> io::Result<()> {
    let mut out = Vec::with_capacity(head.len() + 16);
    let client_head = ClientHead {
        status: head.status(),
        source: HeadSource::Upstream(head),
        kind: HeadKind::Interim,
        route: None,
    };
    client_head.write(exchange, &mut out);
    let header_sent = &exchange.stats.header_sent;
    header_sent.set(header_sent.get() + out.len() as u64);
    outgoing.write_interim(&mut out).await
}

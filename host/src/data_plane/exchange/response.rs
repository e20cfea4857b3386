//! The response on its way to the client, its body streamed with back-pressure.

use std::io;
use std::task::Context;
use std::time::{Duration, Instant};

use super::ConnectionFate;
use super::request::line_bytes;
use super::response_head::{write_head, write_status};
use super::state::Exchange;
use crate::config::model::HeaderChange;
use crate::data_plane::body::{CHUNK_FRAMING, Coding, append, append_end};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::downstream::Outgoing;
use crate::data_plane::stream::Writer;
use crate::data_plane::upstream::{
    Attempt, BodyFailure, Connection, EndpointId, Errno, Failure, Upload,
};
use crate::http::framing::{Chunk, ChunkedDecoder, Framing};
use crate::http::head::{FieldName, ResponseHead, Version};

/// How an upstream's response is passed on.
pub(super) struct ResponsePlan<'a> {
    pub(super) framing: Framing,
    pub(super) changes: &'a [HeaderChange],
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
    pub(super) after: ConnectionFate,
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
    let (keep, coding) = client_framing(exchange, answer, upload.is_sent());
    let mut out = match coding {
        Coding::Plain => buffers.take_head(),
        Coding::Chunked => buffers.take_body(),
    };
    let reusable = {
        let head = exchange.response.borrow();
        write_head(exchange, &head, answer, keep, coding, &mut out);
        upstream_keeps(&head, answer.framing)
    };
    exchange.stats.header_sent.set(out.len() as u64);
    exchange.keep_sent_header(&out);

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
    let after = if complete && keep {
        ConnectionFate::KeepAlive
    } else {
        ConnectionFate::Close
    };
    let passed = Passed {
        after,
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

/// Whether the client's connection can be kept, and the coding of its body.
fn client_framing(
    exchange: &Exchange,
    answer: &ResponsePlan<'_>,
    request_sent: bool,
) -> (bool, Coding) {
    // The connection may have come to its end since the request came in; and what is left of a
    // request would be taken for the next one.
    let keep = answer.keep && request_sent && !exchange.listener_state.is_closing();
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
            Framing::Chunked => BodyState::Chunked(ChunkedDecoder::default()),
            Framing::UntilClose | Framing::Stream(_) => BodyState::UntilClose,
        };
        ResponseBody {
            framing,
            trailers: Vec::new(),
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
        let http2 = outgoing.writer.http2().cloned();
        // HTTP/2 sends the head apart from the body.
        let mut head = http2.is_some().then(|| std::mem::take(out));
        let header = out.len() as u64;
        let mut written = 0;
        loop {
            let taken = self.take(attempt.unread(), coding, out);
            if matches!(self.framing, BodyState::UntilClose) && attempt.has_ended() {
                self.framing = BodyState::Done;
                append_end(b"", coding, out);
            }
            let done = matches!(self.framing, BodyState::Done);
            if done {
                (answer.endpoint_done)();
            }
            if let (Some(stream), true) = (&http2, taken.is_ok()) {
                if let Some(head) = head.take() {
                    let empty = done && attempt.unread().is_empty() && self.trailers.is_empty();
                    let sent = stream.send_head(&head, empty);
                    answer.buffers.give(head);
                    sent.map_err(|error| PassError::Client(error.into()))?;
                }
                if done && self.trailers.is_empty() {
                    stream.end_with_next_write();
                }
            }
            let sent = match taken {
                // Bytes that need no coding go from the buffer they were received in.
                Ok(InterimTaken::AsIs(length)) => {
                    let (unread, upstream) = attempt.unread_and_writer();
                    let mut body = &unread[..length];
                    if out.len() + length <= out.capacity() {
                        // The kernel takes one piece faster than two.
                        out.extend_from_slice(body);
                        body = &[];
                    }
                    let sent = write(outgoing, out, body, upload, upstream).await;
                    written += (out.len() + body.len()) as u64;
                    attempt.consume(length);
                    sent
                }
                Ok(InterimTaken::Coded(consumed)) => {
                    attempt.consume(consumed);
                    // The coded end of a body may be all there is to write.
                    let sent =
                        write(outgoing, out, &[], upload, &mut attempt.connection.writer).await;
                    written += out.len() as u64;
                    sent
                }
                Err(_) if written == 0 && (http2.is_none() || head.is_some()) => {
                    return Err(PassError::NothingSent);
                }
                Err(error) => return Err(PassError::Upstream(error)),
            };
            out.clear();
            exchange.stats.body_sent.set(written.saturating_sub(header));
            sent.map_err(PassError::Client)?;
            if matches!(self.framing, BodyState::Done) {
                return match http2 {
                    Some(stream) => stream
                        .end(&self.trailers)
                        .map_err(|error| PassError::Client(error.into())),
                    None => Ok(()),
                };
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
    ) -> Result<InterimTaken, BodyFailure> {
        match (&mut self.framing, coding) {
            (BodyState::Done, _) => Ok(InterimTaken::Coded(0)),
            (BodyState::Length(left), _) => {
                let length = (unread.len() as u64).min(*left) as usize;
                *left -= length as u64;
                if *left == 0 {
                    self.framing = BodyState::Done;
                }
                self.passed += length as u64;
                Ok(InterimTaken::AsIs(length))
            }
            (BodyState::UntilClose, Coding::Plain) => {
                self.passed += unread.len() as u64;
                Ok(InterimTaken::AsIs(unread.len()))
            }
            (BodyState::UntilClose, Coding::Chunked) => {
                append(unread, coding, out);
                self.passed += unread.len() as u64;
                Ok(InterimTaken::Coded(unread.len()))
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
                        Ok(Chunk::More) => return Ok(InterimTaken::Coded(unread.len())),
                        Ok(Chunk::End { end }) => {
                            append_end(decoder.trailers(), coding, out);
                            self.trailers = decoder.trailers().to_vec();
                            self.framing = BodyState::Done;
                            return Ok(InterimTaken::Coded(consumed + end));
                        }
                        Err(_) => return Err(BodyFailure::BadChunk),
                    }
                }
            }
        }
    }
}

enum InterimTaken {
    AsIs(usize),
    Coded(usize),
}

/// Writes both to the client, while `upload` goes on towards the upstream.
async fn write(
    outgoing: &mut Outgoing,
    first: &[u8],
    second: &[u8],
    upload: &mut Upload<'_>,
    upstream: &mut Writer,
) -> io::Result<()> {
    let meanwhile = |cx: &mut Context<'_>| {
        // What became of it is looked at once the response has been passed on.
        let _ = upload.poll_drive(cx, upstream);
    };
    outgoing.write_while(first, second, meanwhile).await
}

/// Passes an interim response on (1xx; RFC 9110 section 15.2).
pub(super) async fn send_interim(
    outgoing: &mut Outgoing,
    exchange: &Exchange,
    head: &ResponseHead,
) -> io::Result<()> {
    let mut out = Vec::with_capacity(head.len() + 16);
    write_status(head.status(), Some(head.reason()), &mut out);
    for field in head.fields().iter() {
        if matches!(
            field.known,
            FieldName::Other | FieldName::Date | FieldName::Server
        ) {
            line_bytes(field.name, field.value, &mut out);
        }
    }
    out.extend_from_slice(b"\r\n");
    exchange
        .stats
        .header_sent
        .set(exchange.stats.header_sent.get() + out.len() as u64);
    outgoing.write_interim(&out).await
}

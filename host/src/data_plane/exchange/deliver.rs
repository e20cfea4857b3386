//! A response on its way to the client: its head, then its body as it comes, with back-pressure.

use std::io;
use std::rc::Rc;
use std::task::Context;

use super::body_hooks::BodyHooks;
use super::content;
use super::source::{PassError, ResponseSource};
use super::state::{Exchange, SentBytes};
use crate::data_plane::body::{BodyPipe, Encoder, Taken};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::downstream::Outgoing;
use crate::data_plane::upstream::{BodyFailure, Failure};
use crate::http::framing::MAX_TRAILERS;
use crate::plugin::BodySide;

/// The way of a response to the client.
pub(super) struct Delivery<'a> {
    pub(super) outgoing: &'a mut Outgoing,
    pub(super) exchange: &'a Rc<Exchange>,
    pub(super) buffers: &'a Buffers,
    /// Of the body, for the client.
    pub(super) encoder: Encoder<'a>,
    /// Only the end of the connection tells the client where the body ends, though its own framing
    /// would have.
    pub(super) closes: bool,
    /// Of a 304 and a 206 that know it: the answer that the client has, or gets a part of.
    pub(super) held: Option<HeldAnswer<'a>>,
}

/// What is not said of an answer where a client has it already, or gets a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldAnswer<'a> {
    pub(super) content_type: &'a [u8],
    /// None where there is none.
    pub(super) encoding: Option<&'a [u8]>,
    /// Bytes.
    pub(super) length: u64,
}

impl Delivery<'_> {
    /// Passes all of a body on, behind the head that is all of `out`; through the hooks that want it.
    ///
    /// # Errors
    /// [`PassError`]; the client may have a part of it.
    pub(super) async fn pass(
        &mut self,
        body: &mut BodyPipe,
        source: &mut ResponseSource<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Result<(), PassError> {
        match BodyHooks::of(self.exchange, BodySide::Response) {
            // Few exchanges have any: the others need not carry the room for it.
            Some(hooks) => Box::pin(self.pass_hooked(hooks, body, source, out)).await,
            None => self.pass_straight(body, source, out).await,
        }
    }

    /// As [`Delivery::pass`], as it comes.
    ///
    /// # Errors
    /// As [`Delivery::pass`].
    pub(super) async fn pass_straight(
        &mut self,
        body: &mut BodyPipe,
        source: &mut ResponseSource<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Result<(), PassError> {
        if let Some(recoder) = content::prepare(self, body, out) {
            // Few answers are recoded: the others need not carry the room for it, nor for a file.
            return Box::pin(self.pass_recoded(recoder, body, source, out)).await;
        }
        if let Some((file, meanwhile)) = source.direct_file() {
            return Box::pin(self.pass_file(file, meanwhile, out)).await;
        }
        let head = out.len();
        let mut begun = None;
        loop {
            let taken = body.take(source.unread(), &self.encoder, out);
            // Where the source tells its end with the last bytes, the end goes out with these bytes
            // and not in a write of its own.
            let all = |taken: &Taken| taken.length() == source.unread().len();
            if source.has_ended() && taken.as_ref().is_ok_and(all) {
                body.end_if_open(&self.encoder, out);
            }
            let done = body.is_done();
            if done {
                // Before the client has the last byte: its next request must not find this exchange
                // still counted.
                source.note_end();
                self.warn_of_trailers(body);
            }
            let taken = match taken {
                Ok(taken) => taken,
                // The head has not left yet, so the client can still get an error status.
                Err(_) if begun.is_none() => {
                    return Err(PassError::NothingSent(Failure::InvalidBody));
                }
                Err(_) => return Err(PassError::Source(BodyFailure::BadChunk)),
            };
            // Over HTTP/2, trailers end the stream. Without them the last DATA frame does, or the
            // header where there is no body.
            let last = done && body.trailers().is_empty();
            let sent = match &begun {
                Some(sent) => sent,
                None => {
                    let ends = last && source.unread().is_empty();
                    begun.insert(self.begin(out, head, ends).map_err(PassError::Client)?)
                }
            };
            if last {
                self.outgoing.writer.end_with_next_write();
            }
            let (unread, mut meanwhile) = source.unread_meanwhile(done);
            let (consumed, mut piece) = match taken {
                // Bytes that need no coding go from the buffer they were received in.
                Taken::AsIs(length) => (length, &unread[..length]),
                // The coded end of a body may be all there is to write.
                Taken::Coded(consumed) => (consumed, &[][..]),
            };
            if out.len() + piece.len() <= out.capacity() {
                // The kernel takes one piece faster than two.
                out.extend_from_slice(piece);
                piece = &[];
            }
            let writes = !out.is_empty() || !piece.is_empty();
            if done && writes && !meanwhile.is_owed() {
                self.outgoing.defer_next();
            }
            let meanwhile = |cx: &mut Context<'_>| meanwhile.poll(cx);
            let written = self.outgoing.write_while(out, piece, meanwhile).await;
            // Also where the write has failed: the access log tells how much has left.
            sent.count(self.exchange, self.outgoing);
            source.consume(consumed);
            out.clear();
            written.map_err(PassError::Client)?;
            if done {
                let ended = self.outgoing.writer.end(body.trailers());
                return ended.map_err(|error| PassError::Client(error.into()));
            }
            if !source.unread().is_empty() {
                continue;
            }
            // No buffer is held while the endpoint pauses, which it may do for hours.
            self.buffers.give(std::mem::take(out));
            if self.outgoing.writer.is_bare()
                && let Some(response) = source.spliceable(body)
            {
                // Few answers are so large: the others need not carry the room for it.
                Box::pin(self.pass_spliced(body, response, sent)).await?;
                if body.is_done() {
                    return Ok(());
                }
            }
            let read = source.read(self.buffers).await;
            // Only coding needs a buffer: bytes that go on as they are leave from the one that they
            // were received in.
            if !body.goes_as_is(&self.encoder) {
                *out = self.buffers.take_for(source.unread().len());
            }
            if read? == 0 {
                let trailers = source.read_trailers().await.map_err(PassError::Source)?;
                // The end of the source is the end of a body without a length; any other body is
                // cut short by it.
                if !body.end(trailers, &self.encoder, out) {
                    return Err(PassError::Source(BodyFailure::Closed));
                }
            }
        }
    }

    pub(super) fn warn_of_trailers(&self, body: &mut BodyPipe) {
        if std::mem::take(&mut body.trailers_dropped) {
            let message = format!(
                "upstream sent trailers of more than {MAX_TRAILERS} bytes, which were dropped"
            );
            let server = self.exchange.stats.last_address().unwrap_or_default();
            self.exchange.warn(&message, &server);
        }
    }

    /// Begins with the head, which is the first `head` bytes of `out`.
    pub(super) fn begin(
        &mut self,
        out: &mut Vec<u8>,
        head: usize,
        ends: bool,
    ) -> io::Result<SentBytes> {
        self.exchange.keep_sent_header(&out[..head]);
        let length = out.len();
        self.outgoing.writer.begin_response(out, head, ends)?;
        let apart = length - out.len();
        Ok(SentBytes::begin(
            self.exchange,
            self.outgoing,
            apart,
            head - apart,
        ))
    }
}

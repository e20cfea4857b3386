//! A response on its way to the client in another content coding: piece by piece as it comes, so
//! that what trickles stays live, and nobody waits for a long one.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll};

use super::deliver::Delivery;
use super::source::{PassError, ResponseSource};
use super::state::SentBytes;
use crate::data_plane::body::{BadBody, BodyPipe, Encoder, append, append_end};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::content_coding::{Operation, Recoder};
use crate::data_plane::upstream::{BodyFailure, Failure};

/// Bytes that are recoded before others have their turn: half a millisecond's work.
const ROUND: usize = 32 << 10;

/// Room for what frames a chunk, and for the end of a body behind it.
const CHUNK_FRAMING: usize = 32;

/// Why a round of recoding ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoundEnd {
    /// There is enough to be written, or others have waited long enough.
    Enough,
    /// The source has no more at the moment, and the client is to have all that there was.
    Paused,
    Done,
}

/// A body under way.
struct Recoded {
    recoder: Box<Recoder>,
    /// Body bytes among the unread ones that are to be recoded, and where what they came in ends.
    piece: Range<usize>,
    piece_end: usize,
    /// Bytes of the recoder's output that are to be written.
    filled: usize,
    /// Something was taken that has not come out for certain.
    behind: bool,
    /// It is coming out: nothing else may be taken until it has.
    flushing: bool,
}

impl Delivery<'_> {
    /// As [`Delivery::pass`], recoded.
    ///
    /// # Errors
    /// As [`Delivery::pass`].
    pub(super) async fn pass_recoded(
        &mut self,
        recoder: Box<Recoder>,
        body: &mut BodyPipe,
        source: &mut ResponseSource<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Result<(), PassError> {
        let head = out.len();
        let mut recoded = Recoded {
            recoder,
            piece: 0..0,
            piece_end: 0,
            filled: 0,
            behind: false,
            flushing: false,
        };
        let mut begun = None;
        loop {
            let was_done = body.is_done();
            let round = recoded.round(body, source, self.buffers).await;
            let end = match round {
                Ok(end) => end,
                // The head has not left yet, so the client can still get an error status.
                Err(PassError::Source(BodyFailure::BadChunk)) if begun.is_none() => {
                    return Err(PassError::NothingSent(Failure::InvalidBody));
                }
                Err(PassError::Stopped(stopped)) if begun.is_none() => {
                    return Err(PassError::NothingSent(Failure::Stopped(Box::new(stopped))));
                }
                Err(PassError::Content(what)) if begun.is_none() => {
                    return Err(PassError::NothingSent(Failure::InvalidContent(what)));
                }
                Err(error) => {
                    // As in `pass`, the client gets what there was, and sees that it is cut.
                    if recoded.flush().is_ok() {
                        self.put_out(&mut recoded, head, out);
                        let _ = self
                            .write_round(source, out, head, &mut begun, [false; 2])
                            .await;
                    }
                    return Err(error);
                }
            };
            if body.is_done() && !was_done {
                // As in `pass`: before the client has the last byte.
                source.note_end();
                self.warn_of_trailers(body);
            }
            let done = end == RoundEnd::Done;
            self.put_out(&mut recoded, head, out);
            if done {
                body.retain_trailers(self.encoder.passes_trailer);
                append_end(body.trailers(), self.encoder.coding, out);
            }
            let last = done && body.trailers().is_empty();
            let ended = [body.is_done(), last];
            self.write_round(source, out, head, &mut begun, ended)
                .await?;
            if done {
                let ended = self.outgoing.writer.end(body.trailers());
                return ended.map_err(|error| PassError::Client(error.into()));
            }
            if end == RoundEnd::Enough {
                tokio::task::yield_now().await;
                continue;
            }
            // No buffer is held while the endpoint pauses, which it may do for hours.
            self.buffers.give(std::mem::take(out));
            let read = source.read(self.buffers).await;
            if read? == 0 {
                end_of_source(body, source).await?;
            }
        }
    }

    /// Appends what was recoded to `out`, which may hold a head so far.
    fn put_out(&self, recoded: &mut Recoded, head: usize, out: &mut Vec<u8>) {
        if out.capacity() < head + recoded.filled + CHUNK_FRAMING {
            let first = std::mem::replace(out, self.buffers.take_body());
            out.extend_from_slice(&first);
            self.buffers.give(first);
        }
        let coded = &recoded.recoder.output()[..recoded.filled];
        append(coded, self.encoder.coding, out);
        recoded.filled = 0;
    }

    /// Writes what is in `out`, which begins with the head if it has not left yet. Whether the
    /// source has sent all, and whether nothing follows what is written, trailers included.
    async fn write_round(
        &mut self,
        source: &mut ResponseSource<'_, '_>,
        out: &mut Vec<u8>,
        head: usize,
        begun: &mut Option<SentBytes>,
        [received, last]: [bool; 2],
    ) -> Result<(), PassError> {
        let sent = match begun {
            Some(sent) => sent,
            None => {
                let ends = last && out.len() == head;
                begun.insert(self.begin(out, head, ends).map_err(PassError::Client)?)
            }
        };
        if last {
            self.outgoing.writer.end_with_next_write();
        }
        let (_, mut meanwhile) = source.unread_meanwhile(received);
        let meanwhile = |cx: &mut Context<'_>| meanwhile.poll(cx);
        let written = self.outgoing.write_while(out, &[], meanwhile).await;
        sent.count(self.exchange, self.outgoing);
        out.clear();
        written.map_err(PassError::Client)
    }
}

impl Recoded {
    /// Recodes what is there, up to a full output or a long turn.
    async fn round(
        &mut self,
        body: &mut BodyPipe,
        source: &mut ResponseSource<'_, '_>,
        buffers: &Buffers,
    ) -> Result<RoundEnd, PassError> {
        if self.flushing {
            return self.flush();
        }
        let mut worked = 0;
        loop {
            if self.filled == self.recoder.output().len() || worked >= ROUND {
                return Ok(RoundEnd::Enough);
            }
            if !self.piece.is_empty() {
                worked += self.take(source)?;
                continue;
            }
            if source.unread().is_empty() && source.has_ended() {
                body.end_if_open(&Encoder::PLAIN, &mut Vec::new());
            }
            if body.is_done() {
                return self.drain(Operation::Finish, RoundEnd::Done);
            }
            if source.unread().is_empty() {
                let Poll::Ready(read) = read_at_once(source, buffers).await else {
                    return self.flush();
                };
                if read? == 0 {
                    end_of_source(body, source).await?;
                }
                continue;
            }
            let unread = source.unread();
            let most = unread.len().min(ROUND);
            let taken = body.take_piece(&unread[..most]);
            let (piece, end) =
                taken.map_err(|_: BadBody| PassError::Source(BodyFailure::BadChunk))?;
            if piece.is_empty() {
                source.consume(end);
            }
            (self.piece, self.piece_end) = (piece, end);
        }
    }

    /// Has the recoder take of the piece at hand; returns how much work that was, in bytes.
    fn take(&mut self, source: &mut ResponseSource<'_, '_>) -> Result<usize, PassError> {
        let piece = &source.unread()[self.piece.clone()];
        let coded = self.recoder.code(piece, Operation::Take, self.filled);
        let step = coded.map_err(PassError::Content)?;
        self.behind = true;
        self.piece.start += step.taken;
        self.filled += step.written;
        if self.piece.is_empty() {
            source.consume(self.piece_end);
        }
        // A step without progress would be one without end.
        Ok(step.taken.max(step.written).max(step.between).max(1))
    }

    /// Lets out what was taken, as the source pauses.
    fn flush(&mut self) -> Result<RoundEnd, PassError> {
        if !self.behind {
            return Ok(RoundEnd::Paused);
        }
        let end = self.drain(Operation::Flush, RoundEnd::Paused)?;
        self.flushing = end != RoundEnd::Paused;
        self.behind = self.flushing;
        Ok(end)
    }

    /// Lets out what the recoder has, all of it where there is room.
    fn drain(&mut self, operation: Operation, end: RoundEnd) -> Result<RoundEnd, PassError> {
        let coded = self.recoder.code(&[], operation, self.filled);
        let step = coded.map_err(PassError::Content)?;
        self.filled += step.written;
        match step.done {
            true => Ok(end),
            false => Ok(RoundEnd::Enough),
        }
    }
}

/// Nothing more comes: the end of a body without a length; any other body is cut short by it.
async fn end_of_source(
    body: &mut BodyPipe,
    source: &mut ResponseSource<'_, '_>,
) -> Result<(), PassError> {
    let trailers = source.read_trailers().await.map_err(PassError::Source)?;
    match body.end(trailers, &Encoder::PLAIN, &mut Vec::new()) {
        true => Ok(()),
        false => Err(PassError::Source(BodyFailure::Closed)),
    }
}

/// Reads more of a server's body if that is possible without a wait. What is our own is all there,
/// or its read cannot be given up half-way: it is waited for.
#[allow(clippy::disallowed_methods, reason = "asks, and does not wait")]
async fn read_at_once(
    source: &mut ResponseSource<'_, '_>,
    buffers: &Buffers,
) -> Poll<Result<usize, PassError>> {
    if source.is_ours() {
        return Poll::Ready(source.read(buffers).await);
    }
    let mut read = pin!(source.read(buffers));
    poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await
}

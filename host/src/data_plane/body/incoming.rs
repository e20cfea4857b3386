//! What a client sends: heads and bodies, read through one buffer that is given back while the
//! connection is idle.

use std::io;
use std::task::{Context, Poll, ready};

use crate::data_plane::buffers::Buffers;
use crate::data_plane::stream::Reader;
use crate::http::framing::{BadChunk, Chunk, ChunkedDecoder, Framing, write_chunk_size};
use crate::http::head::retain_trailers;

/// The client's direction of a connection, and what was read of it ahead of need.
pub(crate) struct Incoming {
    pub(crate) reader: Reader,
    buffer: Vec<u8>,
    /// Where the unread part of the buffer begins.
    start: usize,
}

impl Incoming {
    pub(crate) fn new(reader: Reader) -> Incoming {
        Incoming {
            reader,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The stream of HTTP/2 that this is has ended: nothing more comes.
    pub(crate) fn is_at_end(&self) -> bool {
        self.reader.is_at_end()
    }

    /// Received, not yet consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Gives the buffer back if nothing is in it: an idle connection costs no buffer.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.unread().is_empty() && self.buffer.capacity() > 0 {
            buffers.give(std::mem::take(&mut self.buffer));
            self.start = 0;
        }
    }

    /// Reads more behind what is unread; the buffer grows up to `bound` bytes of unread data. 0 at
    /// the end.
    pub(crate) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        bound: usize,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.take_head();
        }
        if self.buffer.len() == self.buffer.capacity() {
            // Full: the bytes that were consumed make room first; without any, the buffer grows.
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            } else {
                // It doubles, up to `bound`. It grows by one byte at least: a read without room
                // returns 0, which means the end here.
                let room = bound
                    .saturating_sub(self.buffer.len())
                    .min(self.buffer.capacity())
                    .max(1);
                self.buffer.reserve_exact(room);
            }
        }
        self.reader.poll_read(cx, &mut self.buffer, usize::MAX)
    }
}

/// Why a request body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("client prematurely closed connection")]
    Closed,
    #[error("{0}")]
    Io(io::Error),
    #[error("client timed out")]
    TimedOut,
    #[error("client sent {0}")]
    BadChunk(#[from] BadChunk),
    #[error("client intended to send too large chunked body: {0}+ bytes")]
    TooLarge(u64),
}

/// How far a request's body was read.
#[derive(Debug)]
pub(crate) struct BodyProgress {
    state: ProgressState,
    /// Body bytes so far, without framing.
    pub(crate) received: u64,
    limit: u64,
}

#[derive(Debug)]
enum ProgressState {
    Length {
        left: u64,
    },
    Chunked(ChunkedDecoder),
    /// Of HTTP/2, which knows where it ends.
    Stream,
    Done {
        trailers: Vec<u8>,
    },
    /// Its end cannot be found any more.
    Broken,
}

/// What may be left of a body that is read and dropped after its answer, so that the connection
/// can be kept: as much as Go's net/http takes (`maxPostHandlerReadBytes`).
pub(crate) const MAX_DROPPED: u64 = 256 << 10;

/// How body bytes are written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As they are: the length is known or does not matter.
    Plain,
    Chunked,
}

impl BodyProgress {
    pub(crate) fn new(framing: Framing) -> BodyProgress {
        let state = match framing {
            Framing::Chunked => ProgressState::Chunked(ChunkedDecoder::default()),
            Framing::Stream(_) => ProgressState::Stream,
            Framing::Length(left @ 1..) => ProgressState::Length { left },
            Framing::Length(0) | Framing::UntilClose => ProgressState::Done {
                trailers: Vec::new(),
            },
        };
        BodyProgress {
            state,
            received: 0,
            limit: u64::MAX,
        }
    }

    /// Accepts no more than `limit` body bytes, for a body that does not tell its length.
    pub(crate) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit.unwrap_or(u64::MAX);
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, ProgressState::Done { .. })
    }

    /// What is left of a body that told its length.
    pub(crate) fn length_left(&self) -> Option<u64> {
        match self.state {
            ProgressState::Length { left } => Some(left),
            ProgressState::Chunked(_)
            | ProgressState::Stream
            | ProgressState::Done { .. }
            | ProgressState::Broken => None,
        }
    }

    /// Whether what is left is worth reading for the sake of the next request. Chunks are taken to
    /// be few until they prove to be many.
    pub(crate) fn may_be_dropped(&self) -> bool {
        match self.state {
            ProgressState::Length { left } => left <= MAX_DROPPED,
            ProgressState::Chunked(_) | ProgressState::Stream | ProgressState::Done { .. } => true,
            ProgressState::Broken => false,
        }
    }

    /// Reads what comes and drops it; ready at the end of the body. `sink` is overwritten, and
    /// needs room for at least a chunk's framing. HTTP/2 declines the rest of a body instead.
    ///
    /// # Errors
    /// Where the end of the body cannot be found.
    pub(crate) fn poll_drop(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Incoming,
        sink: &mut Vec<u8>,
        buffers: &Buffers,
    ) -> Poll<Result<(), BodyError>> {
        while !matches!(
            self.state,
            ProgressState::Done { .. } | ProgressState::Stream
        ) {
            sink.clear();
            ready!(self.poll_move(cx, from, sink, Coding::Plain, buffers))?;
        }
        Poll::Ready(Ok(()))
    }

    /// The trailer lines, once the body is done; empty where there were none.
    pub(crate) fn trailers(&self) -> &[u8] {
        match &self.state {
            ProgressState::Done { trailers } => trailers,
            _ => &[],
        }
    }

    /// Drops the trailer lines of a body that is done whose names do not pass.
    pub(crate) fn retain_trailers(&mut self, passes: impl Fn(&[u8]) -> bool) {
        if let ProgressState::Done { trailers } = &mut self.state
            && !trailers.is_empty()
        {
            retain_trailers(trailers, passes);
        }
    }

    /// Moves body bytes from the client to the spare capacity of `out`, coded for the way on; ready
    /// once something was moved or the body is done. `out` needs room for at least a chunk's
    /// framing.
    pub(crate) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Incoming,
        out: &mut Vec<u8>,
        coding: Coding,
        buffers: &Buffers,
    ) -> Poll<Result<(), BodyError>> {
        let moved = self.poll_step(cx, from, out, coding, buffers);
        if let Poll::Ready(Err(_)) = moved {
            self.state = ProgressState::Broken;
        }
        moved
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Incoming,
        out: &mut Vec<u8>,
        coding: Coding,
        buffers: &Buffers,
    ) -> Poll<Result<(), BodyError>> {
        let before = out.len();
        loop {
            // What was read ahead comes first. New bytes are read only once that is used up.
            if self.take_buffered(from, out, coding)? || out.len() > before {
                return Poll::Ready(Ok(()));
            }
            let read = match &mut self.state {
                // A body that is passed on as it is skips the buffer, which is empty here.
                ProgressState::Length { left } if coding == Coding::Plain => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let read =
                        ready!(from.reader.poll_read(cx, out, most)).map_err(BodyError::Io)?;
                    *left -= read as u64;
                    self.received += read as u64;
                    if *left == 0 {
                        self.state = ProgressState::Done {
                            trailers: Vec::new(),
                        };
                    }
                    read
                }
                ProgressState::Stream if coding == Coding::Plain => {
                    let read = ready!(from.reader.poll_read(cx, out, usize::MAX))
                        .map_err(BodyError::Io)?;
                    self.received += read as u64;
                    if self.received > self.limit {
                        return Poll::Ready(Err(BodyError::TooLarge(self.limit)));
                    }
                    read
                }
                _ => ready!(from.poll_more(cx, usize::MAX, buffers)).map_err(BodyError::Io)?,
            };
            // The end of the input. A body of HTTP/1 that is not done is cut short by it; a body of
            // HTTP/2 is complete, and trailers may follow.
            if read == 0 {
                if !matches!(self.state, ProgressState::Stream) {
                    return Poll::Ready(Err(BodyError::Closed));
                }
                let trailers = ready!(from.reader.poll_trailers(cx)).map_err(BodyError::Io)?;
                self.state = ProgressState::Done { trailers };
            }
        }
    }

    /// Moves what is buffered; true once the body is done.
    fn take_buffered(
        &mut self,
        from: &mut Incoming,
        out: &mut Vec<u8>,
        coding: Coding,
    ) -> Result<bool, BodyError> {
        loop {
            // What fits into `out` once the framing of a chunk has its room.
            let room = out.capacity().saturating_sub(out.len() + CHUNK_FRAMING);
            let unread = from.unread();
            let (consumed, data) = match &mut self.state {
                ProgressState::Done { .. } => return Ok(true),
                ProgressState::Broken => return Err(BodyError::Closed),
                _ if unread.is_empty() || room == 0 => return Ok(false),
                ProgressState::Stream => {
                    let take = unread.len().min(room);
                    (take, 0..take)
                }
                ProgressState::Length { left } => {
                    let take = (unread.len().min(room) as u64).min(*left) as usize;
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = ProgressState::Done {
                            trailers: Vec::new(),
                        };
                    }
                    (take, 0..take)
                }
                ProgressState::Chunked(decoder) => {
                    // The decoder sees no more than fits, so all data that it finds can be moved.
                    match decoder.next(&unread[..unread.len().min(room)])? {
                        Chunk::Data { start, end } => (end, start..end),
                        Chunk::More => (unread.len().min(room), 0..0),
                        Chunk::End { end } => {
                            self.state = ProgressState::Done {
                                trailers: decoder.trailers().to_vec(),
                            };
                            (end, 0..0)
                        }
                    }
                }
            };
            self.received += data.len() as u64;
            if self.received > self.limit {
                return Err(BodyError::TooLarge(self.limit));
            }
            append(&unread[data], coding, out);
            from.consume(consumed);
        }
    }
}

/// Bytes that the chunked coding adds to one piece at most: a size of 16 digits and two line ends.
pub(crate) const CHUNK_FRAMING: usize = 20;

/// Appends body bytes in a coding; nothing for no bytes, which would end a chunked body.
pub(crate) fn append(data: &[u8], coding: Coding, out: &mut Vec<u8>) {
    match coding {
        _ if data.is_empty() => {}
        Coding::Plain => out.extend_from_slice(data),
        Coding::Chunked => {
            write_chunk_size(data.len(), out);
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends what ends a body in a coding.
pub(crate) fn append_end(trailers: &[u8], coding: Coding, out: &mut Vec<u8>) {
    if coding == Coding::Chunked {
        out.extend_from_slice(b"0\r\n");
        out.extend_from_slice(trailers);
        out.extend_from_slice(b"\r\n");
    }
}

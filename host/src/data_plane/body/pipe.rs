//! The pipe that every body goes through, a request's and a response's alike: it is decoded piece
//! by piece as it came, and coded for the way on.
//!
//! ```text
//! received -> decode (next_piece) -> encode (append) -> out
//! ```
//!
//! Bytes that need no coding leave from the buffer that they were received in. Whatever is to see
//! or change a body stands between the two steps, in [`BodyPipe::take`].

use std::ops::Range;

use super::coding::{CHUNK_FRAMING, Coding, Encoder, append, append_end};
use crate::http::framing::{BadChunk, Chunk, ChunkedDecoder, Framing};
use crate::http::head::retain_trailers;

/// How far a body has come.
#[derive(Debug)]
pub(crate) struct BodyPipe {
    state: PipeState,
    /// The lines behind a body that is done.
    trailers: Vec<u8>,
    /// There were more than are kept.
    pub(crate) trailers_dropped: bool,
    /// Body bytes so far, without framing.
    pub(crate) length: u64,
    limit: u64,
}

#[derive(Debug)]
enum PipeState {
    Length(u64),
    Chunked(ChunkedDecoder),
    /// To the end of the connection, or of the stream of HTTP/2.
    UntilEnd,
    Done,
    /// Its end cannot be found any more.
    Broken,
}

/// A body was not what its framing says, or more than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBody {
    #[error("sent {0}")]
    Chunk(#[from] BadChunk),
    #[error("intended to send too large chunked body: {0}+ bytes")]
    TooLarge(u64),
}

/// Body bytes to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// So many, from where they were received.
    AsIs(usize),
    /// So many of those received, which were coded and appended.
    Coded(usize),
}

impl Taken {
    /// Bytes that were taken of those received.
    pub(crate) fn length(self) -> usize {
        match self {
            Taken::AsIs(length) | Taken::Coded(length) => length,
        }
    }
}

/// A piece of what was received: where the body bytes in it are, and where it ends.
struct Piece {
    data: Range<usize>,
    end: usize,
}

/// What may be left of a body that is read and dropped after its answer, so that the connection
/// can be kept: as much as Go's net/http takes (`maxPostHandlerReadBytes`).
pub(crate) const MAX_DROPPED: u64 = 256 << 10;

/// What has to be left at least of a body whose length is known for the kernel to move it,
/// splice(2): the calls for less cost as much as the copies do.
const SPLICED: u64 = 64 << 10;

/// Whether so much is left of a body that the kernel had better move it than we: by sockets that
/// nothing is above, where it goes on as it comes.
pub(crate) fn is_worth_splicing(body: &BodyPipe) -> bool {
    body.length_left().is_some_and(|left| left >= SPLICED)
}

impl BodyPipe {
    pub(crate) fn of_request(framing: Framing) -> BodyPipe {
        BodyPipe::new(match framing {
            // A request does not end with its connection.
            Framing::Length(0) | Framing::UntilClose => PipeState::Done,
            Framing::Length(left) => PipeState::Length(left),
            Framing::Chunked => PipeState::Chunked(ChunkedDecoder::default()),
            Framing::Stream(_) => PipeState::UntilEnd,
        })
    }

    pub(crate) fn of_response(framing: Framing) -> BodyPipe {
        BodyPipe::new(match framing {
            Framing::Length(0) => PipeState::Done,
            Framing::Length(left) => PipeState::Length(left),
            Framing::Chunked => PipeState::Chunked(ChunkedDecoder::of_response()),
            Framing::UntilClose | Framing::Stream(_) => PipeState::UntilEnd,
        })
    }

    fn new(state: PipeState) -> BodyPipe {
        BodyPipe {
            state,
            trailers: Vec::new(),
            trailers_dropped: false,
            length: 0,
            limit: u64::MAX,
        }
    }

    /// Accepts no more than `limit` body bytes, for a body that does not tell its length.
    pub(crate) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit.unwrap_or(u64::MAX);
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, PipeState::Done)
    }

    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.state, PipeState::Broken)
    }

    /// Only what carries it knows its end.
    pub(crate) fn ends_with_its_stream(&self) -> bool {
        matches!(self.state, PipeState::UntilEnd)
    }

    /// What is left of a body that told its length.
    pub(crate) fn length_left(&self) -> Option<u64> {
        match self.state {
            PipeState::Length(left) => Some(left),
            PipeState::Chunked(_) | PipeState::UntilEnd | PipeState::Done | PipeState::Broken => {
                None
            }
        }
    }

    /// Whether what is left is worth reading for the sake of the next request. Chunks are taken to
    /// be few until they prove to be many.
    pub(crate) fn may_be_dropped(&self) -> bool {
        match self.state {
            PipeState::Length(left) => left <= MAX_DROPPED,
            PipeState::Chunked(_) | PipeState::UntilEnd | PipeState::Done => true,
            PipeState::Broken => false,
        }
    }

    /// The trailer lines, once the body is done; empty where there were none.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Drops the trailer lines of a body that is done whose names do not pass.
    pub(crate) fn retain_trailers(&mut self, passes: impl Fn(&[u8]) -> bool) {
        if !self.trailers.is_empty() {
            retain_trailers(&mut self.trailers, passes);
        }
    }

    /// Whether bytes go on from where they were received; else [`BodyPipe::take`] needs room to
    /// code them in.
    pub(crate) fn goes_as_is(&self, encoder: &Encoder<'_>) -> bool {
        match self.state {
            // The header tells the length, on the way on as well.
            PipeState::Length(_) | PipeState::Done | PipeState::Broken => true,
            PipeState::UntilEnd => encoder.coding == Coding::Plain,
            PipeState::Chunked(_) => false,
        }
    }

    /// Takes body bytes from what was received: either some that can be written as they are, or
    /// coded ones appended to `out`, as far as there is room for them. Bytes behind the body are
    /// not taken.
    ///
    /// # Errors
    /// [`BadBody`]; the end of the body cannot be found any more.
    pub(crate) fn take(
        &mut self,
        received: &[u8],
        encoder: &Encoder<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Taken, BadBody> {
        if self.goes_as_is(encoder) {
            return Ok(Taken::AsIs(self.next_piece(received)?.end));
        }
        let mut consumed = 0;
        while self.is_open() {
            // The decoder sees no more than fits, so all data that it finds can be appended.
            let room = out.capacity().saturating_sub(out.len() + CHUNK_FRAMING);
            let rest = &received[consumed..];
            let rest = &rest[..rest.len().min(room)];
            if rest.is_empty() {
                break;
            }
            let piece = self.next_piece(rest)?;
            append(&rest[piece.data], encoder.coding, out);
            consumed += piece.end;
        }
        if self.is_done() {
            self.append_end(encoder, out);
        }
        Ok(Taken::Coded(consumed))
    }

    /// Counts bytes of a body that told its length as passed on without having been seen: no more
    /// than are left of it.
    pub(crate) fn pass_unseen(&mut self, length: usize) {
        if let PipeState::Length(left) = &mut self.state {
            let length = (length as u64).min(*left);
            *left -= length;
            self.length += length;
            if *left == 0 {
                self.state = PipeState::Done;
            }
        }
    }

    /// The next body bytes among those received, without their framing: where they are, which may
    /// be nowhere, and how many bytes that took. Bytes behind the body are not taken.
    ///
    /// # Errors
    /// As [`BodyPipe::take`].
    pub(crate) fn take_piece(&mut self, received: &[u8]) -> Result<(Range<usize>, usize), BadBody> {
        let Piece { data, end } = self.next_piece(received)?;
        Ok((data, end))
    }

    /// Hands all body bytes among those received to `each`, without their framing; returns how many
    /// bytes that took.
    ///
    /// # Errors
    /// As [`BodyPipe::take`].
    pub(crate) fn each_piece(
        &mut self,
        received: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, BadBody> {
        let mut consumed = 0;
        while self.is_open() && consumed < received.len() {
            let rest = &received[consumed..];
            let piece = self.next_piece(rest)?;
            each(&rest[piece.data]);
            consumed += piece.end;
        }
        Ok(consumed)
    }

    /// Nothing more comes, neither body nor trailers: ends a body that goes on until then.
    pub(crate) fn end_if_open(&mut self, encoder: &Encoder<'_>, out: &mut Vec<u8>) {
        if self.ends_with_its_stream() {
            self.end(Vec::new(), encoder, out);
        }
    }

    /// The source has ended, with these trailer lines; false where that is not the body's end,
    /// which cannot be found then.
    pub(crate) fn end(
        &mut self,
        trailers: Vec<u8>,
        encoder: &Encoder<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        if !self.ends_with_its_stream() {
            self.state = PipeState::Broken;
            return false;
        }
        self.trailers = trailers;
        self.state = PipeState::Done;
        self.append_end(encoder, out);
        true
    }

    fn append_end(&mut self, encoder: &Encoder<'_>, out: &mut Vec<u8>) {
        self.retain_trailers(encoder.passes_trailer);
        append_end(&self.trailers, encoder.coding, out);
    }

    /// More is to come.
    fn is_open(&self) -> bool {
        !self.is_done() && !self.is_broken()
    }

    fn next_piece(&mut self, received: &[u8]) -> Result<Piece, BadBody> {
        let piece = self.decode(received);
        if piece.is_err() {
            self.state = PipeState::Broken;
        }
        piece
    }

    fn decode(&mut self, received: &[u8]) -> Result<Piece, BadBody> {
        let (data, end) = match &mut self.state {
            PipeState::Done | PipeState::Broken => (0..0, 0),
            PipeState::UntilEnd => (0..received.len(), received.len()),
            PipeState::Length(left) => {
                let length = (received.len() as u64).min(*left) as usize;
                *left -= length as u64;
                if *left == 0 {
                    self.state = PipeState::Done;
                }
                (0..length, length)
            }
            PipeState::Chunked(decoder) => match decoder.next(received)? {
                Chunk::Data { start, end } => (start..end, end),
                Chunk::More => (0..0, received.len()),
                Chunk::End { end } => {
                    self.trailers_dropped = decoder.trailers_were_dropped();
                    self.trailers = decoder.trailers().to_vec();
                    self.state = PipeState::Done;
                    (0..0, end)
                }
            },
        };
        self.length += data.len() as u64;
        match self.length > self.limit {
            true => Err(BadBody::TooLarge(self.limit)),
            false => Ok(Piece { data, end }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A body as the client has it, from one received in pieces that end at `cuts`.
    fn passed(framing: Framing, received: &[u8], cuts: &[usize], coding: Coding) -> Vec<u8> {
        let encoder = Encoder {
            coding,
            ..Encoder::PLAIN
        };
        let (mut body, mut sent) = (BodyPipe::of_response(framing), Vec::new());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (received.len() + 1)).collect();
        ends.push(received.len());
        ends.sort_unstable();
        let mut start = 0;
        for end in ends {
            let mut unread = &received[start..end];
            loop {
                let mut out = Vec::with_capacity(CHUNK_FRAMING + 8);
                let (consumed, as_is) = match body.take(unread, &encoder, &mut out).unwrap() {
                    Taken::AsIs(length) => (length, &unread[..length]),
                    Taken::Coded(consumed) => (consumed, &[][..]),
                };
                sent.extend_from_slice(&out);
                sent.extend_from_slice(as_is);
                unread = &unread[consumed..];
                if unread.is_empty() || body.is_done() {
                    break;
                }
            }
            start = end;
        }
        if !body.is_done() {
            assert!(body.end(Vec::new(), &encoder, &mut sent), "cut");
        }
        sent
    }

    fn chunked(pieces: &[Vec<u8>], trailers: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in pieces {
            append(piece, Coding::Chunked, &mut out);
        }
        append_end(trailers, Coding::Chunked, &mut out);
        out
    }

    fn decoded(mut chunks: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut decoder, mut data) = (ChunkedDecoder::default(), Vec::new());
        loop {
            match decoder.next(chunks).unwrap() {
                Chunk::Data { start, end } => {
                    data.extend_from_slice(&chunks[start..end]);
                    chunks = &chunks[end..];
                }
                Chunk::End { .. } => return (data, decoder.trailers().to_vec()),
                Chunk::More => panic!("no end"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_however_it_was_framed_and_however_it_arrives(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            trailers in prop_oneof![Just(&b""[..]), Just(&b"X: y\r\n"[..])],
            cuts in proptest::collection::vec(any::<usize>(), 0..8),
        ) {
            let whole = pieces.concat();
            let chunks = chunked(&pieces, trailers);
            let length = Framing::Length(whole.len() as u64);
            for (framing, received) in [
                (length, &whole),
                (Framing::UntilClose, &whole),
                (Framing::Stream(None), &whole),
                (Framing::Chunked, &chunks),
            ] {
                let plain = passed(framing, received, &cuts, Coding::Plain);
                prop_assert_eq!(&plain, &whole, "{:?}", framing);
                if framing == length {
                    // Its length goes with it, and it is never coded.
                    continue;
                }
                let (data, passed_trailers) =
                    decoded(&passed(framing, received, &cuts, Coding::Chunked));
                prop_assert_eq!(&data, &whole, "{:?}", framing);
                let expected = if framing == Framing::Chunked { trailers } else { b"" };
                prop_assert_eq!(passed_trailers, expected, "{:?}", framing);
            }
        }
    }

    proptest! {
        /// What is read ahead of a request, or dropped behind its answer.
        #[test]
        fn all_of_a_body_and_nothing_behind_it_is_taken(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..6),
            behind in proptest::collection::vec(any::<u8>(), 0..40),
            cuts in proptest::collection::vec(any::<usize>(), 0..8),
        ) {
            let whole = pieces.concat();
            for (framing, mut received) in [
                (Framing::Length(whole.len() as u64), whole.clone()),
                (Framing::Chunked, chunked(&pieces, b"X: y\r\n")),
            ] {
                let length = received.len();
                received.extend_from_slice(&behind);
                let mut ends: Vec<usize> =
                    cuts.iter().map(|cut| cut % (received.len() + 1)).collect();
                ends.push(received.len());
                ends.sort_unstable();
                let (mut body, mut data) = (BodyPipe::of_request(framing), Vec::new());
                let mut taken = 0;
                for end in ends {
                    taken += body
                        .each_piece(&received[taken..end.max(taken)], |piece| {
                            data.extend_from_slice(piece);
                        })
                        .unwrap();
                }
                prop_assert!(body.is_done());
                prop_assert_eq!(taken, length);
                prop_assert_eq!(body.length, whole.len() as u64);
                prop_assert_eq!(&data, &whole);
            }
        }
    }

    #[test]
    fn a_body_past_its_limit_is_refused_and_has_no_end_any_more() {
        let mut body = BodyPipe::of_request(Framing::Chunked);
        body.set_limit(Some(3));
        assert_eq!(body.each_piece(b"3\r\nabc\r\n", |_| ()), Ok(8));
        assert_eq!(
            body.each_piece(b"1\r\nd\r\n", |_| ()),
            Err(BadBody::TooLarge(3))
        );
        assert!(body.is_broken() && !body.may_be_dropped());
    }

    #[test]
    fn a_body_that_is_shorter_than_its_length_has_no_end() {
        for (framing, received) in [
            (Framing::Length(5), &b"four"[..]),
            (Framing::Chunked, b"5\r\nfour"),
        ] {
            let (mut body, mut out) = (BodyPipe::of_response(framing), Vec::with_capacity(64));
            body.take(received, &Encoder::PLAIN, &mut out).unwrap();
            assert!(!body.is_done());
            assert!(
                !body.end(Vec::new(), &Encoder::PLAIN, &mut out),
                "{framing:?}"
            );
        }
    }
}

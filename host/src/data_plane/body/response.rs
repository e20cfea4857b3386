//! A response's body on its way: decoded as it came, coded as the client has it.

use super::{CHUNK_FRAMING, Coding, PassesTrailer, append, append_end};
use crate::http::framing::{BadChunk, Chunk, ChunkedDecoder, Framing};
use crate::http::head::retain_trailers;

/// How far a response's body was passed on.
pub(crate) struct ResponseBody<'a> {
    state: BodyState,
    /// Without it, all trailers go on.
    passes_trailer: Option<PassesTrailer<'a>>,
    /// The lines behind a body that is done.
    trailers: Vec<u8>,
    /// There were more than are kept.
    pub(crate) trailers_dropped: bool,
    /// Body bytes passed on, without framing.
    pub(crate) passed: u64,
}

enum BodyState {
    Length(u64),
    Chunked(ChunkedDecoder),
    /// Of the connection, or of the stream of HTTP/2.
    UntilClose,
    Done,
}

/// Body bytes to be written to the client.
pub(crate) enum TakenBody {
    /// So many, from where they were received.
    AsIs(usize),
    /// So many of those received, which were coded and appended.
    Coded(usize),
}

impl<'a> ResponseBody<'a> {
    pub(crate) fn new(framing: Framing) -> ResponseBody<'a> {
        let state = match framing {
            Framing::Length(0) => BodyState::Done,
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::Chunked(ChunkedDecoder::of_response()),
            Framing::UntilClose | Framing::Stream(_) => BodyState::UntilClose,
        };
        ResponseBody {
            state,
            passes_trailer: None,
            trailers: Vec::new(),
            trailers_dropped: false,
            passed: 0,
        }
    }

    /// Drops the trailers whose names do not pass.
    pub(crate) fn passing_trailers(self, passes: PassesTrailer<'a>) -> ResponseBody<'a> {
        let passes_trailer = Some(passes);
        ResponseBody {
            passes_trailer,
            ..self
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, BodyState::Done)
    }

    /// The trailer lines, once the body is done; empty where there were none.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes body bytes from what was received: either some that can be written as they are, or
    /// coded ones appended to `out`.
    ///
    /// # Errors
    /// Where the coding is broken.
    pub(crate) fn take(
        &mut self,
        unread: &[u8],
        coding: Coding,
        out: &mut Vec<u8>,
    ) -> Result<TakenBody, BadChunk> {
        match (&mut self.state, coding) {
            (BodyState::Done, _) => Ok(TakenBody::Coded(0)),
            (BodyState::Length(left), _) => {
                // The header tells the length, so the bytes go on as they are in either case. Bytes
                // behind the body are not taken.
                let length = (unread.len() as u64).min(*left) as usize;
                *left -= length as u64;
                if *left == 0 {
                    self.state = BodyState::Done;
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
                    // One call finds one piece of data; its positions count from `consumed`.
                    match decoder.next(&unread[consumed..])? {
                        Chunk::Data { start, end } => {
                            append(&unread[consumed + start..consumed + end], coding, out);
                            self.passed += (end - start) as u64;
                            consumed += end;
                        }
                        Chunk::More => return Ok(TakenBody::Coded(unread.len())),
                        Chunk::End { end } => {
                            let trailers = decoder.trailers().to_vec();
                            self.trailers_dropped = decoder.trailers_were_dropped();
                            self.end_with(trailers, coding, out);
                            return Ok(TakenBody::Coded(consumed + end));
                        }
                    }
                }
            }
        }
    }

    /// Nothing more comes, neither body nor trailers: ends a body that goes on until then.
    pub(crate) fn end_if_open(&mut self, coding: Coding, out: &mut Vec<u8>) {
        if matches!(self.state, BodyState::UntilClose) {
            self.state = BodyState::Done;
            append_end(b"", coding, out);
        }
    }

    /// The source has ended, with these trailer lines; false where that is not the body's end.
    pub(crate) fn end(&mut self, trailers: Vec<u8>, coding: Coding, out: &mut Vec<u8>) -> bool {
        let open = matches!(self.state, BodyState::UntilClose);
        if open {
            self.end_with(trailers, coding, out);
        }
        open
    }

    fn end_with(&mut self, trailers: Vec<u8>, coding: Coding, out: &mut Vec<u8>) {
        self.trailers = trailers;
        if let Some(passes) = self.passes_trailer
            && !self.trailers.is_empty()
        {
            retain_trailers(&mut self.trailers, passes);
        }
        self.state = BodyState::Done;
        append_end(&self.trailers, coding, out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A body as the client has it, from one received in pieces that end at `cuts`.
    fn passed(framing: Framing, received: &[u8], cuts: &[usize], coding: Coding) -> Vec<u8> {
        let (mut body, mut sent) = (ResponseBody::new(framing), Vec::new());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (received.len() + 1)).collect();
        ends.push(received.len());
        ends.sort_unstable();
        let mut start = 0;
        for end in ends {
            let mut unread = &received[start..end];
            loop {
                let mut out = Vec::with_capacity(8);
                let (consumed, as_is) = match body.take(unread, coding, &mut out).unwrap() {
                    TakenBody::AsIs(length) => (length, &unread[..length]),
                    TakenBody::Coded(consumed) => (consumed, &[][..]),
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
            assert!(body.end(Vec::new(), coding, &mut sent), "cut");
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

    #[test]
    fn a_body_that_is_shorter_than_its_length_has_no_end() {
        for (framing, received) in [
            (Framing::Length(5), &b"four"[..]),
            (Framing::Chunked, b"5\r\nfour"),
        ] {
            let (mut body, mut out) = (ResponseBody::new(framing), Vec::with_capacity(64));
            body.take(received, Coding::Plain, &mut out).unwrap();
            assert!(!body.is_done());
            assert!(
                !body.end(Vec::new(), Coding::Plain, &mut out),
                "{framing:?}"
            );
        }
    }
}

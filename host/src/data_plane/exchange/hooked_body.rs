//! A response's body as hooks make it: a source like any other, with the real one behind it.

use super::body_hooks::BodyHooks;
use super::source::{Meanwhile, PassError, ResponseSource};
use crate::data_plane::body::{BodyPipe, Encoder, PIECE, Stage};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::content_coding::{Operation, Recoder};
use crate::data_plane::upstream::BodyFailure;

/// Bytes in gzip that are decompressed at once: they may stand for a thousand times as many. Others
/// have their turn behind each such piece.
const CODED_PIECE: usize = 1 << 10;

/// What hooks make of a body.
pub(super) struct HookedBody<'a, 'u> {
    /// Where it comes from, and how far it has come there.
    pub(super) source: ResponseSource<'a, 'u>,
    pub(super) body: BodyPipe,
    pub(super) gunzip: Option<Recoder>,
    pub(super) hooks: Box<BodyHooks>,
    /// What goes on, and how much of it has gone.
    pub(super) out: Vec<u8>,
    pub(super) gone: usize,
    /// Nothing follows what is in `out`.
    pub(super) ended: bool,
}

impl<'a, 'u> HookedBody<'a, 'u> {
    /// Has hooks see what has to be seen before the head leaves.
    pub(super) async fn begin(&mut self, buffers: &Buffers) -> Result<(), PassError> {
        match self.hooks.gather() {
            true => self.read(buffers).await.map(|_| ()),
            false => self.advance().await,
        }
    }

    /// Has hooks see what was received, until something goes on.
    async fn advance(&mut self) -> Result<(), PassError> {
        while self.gone == self.out.len() && !self.ended {
            let unread = self.source.unread();
            let most = match self.gunzip {
                Some(_) => CODED_PIECE,
                None => PIECE,
            };
            let taken = self.body.take_piece(&unread[..unread.len().min(most)]);
            let (data, taken) = taken.map_err(|_| PassError::Source(BodyFailure::BadChunk))?;
            if taken == unread.len() && self.source.has_ended() {
                self.body.end_if_open(&Encoder::PLAIN, &mut Vec::new());
            }
            let done = self.body.is_done();
            if taken == 0 && !done {
                return Ok(());
            }
            self.out.clear();
            self.gone = 0;
            if done || !data.is_empty() {
                let end = done.then(|| self.body.trailers());
                let (piece, out) = (&unread[data], &mut self.out);
                match &mut self.gunzip {
                    None => self
                        .hooks
                        .pass(piece, end, out)
                        .map_err(PassError::Stopped)?,
                    Some(gunzip) => decode(gunzip, piece, end, &mut self.hooks, out)?,
                }
            }
            self.source.consume(taken);
            if done {
                // As in `pass_straight`: before the client has the last byte.
                self.source.note_end();
                self.ended = true;
            }
            if self.gunzip.is_some() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.out[self.gone..]
    }

    pub(super) fn unread_meanwhile(&mut self, done: bool) -> (&[u8], Meanwhile<'_, 'u>) {
        let (_, meanwhile) = self.source.unread_meanwhile(done);
        (&self.out[self.gone..], meanwhile)
    }

    pub(super) fn consume(&mut self, length: usize) {
        self.gone += length;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended && self.body.trailers().is_empty()
    }

    pub(super) fn trailers(&self) -> Vec<u8> {
        self.body.trailers().to_vec()
    }

    /// Reads until something goes on; 0 at the end.
    ///
    /// # Errors
    /// As [`ResponseSource::read`], or a hook has failed.
    pub(super) async fn read(&mut self, buffers: &Buffers) -> Result<usize, PassError> {
        loop {
            self.advance().await?;
            let length = self.unread().len();
            if length > 0 || self.ended {
                return Ok(length);
            }
            // What was large is not held while the source pauses.
            (self.out, self.gone) = (Vec::new(), 0);
            if self.source.read(buffers).await? == 0 {
                let trailers = self.source.read_trailers().await;
                let trailers = trailers.map_err(PassError::Source)?;
                if !(self.body).end(trailers, &Encoder::PLAIN, &mut Vec::new()) {
                    return Err(PassError::Source(BodyFailure::Closed));
                }
            }
        }
    }

    pub(super) fn give_back(self, body: &mut BodyPipe, source: &mut ResponseSource<'a, 'u>) {
        *body = self.body;
        *source = self.source;
    }
}

/// Decompresses a piece for hooks.
fn decode(
    gunzip: &mut Recoder,
    mut piece: &[u8],
    end: Option<&[u8]>,
    hooks: &mut BodyHooks,
    out: &mut Vec<u8>,
) -> Result<(), PassError> {
    let operation = match end {
        Some(_) => Operation::Finish,
        None => Operation::Flush,
    };
    loop {
        let step = gunzip.code(piece, operation, 0);
        let step = step.map_err(PassError::Content)?;
        piece = &piece[step.taken..];
        let done = piece.is_empty() && step.done;
        let text = &gunzip.output()[..step.written];
        let end = end.filter(|_| done);
        if end.is_some() || !text.is_empty() {
            hooks.pass(text, end, out).map_err(PassError::Stopped)?;
        }
        if done {
            return Ok(());
        }
    }
}

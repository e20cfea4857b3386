//! The body that a component answers with, as what it is sent on from.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::source::PassError;
use super::feed::Feed;
use crate::data_plane::stream::Alarm;
use crate::http::head::trailer_lines;
use crate::plugin::{AnswerBody, AnswerPart, Unfinished};

/// Why an answer of a component is not whole.
#[derive(Debug, thiserror::Error)]
pub(in crate::data_plane::exchange) enum BrokenAnswer {
    #[error("{0}")]
    Unfinished(#[from] Unfinished),
    #[error("it sent nothing of its answer within its `limits.wait` ({0:?})")]
    TimedOut(Duration),
    #[error("client prematurely closed connection")]
    ClientGone,
}

/// The body.
pub(in crate::data_plane::exchange) struct ComponentSource<'a> {
    pub(super) body: AnswerBody,
    /// What was received of it and not consumed.
    pub(super) piece: Bytes,
    /// Lines behind it, once it has ended.
    pub(super) trailers: Vec<u8>,
    pub(super) has_ended: bool,
    /// The request's, which may still be coming in.
    pub(super) feed: Feed<'a>,
    pub(super) wait: Duration,
    pub(super) alarm: Alarm,
}

impl ComponentSource<'_> {
    pub(in crate::data_plane::exchange) fn unread(&self) -> &[u8] {
        &self.piece
    }

    pub(in crate::data_plane::exchange) fn consume(&mut self, length: usize) {
        let _ = self.piece.split_to(length);
    }

    pub(in crate::data_plane::exchange) fn has_ended(&self) -> bool {
        self.has_ended && self.trailers.is_empty()
    }

    /// What is unread, and the request beside it.
    pub(in crate::data_plane::exchange) fn unread_and_feed(&mut self) -> (&[u8], &mut dyn Beside) {
        (&self.piece, &mut self.feed)
    }

    pub(in crate::data_plane::exchange) fn take_trailers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.trailers)
    }

    /// Waits for more; 0 at the end.
    ///
    /// # Errors
    /// It breaks off, or the client leaves.
    pub(in crate::data_plane::exchange) async fn read(&mut self) -> Result<usize, PassError> {
        if self.has_ended {
            return Ok(0);
        }
        let mut due = Instant::now() + self.wait;
        #[allow(clippy::disallowed_methods, reason = "an alarm bounds it within")]
        let read = poll_fn(|cx| self.poll_read(cx, &mut due)).await;
        read.map_err(PassError::Component)
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        due: &mut Instant,
    ) -> Poll<Result<usize, BrokenAnswer>> {
        loop {
            match self.body.poll_next(cx) {
                Poll::Ready(Some(Ok(AnswerPart::Data(data)))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(AnswerPart::Data(data)))) => {
                    self.piece = data;
                    return Poll::Ready(Ok(self.piece.len()));
                }
                Poll::Ready(Some(Ok(AnswerPart::Trailers(trailers)))) => {
                    self.trailers = trailer_lines(&trailers);
                }
                Poll::Ready(Some(Err(unfinished))) => return Poll::Ready(Err(unfinished.into())),
                Poll::Ready(None) => {
                    self.has_ended = true;
                    return Poll::Ready(Ok(0));
                }
                Poll::Pending => break,
            }
        }
        self.feed.poll_beside(cx);
        if self.feed.is_client_gone(cx) {
            return Poll::Ready(Err(BrokenAnswer::ClientGone));
        }
        if std::mem::take(&mut self.feed.has_moved) {
            *due = Instant::now() + self.wait;
        }
        self.feed
            .poll_due(&mut self.alarm, cx, *due)
            .map(|()| Err(BrokenAnswer::TimedOut(self.wait)))
    }
}

/// What goes on beside the writing of an answer.
pub(in crate::data_plane::exchange) trait Beside {
    /// To be called each time that the task is woken.
    fn poll(&mut self, cx: &mut Context<'_>);
}

impl Beside for Feed<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        self.poll_beside(cx);
    }
}

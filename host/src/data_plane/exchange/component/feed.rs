//! A request's body on its way to a component, piece by piece as the component takes it.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::body_hooks::BodyHooks;
use super::super::wait::LOOK;
use crate::data_plane::body::{BodyError, BodyPipe, Encoder, Incoming, PIECE, Stage};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::stream::{Alarm, TimedOut};
use crate::http::head::http2_trailers;
use crate::plugin::ClientBodySender;

/// The way of the body.
pub(in crate::data_plane::exchange) struct Feed<'a> {
    pub(super) body: &'a mut BodyPipe,
    pub(super) incoming: &'a mut Incoming,
    pub(super) buffers: &'a Buffers,
    pub(super) hooks: Option<Box<BodyHooks>>,
    /// What was read before.
    pub(super) ahead: Bytes,
    /// Which trailers the component gets: those that a server would.
    pub(super) passes_trailer: &'a dyn Fn(&[u8]) -> bool,
    /// None once the component has all of it, or wants no more.
    pub(super) to: Option<ClientBodySender>,
    /// Between two reads.
    pub(super) timeout: Duration,
    /// By when the client has to have sent more; none while it is not waited for.
    pub(super) due: Option<Instant>,
    /// Something was handed over since this was last taken.
    pub(super) has_moved: bool,
    /// Why it cannot be read to its end.
    pub(super) failed: Option<BodyError>,
    /// When the socket is asked whether the client has left, and whether it has.
    pub(super) look: Option<Instant>,
    pub(super) is_gone: bool,
}

impl Feed<'_> {
    /// Hands over what there is and the component takes; ready where nothing more can come of it.
    /// To be called each time that the task is woken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(to) = &self.to else {
                return Poll::Ready(());
            };
            match to.poll_wanted(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => {
                    self.to = None;
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    self.due = None;
                    return Poll::Pending;
                }
            }
            if !self.ahead.is_empty() {
                let piece = self.ahead.split_to(self.ahead.len().min(PIECE));
                to.send(piece);
                self.has_moved = true;
                continue;
            }
            if self.body.is_done() {
                self.end();
                return Poll::Ready(());
            }
            match self.poll_piece(cx) {
                Poll::Ready(Ok(())) => self.due = None,
                Poll::Ready(Err(error)) => {
                    self.break_off(error);
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    // No buffer is held while the client pauses.
                    self.incoming.release(self.buffers);
                    let timeout = self.timeout;
                    self.due.get_or_insert_with(|| Instant::now() + timeout);
                    return Poll::Pending;
                }
            }
        }
    }

    fn break_off(&mut self, error: BodyError) {
        if let Some(to) = self.to.take() {
            to.break_off();
        }
        self.failed = Some(error);
    }

    fn end(&mut self) {
        self.body.retain_trailers(self.passes_trailer);
        let trailers = http2_trailers(self.body.trailers()).unwrap_or_default();
        if let Some(to) = self.to.take() {
            to.end(trailers);
        }
    }

    /// Reads a piece and hands it over.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let end = (&Encoder::PLAIN, &mut Vec::new());
        ready!(self.incoming.poll_body(cx, self.body, end, self.buffers))?;
        let unread = self.incoming.unread();
        let (data, taken) = self.body.take_piece(&unread[..unread.len().min(PIECE)])?;
        let end = self.body.is_done().then(|| self.body.trailers());
        let mut piece = Vec::new();
        match &mut self.hooks {
            Some(hooks) if end.is_some() || !data.is_empty() => {
                hooks.pass(&unread[data], end, &mut piece)?;
            }
            Some(_) => {}
            None => piece.extend_from_slice(&unread[data]),
        }
        self.incoming.consume(taken);
        self.has_moved = true;
        if let Some(to) = &self.to
            && !piece.is_empty()
        {
            to.send(piece.into());
        }
        Poll::Ready(Ok(()))
    }

    /// As [`poll`](Feed::poll), while the answer is written. What the component does not want is read
    /// and dropped: the client may send all of it before it reads.
    pub(super) fn poll_beside(&mut self, cx: &mut Context<'_>) {
        if self.poll(cx).is_ready() && self.failed.is_none() {
            // The route's limit is on what the component gets.
            self.body.set_limit(None);
            // An error shows in `body` as well, and does not concern the answer.
            let _ = self.incoming.poll_drop(cx, self.body, self.buffers);
        }
    }

    /// Whether the client has left: at once, as far as that shows without reading, and else within a
    /// second.
    pub(super) fn is_client_gone(&self, cx: &mut Context<'_>) -> bool {
        let reads = self.to.is_some() && self.due.is_some();
        let hides = !self.incoming.unread().is_empty();
        !reads && (self.is_gone || !hides && self.incoming.reader.poll_closed(cx).is_ready())
    }

    /// Ready once the component was waited for until `due`. A client that is waited for for too long
    /// breaks its body off.
    pub(super) fn poll_due(
        &mut self,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
        due: Instant,
    ) -> Poll<()> {
        let first = self.due.map_or(due, |of_client| of_client.min(due));
        let look = *self.look.get_or_insert_with(|| Instant::now() + LOOK);
        let _: TimedOut = ready!(alarm.poll_due(cx, first.min(look)));
        if look < first {
            self.look = None;
            self.is_gone = self.incoming.reader.is_hung_up();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.due.is_some_and(|of_client| of_client < due) {
            self.break_off(BodyError::TimedOut);
            // What that means for the component shows when it is polled again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

//! A request on its way to an endpoint: first the head and what was read of the body, then the rest
//! of the body as the client sends it.
//!
//! Driven by the code that waits for the endpoint's answer: there is one task for both directions.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::{BodyFailure, Failure};
use crate::data_plane::body::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, PassesTrailer, append_end,
};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::stream::{Alarm, Writer};

/// A request on its way to an endpoint.
pub(crate) struct Upload<'a> {
    /// The head, and as much of the body as was read beforehand.
    head: &'a [u8],
    body: &'a [u8],
    /// Of both together.
    written: usize,
    client: &'a mut Incoming,
    rest: Option<Rest<'a>>,
    /// Over HTTP/2: the trailer lines of a request that is there as a whole. None where it stays
    /// open.
    end: Option<&'a [u8]>,
    state: UploadState,
    /// Something of the rest was read, and cannot be sent again.
    pub(super) consumed: bool,
    pub(crate) bytes_sent: u64,
    alarm: Alarm,
    due: Option<Instant>,
    send_timeout: Duration,
    body_timeout: Duration,
    pub(super) buffers: &'a Buffers,
}

/// The part of a body that is passed on as it arrives.
struct Rest<'a> {
    progress: &'a mut BodyProgress,
    coding: Coding,
    passes_trailer: PassesTrailer<'a>,
    /// Empty and without capacity while the client sends nothing.
    out: Vec<u8>,
    written: usize,
    ended: bool,
}

enum UploadState {
    Sending,
    Sent,
    Failed(Option<Failure>),
}

impl<'a> Upload<'a> {
    /// `rest`: what is still to be read from the client after `body`, how it is coded, and which of
    /// its trailers go on. `end`: the trailer lines of a request that HTTP/2 carries and that is
    /// there as a whole.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a request, each borrowed for its own time"
    )]
    pub(crate) fn new(
        head: &'a [u8],
        body: &'a [u8],
        client: &'a mut Incoming,
        rest: Option<(&'a mut BodyProgress, Coding, PassesTrailer<'a>)>,
        end: Option<&'a [u8]>,
        send_timeout: Duration,
        body_timeout: Duration,
        buffers: &'a Buffers,
    ) -> Upload<'a> {
        let rest = rest.map(|(progress, coding, passes_trailer)| Rest {
            progress,
            coding,
            passes_trailer,
            out: Vec::new(),
            written: 0,
            ended: false,
        });
        let (written, bytes_sent, state, consumed) = (0, 0, UploadState::Sending, false);
        let (alarm, due) = (Alarm::default(), None);
        Upload {
            head,
            body,
            written,
            client,
            rest,
            end,
            state,
            consumed,
            bytes_sent,
            alarm,
            due,
            send_timeout,
            body_timeout,
            buffers,
        }
    }

    /// Everything was sent.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.state, UploadState::Sent)
    }

    /// Nothing more will be sent.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, UploadState::Sending)
    }

    /// Gives the client's direction back; what was not sent will not be.
    pub(crate) fn into_client(self) -> &'a mut Incoming {
        self.client
    }

    /// Why sending failed, if it did.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        match &mut self.state {
            UploadState::Failed(failure) => failure.take(),
            UploadState::Sending | UploadState::Sent => None,
        }
    }

    /// Sends what can be sent now; ready when there is nothing more to do, be it because of a
    /// failure.
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>, writer: &mut Writer) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        self.state = match ready!(self.poll_send(cx, writer)) {
            Ok(()) => UploadState::Sent,
            Err(failure) => UploadState::Failed(Some(failure)),
        };
        Poll::Ready(())
    }

    /// As [`Upload::poll_drive`], while the response is on its way to the client. Where the
    /// endpoint takes no more of the request, the rest of it is read and dropped: a client may send
    /// all of a request before it reads.
    pub(crate) fn drive_or_drop(&mut self, cx: &mut Context<'_>, writer: &mut Writer) {
        if self.poll_drive(cx, writer).is_pending() {
            return;
        }
        if let (UploadState::Failed(_), Some(rest)) = (&self.state, &mut self.rest) {
            if rest.out.capacity() == 0 {
                rest.out = self.buffers.take_body();
            }
            // An error shows in `progress` as well, and does not concern the response.
            let _ = (rest.progress).poll_drop(cx, self.client, &mut rest.out, self.buffers);
        }
    }

    /// Sends no more: the endpoint has said all that it has to say.
    pub(crate) fn give_up(&mut self) {
        if !self.is_over() {
            self.state = UploadState::Failed(None);
        }
    }

    /// Whether what is left of the request is worth reading for the sake of the client's next one.
    pub(crate) fn may_be_dropped(&self) -> bool {
        let rest = self.rest.as_ref();
        rest.is_none_or(|rest| rest.progress.may_be_dropped())
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
    ) -> Poll<Result<(), Failure>> {
        // The request is there as a whole and has no trailers: over HTTP/2, the last DATA frame
        // carries END_STREAM.
        if let (None, Some([]), Some(stream)) = (&self.rest, self.end, writer.http2()) {
            stream.end_with_next_write();
        }
        // `written` counts through the head and on into the body. What is left of each goes out in
        // one call.
        while self.written < self.head.len() + self.body.len() {
            let head = &self.head[self.written.min(self.head.len())..];
            let body = &self.body[self.written.saturating_sub(self.head.len())..];
            let written = ready!(
                self.poll_write(cx, writer, |cx, writer| writer.poll_write(cx, head, body))
            )?;
            self.written += written;
        }
        let Some(mut rest) = self.rest.take() else {
            // Trailers, or END_STREAM where no DATA frame has carried it: a stream that has ended
            // already stays as it is.
            if let (Some(trailers), Some(stream)) = (self.end, writer.http2()) {
                stream.end(trailers)?;
            }
            return self.poll_flush(cx, writer);
        };
        // `rest` is out of `self` meanwhile, which the call borrows as a whole. The buffer is given
        // back as soon as there is nothing more to send, or sending has failed.
        let sent = self.poll_send_rest(cx, writer, &mut rest);
        if sent.is_ready() {
            self.buffers.give(std::mem::take(&mut rest.out));
        }
        self.rest = Some(rest);
        sent
    }

    fn poll_send_rest(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        rest: &mut Rest<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            // All of a piece is sent before the next one is read: a slow endpoint slows the client.
            while rest.written < rest.out.len() {
                let unsent = &rest.out[rest.written..];
                rest.written += ready!(
                    self.poll_write(cx, writer, |cx, writer| writer.poll_write(cx, unsent, &[]))
                )?;
            }
            rest.out.clear();
            rest.written = 0;
            if rest.ended {
                // Over HTTP/1, the end is part of what was written, see `append_end` below.
                if let Some(stream) = writer.http2() {
                    stream.end(rest.progress.trailers())?;
                }
                return self.poll_flush(cx, writer);
            }
            if rest.out.capacity() == 0 {
                rest.out = self.buffers.take_body();
            }
            match rest
                .progress
                .poll_move(cx, self.client, &mut rest.out, rest.coding, self.buffers)
            {
                Poll::Ready(moved) => moved.map_err(Failure::Request)?,
                Poll::Pending => {
                    // The client has sent nothing more yet. No buffer is held while it is waited
                    // for.
                    if rest.out.is_empty() {
                        self.buffers.give(std::mem::take(&mut rest.out));
                    }
                    ready!(self.poll_due(cx, self.body_timeout));
                    return Poll::Ready(Err(Failure::Request(BodyError::TimedOut)));
                }
            }
            // The client has sent something, so its time starts anew. Those bytes are kept nowhere:
            // the request cannot be sent to another endpoint any more.
            self.due = None;
            self.consumed = true;
            if rest.progress.is_done() {
                rest.ended = true;
                rest.progress.retain_trailers(rest.passes_trailer);
                // Without trailers, the last DATA frame carries END_STREAM. Where `out` is empty
                // there is no further write, and `end` above sends it.
                if let (Some(stream), []) = (writer.http2(), rest.progress.trailers()) {
                    stream.end_with_next_write();
                }
                rest.out
                    .reserve(CHUNK_FRAMING + rest.progress.trailers().len());
                append_end(rest.progress.trailers(), rest.coding, &mut rest.out);
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        write: impl FnOnce(&mut Context<'_>, &mut Writer) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<usize, Failure>> {
        match write(cx, writer) {
            Poll::Ready(Ok(written)) => {
                self.due = None;
                self.bytes_sent += written as u64;
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Send(error))),
            Poll::Pending => self
                .poll_due(cx, self.send_timeout)
                .map(|()| Err(Failure::SendTimeout)),
        }
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
    ) -> Poll<Result<(), Failure>> {
        match writer.poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Failure::Send)),
            Poll::Pending => self
                .poll_due(cx, self.send_timeout)
                .map(|()| Err(Failure::SendTimeout)),
        }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        // One deadline for whatever is waited for now, the client or the endpoint: set when the
        // wait begins, cleared by progress.
        let due = *self.due.get_or_insert_with(|| Instant::now() + limit);
        self.alarm.poll_due(cx, due).map(|_| ())
    }

    /// Once sending is over: whether it is worth waiting for an answer. A failure to write is, the
    /// endpoint may have answered and closed; a failure to read the request is not, nor is a client
    /// that left.
    pub(super) fn check_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if let UploadState::Failed(failure @ Some(Failure::Request(_) | Failure::SendTimeout)) =
            &mut self.state
        {
            return failure.take().map_or(Ok(()), Err);
        }
        match self.poll_client_gone(cx) {
            Poll::Ready(()) => Err(Failure::ClientGone),
            Poll::Pending => Ok(()),
        }
    }

    /// Once sending is over, while the answer is passed on: ready if the client has left, or its
    /// request broke off. That an endpoint takes no more of the request does not break the
    /// response.
    pub(super) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<BodyFailure> {
        if let UploadState::Failed(failure @ Some(Failure::Request(_))) = &mut self.state
            && let Some(Failure::Request(error)) = failure.take()
        {
            return Poll::Ready(match error {
                BodyError::Closed | BodyError::Io(_) => BodyFailure::ClientGone,
                error => BodyFailure::Request(error),
            });
        }
        self.poll_client_gone(cx).map(|()| BodyFailure::ClientGone)
    }

    /// Ready once the client has left. One that has sent its next request already is taken to be
    /// there.
    fn poll_client_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.client.unread().is_empty() {
            self.client.reader.poll_closed(cx)
        } else {
            Poll::Pending
        }
    }
}

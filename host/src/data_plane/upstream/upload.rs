//! A request on its way to an endpoint: first the head and what was read of the body, then the rest
//! of the body as the client sends it.
//!
//! Driven by the code that waits for the endpoint's answer: there is one task for both directions.

use std::io;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::{BodyFailure, Failure};
use crate::data_plane::body::{
    BadBody, BodyError, BodyPipe, Encoder, Incoming, PIECE, Stage, Taken, append, append_end,
    is_worth_splicing,
};
use crate::data_plane::buffers::{Buffers, LentPipe, ROUNDS};
use crate::data_plane::stream::{Alarm, Writer};
use crate::data_plane::turn;

/// A request on its way to an endpoint.
pub(crate) struct Upload<'a> {
    /// The head, and as much of the body as was read beforehand.
    head: &'a [u8],
    body: &'a [u8],
    /// Of both together.
    written: usize,
    /// None for a request of our own, which nobody can leave.
    client: Option<&'a mut Incoming>,
    rest: Option<Rest<'a>>,
    /// Over HTTP/2: the trailer lines of a request that is there as a whole. None where it stays
    /// open.
    end: Option<&'a [u8]>,
    state: UploadState,
    /// Something of the rest was read, and cannot be sent again.
    pub(super) consumed: bool,
    pub(crate) bytes_sent: u64,
    alarm: &'a mut Alarm,
    due: Option<Instant>,
    send_timeout: Duration,
    body_timeout: Duration,
    pub(super) buffers: &'a Buffers,
}

/// The part of a body that is passed on as it arrives.
pub(crate) struct UploadRest<'a> {
    pub(crate) body: &'a mut BodyPipe,
    pub(crate) encoder: Encoder<'a>,
    /// What it goes through.
    pub(crate) stage: Option<&'a mut dyn Stage>,
}

struct Rest<'a> {
    body: &'a mut BodyPipe,
    encoder: Encoder<'a>,
    stage: Option<&'a mut dyn Stage>,
    /// Coded bytes. Without capacity while there are none.
    out: Vec<u8>,
    /// Of `out`.
    written: usize,
    /// Bytes that go on behind them from where they were received: so many of those that were
    /// consumed last.
    as_is: usize,
    /// What goes on behind them without having been received, of a large body.
    pipe: Option<LentPipe>,
}

enum UploadState {
    Sending,
    Sent,
    Failed(Option<Failure>),
}

impl<'a> Upload<'a> {
    /// `rest`: what is still to be read from the client after `body`; only where there is a client. `end`:
    /// the trailer lines of a request that HTTP/2 carries and that is there as a whole. `alarm`: for all
    /// waits of the attempt up to its answer's head, best that of the task, which has it at hand.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a request, each borrowed for its own time"
    )]
    pub(crate) fn new(
        head: &'a [u8],
        body: &'a [u8],
        client: Option<&'a mut Incoming>,
        rest: Option<UploadRest<'a>>,
        end: Option<&'a [u8]>,
        send_timeout: Duration,
        body_timeout: Duration,
        alarm: &'a mut Alarm,
        buffers: &'a Buffers,
    ) -> Upload<'a> {
        let rest = rest.map(|rest| Rest {
            body: rest.body,
            encoder: rest.encoder,
            stage: rest.stage,
            out: Vec::new(),
            written: 0,
            as_is: 0,
            pipe: None,
        });
        let (written, bytes_sent, state, consumed) = (0, 0, UploadState::Sending, false);
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
            due: None,
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

    /// Gives the client's direction back, if there is one; what was not sent will not be.
    pub(crate) fn into_client(self) -> Option<&'a mut Incoming> {
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
        if let UploadState::Sent = self.state
            && writer.is_stuck()
        {
            self.state = UploadState::Sending;
        }
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
        if let (UploadState::Failed(_), Some(rest), Some(client)) =
            (&self.state, &mut self.rest, &mut self.client)
        {
            // The route's limit is on what a server gets.
            rest.body.set_limit(None);
            // An error shows in `body` as well, and does not concern the response.
            let _ = client.poll_drop(cx, rest.body, self.buffers);
        }
    }

    /// Sending failed because the endpoint had reset the connection without ending its direction.
    /// Behind an orderly end, a write that fails is told EPIPE instead.
    pub(super) fn met_a_reset(&mut self, writer: &Writer) -> bool {
        if let UploadState::Sent = self.state
            && writer.is_stuck()
            && let nobody = &mut Context::from_waker(Waker::noop())
            && let Poll::Ready(Err(error)) = writer.poll_settle(nobody)
        {
            self.state = UploadState::Failed(Some(Failure::Send(error)));
        }
        matches!(&self.state, UploadState::Failed(Some(Failure::Send(error)))
            if error.kind() == io::ErrorKind::ConnectionReset)
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
        rest.is_none_or(|rest| rest.body.may_be_dropped())
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
        if self.written == 0 && self.rest.is_none() {
            writer.defer_next();
        }
        // `written` counts through the head and on into the body. What is left of each goes out in
        // one call.
        while self.written < self.head.len() + self.body.len() {
            let head = &self.head[self.written.min(self.head.len())..];
            let body = &self.body[self.written.saturating_sub(self.head.len())..];
            let written = writer.poll_write(cx, head, body);
            self.written += ready!(self.poll_progress(cx, written))?;
        }
        let Some(mut rest) = self.rest.take() else {
            // Trailers, or END_STREAM where no DATA frame has carried it: a stream that has ended
            // already stays as it is.
            if let (Some(trailers), Some(stream)) = (self.end, writer.http2()) {
                stream.end(trailers)?;
            }
            return self.poll_flush(cx, writer);
        };
        let Some(client) = self.client.take() else {
            return self.poll_flush(cx, writer);
        };
        // Both are out of `self` meanwhile, which the call borrows as a whole. The buffer is given
        // back as soon as there is nothing more to send, or sending has failed.
        let sent = self.poll_send_rest(cx, writer, &mut rest, client);
        self.client = Some(client);
        if sent.is_ready() {
            self.buffers.give(std::mem::take(&mut rest.out));
            if let Some(pipe) = rest.pipe.take() {
                self.buffers.give_pipe(pipe);
            }
        }
        self.rest = Some(rest);
        sent
    }

    fn poll_send_rest(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        rest: &mut Rest<'_>,
        client: &mut Incoming,
    ) -> Poll<Result<(), Failure>> {
        for _ in 0..ROUNDS {
            // All of a piece is sent before the next one is read: a slow endpoint slows the client.
            while rest.written < rest.out.len() || rest.as_is > 0 {
                let coded = &rest.out[rest.written..];
                let written = writer.poll_write(cx, coded, client.consumed(rest.as_is));
                let of_coded = coded.len();
                let written = ready!(self.poll_progress(cx, written))?;
                rest.written += written.min(of_coded);
                rest.as_is -= written.saturating_sub(of_coded);
            }
            rest.out.clear();
            rest.written = 0;
            while let Some(pipe) = rest.pipe.as_mut().filter(|pipe| pipe.filled() > 0) {
                let written = writer.poll_splice(cx, pipe);
                ready!(self.poll_progress(cx, written))?;
            }
            if rest.body.is_done() {
                // Over HTTP/1, the end is part of what was written.
                if let Some(stream) = writer.http2() {
                    stream.end(rest.body.trailers())?;
                }
                return self.poll_flush(cx, writer);
            }
            if client.unread().is_empty() {
                // No buffer is held while the client is waited for.
                self.buffers.give(std::mem::take(&mut rest.out));
            }
            if rest.stage.is_none()
                && client.unread().is_empty()
                && is_worth_splicing(rest.body)
                && client.reader.is_bare()
                && writer.is_bare()
            {
                let filled = self.poll_fill_pipe(cx, rest, client);
                if ready!(self.poll_client(cx, filled))? {
                    continue;
                }
            }
            // What goes through a stage is coded behind it, and its end with it.
            let mut nothing = Vec::new();
            let end = match rest.stage {
                None => (&rest.encoder, &mut rest.out),
                Some(_) => (&Encoder::PLAIN, &mut nothing),
            };
            let read = client.poll_body(cx, rest.body, end, self.buffers);
            ready!(self.poll_client(cx, read))?;
            // The client has sent something, so its time starts anew. Those bytes are kept nowhere:
            // the request cannot be sent to another endpoint any more.
            self.due = None;
            self.consumed = true;
            match rest.stage {
                None => self.take_piece(rest, client).map_err(BodyError::from),
                Some(_) => self.take_through(rest, client),
            }
            .map_err(Failure::Request)?;
            // Without trailers, the last DATA frame carries END_STREAM. Where there is nothing to
            // write any more, `end` above sends it.
            if rest.body.is_done()
                && let (Some(stream), []) = (writer.http2(), rest.body.trailers())
            {
                stream.end_with_next_write();
            }
        }
        // The answer, and other tasks, have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves more of a large body into a pipe; false where it has to be read.
    fn poll_fill_pipe(
        &mut self,
        cx: &mut Context<'_>,
        rest: &mut Rest<'_>,
        client: &mut Incoming,
    ) -> Poll<Result<bool, BodyError>> {
        let left = rest.body.length_left().unwrap_or_default();
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let buffers = self.buffers;
        let read = ready!(buffers.poll_fill_pipe(cx, &mut rest.pipe, &client.reader, most));
        let Some(read) = read.map_err(BodyError::Io)? else {
            return Poll::Ready(Ok(false));
        };
        if read == 0 {
            return Poll::Ready(Err(BodyError::Closed));
        }
        rest.body.pass_unseen(read);
        // As for bytes that are read.
        self.due = None;
        self.consumed = true;
        Poll::Ready(Ok(true))
    }

    /// Takes what was received of the rest, as it is or coded.
    fn take_piece(&self, rest: &mut Rest<'_>, client: &mut Incoming) -> Result<(), BadBody> {
        let unread = client.unread();
        if rest.out.capacity() == 0 && !rest.body.goes_as_is(&rest.encoder) {
            rest.out = self.buffers.take_for(unread.len());
        }
        let consumed = match rest.body.take(unread, &rest.encoder, &mut rest.out)? {
            Taken::AsIs(length) => {
                rest.as_is = length;
                length
            }
            Taken::Coded(consumed) => consumed,
        };
        client.consume(consumed);
        if rest.as_is == 0 {
            // Nothing is left in it, unless the next request is there. A slow endpoint may keep us
            // waiting with what was coded.
            client.release(self.buffers);
        }
        // Where the client's end is known with its last bytes, it goes on with these bytes.
        if client.unread().is_empty() && client.reader.is_at_end() {
            rest.body.end_if_open(&rest.encoder, &mut rest.out);
        }
        Ok(())
    }

    /// As [`take_piece`](Upload::take_piece), through the stage that there is.
    fn take_through(&self, rest: &mut Rest<'_>, client: &mut Incoming) -> Result<(), BodyError> {
        let Some(stage) = &mut rest.stage else {
            return Ok(());
        };
        let unread = client.unread();
        let (data, taken) = rest.body.take_piece(&unread[..unread.len().min(PIECE)])?;
        if taken == unread.len() && client.reader.is_at_end() {
            rest.body.end_if_open(&Encoder::PLAIN, &mut Vec::new());
        }
        let done = rest.body.is_done();
        if done {
            rest.body.retain_trailers(rest.encoder.passes_trailer);
        }
        if done || !data.is_empty() {
            let mut passed = self.buffers.take_body();
            let end = done.then(|| rest.body.trailers());
            stage.pass(&unread[data], end, &mut passed)?;
            append(&passed, rest.encoder.coding, &mut rest.out);
            self.buffers.give(passed);
        }
        if done {
            append_end(rest.body.trailers(), rest.encoder.coding, &mut rest.out);
        }
        client.consume(taken);
        client.release(self.buffers);
        Ok(())
    }

    /// What has come of the client's part: something, or a wait that has its limit.
    fn poll_client<T>(
        &mut self,
        cx: &mut Context<'_>,
        came: Poll<Result<T, BodyError>>,
    ) -> Poll<Result<T, Failure>> {
        match came {
            Poll::Ready(came) => Poll::Ready(came.map_err(Failure::Request)),
            Poll::Pending => self
                .poll_due(cx, self.body_timeout)
                .map(|()| Err(Failure::Request(BodyError::TimedOut))),
        }
    }

    /// What became of a write: bytes that have left, or a wait that has its limit.
    fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<Result<usize, Failure>> {
        match written {
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
        // Of a request that was deferred.
        while writer.is_stuck() {
            match writer.poll_settle(cx) {
                Poll::Ready(Ok(_)) => self.due = None,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Send(error))),
                Poll::Pending => {
                    let due = self.poll_due(cx, self.send_timeout);
                    return due.map(|()| Err(Failure::SendTimeout));
                }
            }
        }
        match writer.poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Failure::Send)),
            Poll::Pending => self
                .poll_due(cx, self.send_timeout)
                .map(|()| Err(Failure::SendTimeout)),
        }
    }

    /// Rings at `due`, in the task that sends.
    pub(super) fn poll_alarm(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        self.alarm.poll_due(cx, due).map(|_| ())
    }

    fn poll_due(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        // One deadline for whatever is waited for now, the client or the endpoint: set when the
        // wait begins, cleared by progress.
        let due = *self.due.get_or_insert_with(|| (turn::now() + limit).into());
        self.poll_alarm(cx, due)
    }

    /// Whether an answer is worth having. A failure to write is no obstacle, the endpoint may have
    /// answered and closed; a failure to read the request is.
    pub(super) fn check_request(&mut self) -> Result<(), Failure> {
        match &mut self.state {
            UploadState::Failed(failure @ Some(Failure::Request(_) | Failure::SendTimeout)) => {
                failure.take().map_or(Ok(()), Err)
            }
            _ => Ok(()),
        }
    }

    /// Once sending is over: whether it is worth waiting for an answer, or the client has left.
    pub(super) fn check_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.poll_client_gone(cx) {
            Poll::Ready(()) => Err(Failure::ClientGone),
            Poll::Pending => Ok(()),
        }
    }

    /// What became of a read of the answer; while there is nothing, sending goes on, and once it is
    /// over, a client that has left ends the wait.
    pub(super) fn poll_beside<T>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        read: Poll<io::Result<T>>,
    ) -> Poll<Result<T, BodyFailure>> {
        match read {
            Poll::Ready(read) => Poll::Ready(read.map_err(BodyFailure::Read)),
            Poll::Pending if self.poll_drive(cx, writer).is_ready() => {
                self.poll_broken(cx).map(Err)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Once sending is over, while the answer is passed on: ready if the client has left, or its
    /// request broke off. That an endpoint takes no more of the request does not break the
    /// response.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<BodyFailure> {
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
        match &self.client {
            Some(client) if client.unread().is_empty() => client.reader.poll_closed(cx),
            _ => Poll::Pending,
        }
    }
}

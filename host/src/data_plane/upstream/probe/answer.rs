//! The answer to a probe: read within its time and its bounds, and judged.

use std::rc::Rc;
use std::task::Poll;

use tokio::time::Instant;

use super::super::failure::{Failure, MAX_INTERIM};
use super::super::pool::Connection;
use super::{Probe, ProbeFailure, grpc};
use crate::config::model::{CheckMethod, CheckQuestion, HttpCheck};
use crate::data_plane::body::{BodyPipe, ReceiveBuffer};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::stream::Http2Stream;
use crate::http::framing;
use crate::http::head::{FieldName, HeadEnd, ResponseHead, Version};

/// Bytes of a body that are read: what comes behind them is not looked at, and costs the
/// connection.
const MAX_BODY: usize = 64 << 10;
/// Header fields of an answer at most.
const MAX_FIELDS: usize = 100;

/// What was answered.
pub(super) struct Answer {
    /// In words.
    pub(super) outcome: Result<String, ProbeFailure>,
    /// The connection has nothing left on it.
    pub(super) may_reuse: bool,
    /// Something came.
    began: bool,
}

/// An answer that is being read.
struct Reading<'a> {
    connection: &'a mut Connection,
    buffers: &'a Buffers,
    buffer: ReceiveBuffer,
    due: Instant,
    began: bool,
}

impl Answer {
    /// Nothing could be asked.
    pub(super) fn failed(failure: Failure) -> Answer {
        Answer {
            outcome: Err(failure.into()),
            may_reuse: false,
            began: false,
        }
    }

    /// Sends what is left of the request, and reads until `due`.
    pub(super) async fn read(
        probe: &Probe,
        connection: &mut Connection,
        request: &[u8],
        buffers: &Buffers,
        due: Instant,
    ) -> Answer {
        let mut reading = Reading {
            connection,
            buffers,
            buffer: ReceiveBuffer::default(),
            due,
            began: false,
        };
        let read = reading.exchange(probe, request).await;
        let is_empty = reading.buffer.unread().is_empty();
        reading.buffer.release(buffers);
        let (outcome, may_reuse) = match read {
            Ok((outcome, may_reuse)) => (outcome, may_reuse && is_empty),
            Err(failure) => (Err(failure), false),
        };
        Answer {
            outcome,
            may_reuse,
            began: reading.began,
        }
    }

    /// The connection was gone before anything came.
    pub(super) fn was_cut(&self) -> bool {
        let failure = match &self.outcome {
            Err(ProbeFailure::Attempt(failure)) => failure,
            _ => return false,
        };
        let is_cut = matches!(
            failure,
            Failure::Closed
                | Failure::Read(_)
                | Failure::Send(_)
                | Failure::Refused
                | Failure::Http2(_)
        );
        is_cut && !self.began
    }
}

impl Reading<'_> {
    /// The outcome, and whether the connection can be used again.
    async fn exchange(
        &mut self,
        probe: &Probe,
        request: &[u8],
    ) -> Result<(Result<String, ProbeFailure>, bool), ProbeFailure> {
        let late = || ProbeFailure::TimedOut(probe.check.timeout);
        self.send(request).await?.ok_or_else(late)?;
        let mut head = ResponseHead::default();
        let mut interim = 0;
        loop {
            self.head(&mut head, probe.header_size)
                .await?
                .ok_or_else(late)?;
            match head.status() {
                101 => return Err(Failure::UnaskedUpgrade.into()),
                100..=199 if interim < MAX_INTERIM => interim += 1,
                100..=199 => return Err(Failure::TooManyInterim.into()),
                _ => break,
            }
        }
        let method: &[u8] = match &probe.check.question {
            CheckQuestion::Http(HttpCheck {
                method: CheckMethod::Head,
                ..
            }) => b"HEAD",
            _ => b"GET",
        };
        let framed = framing::of_response(&head, method).map_err(Failure::InvalidFraming)?;
        let mut pipe = BodyPipe::of_response(framed);
        let mut body = Vec::new();
        let is_whole = self.body(&mut pipe, &mut body).await?.ok_or_else(late)?;
        let goes_on = match head.version() {
            Version::Http11 => !head.fields().lists(FieldName::Connection, b"close"),
            Version::Http10 => false,
            Version::Http2 => true,
        };
        let may_reuse = is_whole && goes_on && framed != framing::Framing::UntilClose;
        let outcome = match &probe.check.question {
            CheckQuestion::Tcp => Ok(String::new()),
            CheckQuestion::Http(check) => judged(check, &head, &body),
            CheckQuestion::Grpc { .. } => {
                let trailers = self.trailers().await?.ok_or_else(late)?;
                grpc::judged(&head, &body, &trailers)
            }
        };
        Ok((outcome, may_reuse))
    }

    /// None where time is up, as with the others.
    async fn send(&mut self, mut bytes: &[u8]) -> Result<Option<()>, Failure> {
        let Connection { writer, alarm, .. } = &mut *self.connection;
        if bytes.is_empty() {
            return Ok(Some(()));
        }
        writer.end_with_next_write();
        let sent = alarm.poll_until(self.due, |cx| {
            while !bytes.is_empty() {
                match writer.poll_write(cx, bytes, b"") {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(Failure::Closed)),
                    Poll::Ready(Ok(written)) => bytes = &bytes[written..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Send(error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
            writer.poll_flush(cx).map_err(Failure::Send)
        });
        sent.await.ok().transpose()
    }

    async fn head(&mut self, head: &mut ResponseHead, bound: usize) -> Result<Option<()>, Failure> {
        if let Some(stream) = self.connection.reader.http2().cloned() {
            return self.http2_head(&stream, head).await;
        }
        let mut end = HeadEnd::default();
        let length = loop {
            let unread = self.buffer.unread();
            if let Some(length) = end.find(unread).map_err(Failure::InvalidHeader)? {
                break length;
            }
            if unread.len() >= bound {
                return Err(Failure::HeaderTooLarge);
            }
            let Connection { reader, alarm, .. } = &mut *self.connection;
            let (buffer, buffers) = (&mut self.buffer, self.buffers);
            // No buffer is held while nothing has come: thousands may be waited for.
            let read = alarm.poll_until(self.due, |cx| match buffer.unread() {
                [] if reader.poll_readable(cx)?.is_pending() => Poll::Pending,
                _ => buffer.poll_more(cx, reader, bound, buffers),
            });
            match read.await {
                Err(_) => return Ok(None),
                Ok(Ok(0)) => return Err(Failure::Closed),
                Ok(Ok(_)) => self.began = true,
                Ok(Err(error)) => return Err(Failure::Read(error)),
            }
        };
        head.parse(&self.buffer.unread()[..length], MAX_FIELDS)
            .map_err(Failure::InvalidHeader)?;
        self.buffer.consume(length);
        Ok(Some(()))
    }

    async fn http2_head(
        &mut self,
        stream: &Rc<Http2Stream>,
        head: &mut ResponseHead,
    ) -> Result<Option<()>, Failure> {
        let alarm = &mut self.connection.alarm;
        let read = alarm.poll_until(self.due, |cx| stream.poll_head(cx, head, MAX_FIELDS));
        match read.await {
            Err(_) => {
                // A connection that does not answer is of no use to the next probe either.
                self.connection.retire();
                Ok(None)
            }
            Ok(Ok(())) => {
                self.began = true;
                Ok(Some(()))
            }
            Ok(Err(error)) => Err(error.into()),
        }
    }

    /// Reads the beginning of a body; whether that is all of it.
    async fn body(
        &mut self,
        pipe: &mut BodyPipe,
        body: &mut Vec<u8>,
    ) -> Result<Option<bool>, Failure> {
        loop {
            let unread = self.buffer.unread();
            let mut keep = |piece: &[u8]| {
                let room = MAX_BODY - body.len();
                body.extend_from_slice(&piece[..piece.len().min(room)]);
            };
            let taken = pipe.each_piece(unread, &mut keep);
            self.buffer
                .consume(taken.map_err(|_| Failure::InvalidBody)?);
            if pipe.is_done() {
                return Ok(Some(true));
            }
            if pipe.length >= MAX_BODY as u64 {
                return Ok(Some(false));
            }
            let Connection { reader, alarm, .. } = &mut *self.connection;
            let (buffer, buffers) = (&mut self.buffer, self.buffers);
            let read = alarm.poll_until(self.due, |cx| {
                buffer.poll_refill(cx, reader, usize::MAX, buffers)
            });
            match read.await {
                Err(_) => return Ok(None),
                Ok(Ok(0)) if pipe.ends_with_its_stream() => return Ok(Some(true)),
                Ok(Ok(0)) => return Err(Failure::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Failure::Read(error)),
            }
        }
    }

    async fn trailers(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Connection { reader, alarm, .. } = &mut *self.connection;
        let read = alarm.poll_until(self.due, |cx| reader.poll_trailers(cx));
        read.await.ok().transpose().map_err(Failure::Read)
    }
}

fn judged(check: &HttpCheck, head: &ResponseHead, body: &[u8]) -> Result<String, ProbeFailure> {
    let status = head.status();
    if !check
        .expect_status
        .iter()
        .any(|range| range.contains(&status))
    {
        return Err(ProbeFailure::Status(status));
    }
    match &check.expect_body {
        Some(pattern) if !pattern.0.is_match(body) => Err(ProbeFailure::Body),
        _ => Ok(format!("status {status}")),
    }
}

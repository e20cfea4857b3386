//! What a handler answers: a head, and a body that it may still be writing.
//!
//! A body that was given up, or whose handler has failed, ends as one that is whole does, as far as
//! the engine's side of it tells: how the call has ended tells the two apart.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::Body;
use tokio::sync::oneshot;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::super::waiting::CallWatch;

/// What the guest has set, or the error that it has set instead.
pub(super) type Set = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// How a call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Returned,
    /// With a fault, or it was not made: why.
    Failed(&'static str),
}

/// Why a handler gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It cannot be asked now.
    #[error("{0}")]
    Unasked(&'static str),
    /// It failed before it had answered.
    #[error("it failed before it had answered")]
    Failed,
    #[error("it returned without an answer")]
    Returned,
    /// It said so.
    #[error("it answered with an error: {0}")]
    Error(String),
}

/// An answer that has begun.
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: AnswerBody,
}

/// A part of an answer's body.
#[derive(Debug)]
pub enum AnswerPart {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// An answer is not whole, and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    #[error("it failed before its answer was whole")]
    Failed,
    #[error("it returned before its answer was whole")]
    Returned,
    #[error("it gave its answer up")]
    GivenUp,
}

/// The body of an answer.
pub struct AnswerBody {
    body: HyperOutgoingBody,
    call: CallEnd,
    watch: CallWatch,
}

/// The end of the call that makes an answer.
pub(super) struct CallEnd {
    ended: Option<Ended>,
    ending: oneshot::Receiver<Ended>,
    /// While it is there, an instance stays that has left a body open.
    _read: oneshot::Sender<()>,
}

impl CallEnd {
    pub(super) fn new(ending: oneshot::Receiver<Ended>, read: oneshot::Sender<()>) -> CallEnd {
        CallEnd {
            ended: None,
            ending,
            _read: read,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.ended.is_none()
            && let Poll::Ready(ended) = Pin::new(&mut self.ending).poll(cx)
        {
            self.ended = Some(ended.unwrap_or(Ended::Failed("it was given up")));
        }
        self.ended.map_or(Poll::Pending, Poll::Ready)
    }
}

impl AnswerBody {
    pub(super) fn new(body: HyperOutgoingBody, call: CallEnd, watch: CallWatch) -> AnswerBody {
        AnswerBody { body, call, watch }
    }

    /// The next part; none at the end.
    ///
    /// # Errors
    /// There is none, and this is not the end.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<AnswerPart, Unfinished>>> {
        let mut polled = self.poll_frame(cx);
        let ended = self.call.poll(cx);
        if polled.is_pending() && ended.is_ready() {
            // What it has written last came before its end.
            polled = self.poll_frame(cx);
        }
        match (polled, ended) {
            (Poll::Ready(Some(Ok(part))), _) => {
                // It has its time for the next part.
                self.watch.renew();
                Poll::Ready(Some(Ok(part)))
            }
            (Poll::Ready(Some(Err(_))), _) => Poll::Ready(Some(Err(Unfinished::GivenUp))),
            (Poll::Ready(None) | Poll::Pending, Poll::Ready(Ended::Failed(_))) => {
                Poll::Ready(Some(Err(Unfinished::Failed)))
            }
            (Poll::Pending, Poll::Ready(Ended::Returned)) => {
                Poll::Ready(Some(Err(Unfinished::Returned)))
            }
            (Poll::Ready(None), _) => Poll::Ready(None),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AnswerPart, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map(|frame| {
            frame.map(|frame| {
                Ok(match frame?.into_data() {
                    Ok(data) => AnswerPart::Data(data),
                    Err(frame) => AnswerPart::Trailers(frame.into_trailers().unwrap_or_default()),
                })
            })
        })
    }

    /// Reads what nobody wants of it, `most` bytes, for so long.
    pub async fn drop_rest(mut self, most: usize, longest: Duration) {
        let mut dropped = 0;
        let mut dropping = pin!(async {
            while dropped < most {
                #[allow(clippy::disallowed_methods, reason = "within `longest`")]
                let part = std::future::poll_fn(|cx| self.poll_next(cx)).await;
                match part {
                    Some(Ok(AnswerPart::Data(data))) => dropped += data.len(),
                    Some(Ok(AnswerPart::Trailers(_))) => {}
                    Some(Err(_)) | None => break,
                }
            }
        });
        let _ = tokio::time::timeout(longest, &mut dropping).await;
    }
}

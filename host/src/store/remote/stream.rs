//! The bytes of a connection. A server may send what was asked for, and no more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::LONGEST;

/// Bytes of an answer: a value, or the text of an error, and what is around it.
const ANSWER: u64 = LONGEST as u64 + 1024;
/// Of all answers to a log-in.
const LOG_IN: u64 = 64 << 10;

/// Bytes that may still come.
#[derive(Clone)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    pub(super) fn new() -> Allowance {
        Allowance(Arc::new(AtomicU64::new(LOG_IN)))
    }

    /// A further answer may come.
    pub(super) fn allow_answer(&self) {
        self.0.fetch_add(ANSWER, Relaxed);
    }

    /// So many answers are still to come.
    pub(super) fn allow_no_more_than(&self, answers: usize) {
        let most = ANSWER.saturating_mul(answers as u64);
        self.0.fetch_min(most, Relaxed);
    }
}

/// A stream of any kind.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

/// A stream that ends with an error where more comes than is allowed.
pub(super) struct Bounded {
    pub(super) stream: Box<dyn Bytes>,
    pub(super) allowance: Allowance,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = read {
            let came = (buffer.filled().len() - before) as u64;
            let left = |allowed: u64| allowed.checked_sub(came);
            if self
                .allowance
                .0
                .fetch_update(Relaxed, Relaxed, left)
                .is_err()
            {
                return Poll::Ready(Err(io::Error::other("it sends more than was asked for")));
            }
        }
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

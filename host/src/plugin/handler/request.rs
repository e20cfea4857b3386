//! What a handler is asked: a request whose body comes piece by piece, as it takes it.
//!
//! The engine wants what it awaits to be `Send`, and a client's connection is not: pieces go through a
//! channel, of which the sender waits for room as the client's connection has to.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use wasmtime_wasi_http::Error;

/// Pieces that wait for the handler.
const PIECES: usize = 2;

/// A body for a handler.
#[derive(Debug)]
pub struct ClientBody {
    pieces: mpsc::UnboundedReceiver<Result<Frame<Bytes>, ClientBodyGone>>,
    room: Arc<Room>,
    /// Bytes of all of it, where that is known.
    length: Option<u64>,
}

/// Where its pieces come from.
#[derive(Debug)]
pub struct ClientBodySender {
    pieces: mpsc::UnboundedSender<Result<Frame<Bytes>, ClientBodyGone>>,
    room: Arc<Room>,
}

/// The client does not send it to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientBodyGone;

/// What both sides know of each other.
#[derive(Debug, Default)]
struct Room {
    /// Pieces that were not taken yet.
    waiting: AtomicUsize,
    /// The handler has dropped the body.
    is_unwanted: AtomicBool,
    sender: AtomicWaker,
}

/// A body that is sent to a handler.
pub fn client_body(length: Option<u64>) -> (ClientBodySender, ClientBody) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Room::default());
    let body = ClientBody {
        pieces: receiver,
        room: room.clone(),
        length,
    };
    let sender = ClientBodySender {
        pieces: sender,
        room,
    };
    (sender, body)
}

impl ClientBodySender {
    /// Ready once a piece may be sent: true; or once the handler wants no more: false.
    pub fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<bool> {
        // Registered before it looks, so that no change is missed.
        self.room.sender.register(cx.waker());
        if self.room.is_unwanted.load(SeqCst) {
            return Poll::Ready(false);
        }
        match self.room.waiting.load(SeqCst) < PIECES {
            true => Poll::Ready(true),
            false => Poll::Pending,
        }
    }

    pub fn send(&self, piece: Bytes) {
        self.put(Ok(Frame::data(piece)));
    }

    /// All of it was sent, but for the fields behind it.
    pub fn end(self, trailers: HeaderMap) {
        if !trailers.is_empty() {
            self.put(Ok(Frame::trailers(trailers)));
        }
    }

    /// There will be no more, though that was not all.
    pub fn break_off(self) {
        self.put(Err(ClientBodyGone));
    }

    fn put(&self, piece: Result<Frame<Bytes>, ClientBodyGone>) {
        self.room.waiting.fetch_add(1, SeqCst);
        // A handler that is gone is known by `is_unwanted`.
        let _ = self.pieces.send(piece);
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.pieces.poll_recv(cx).map(|piece| {
            let piece = piece?;
            self.room.waiting.fetch_sub(1, SeqCst);
            self.room.sender.wake();
            Some(piece.map_err(|ClientBodyGone| Error::ConnectionTerminated))
        })
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self.length {
            Some(length) => hyper::body::SizeHint::with_exact(length),
            None => hyper::body::SizeHint::default(),
        }
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        self.room.is_unwanted.store(true, SeqCst);
        self.room.sender.wake();
    }
}

//! Counts the frames of an HTTP/2 connection as they come in.
//!
//! h2 bounds what a peer can make us keep. What a peer can make us do is bounded here: frames that
//! carry nothing (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown types) and resets
//! draw on budgets that time and real work refill. Frames are told apart by their nine-byte headers
//! alone (RFC 9113 section 4.1); everything else is left to h2.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::Stream;
use super::write_batch::WriteBatch;

/// What a client says before its first frame (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The answer to anything else, behind our SETTINGS: a GOAWAY with PROTOCOL_ERROR.
const NO_PREFACE: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";

/// Frame types (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
/// On SETTINGS: they are not the peer's, but ours, acknowledged.
const ACK: u8 = 1;
const FRAME_HEADER: usize = 9;

/// An HTTP/2 connection's bytes, metered on their way in.
pub(crate) struct Metered {
    batch: WriteBatch,
    /// Read before it was known that this is HTTP/2.
    first: Vec<u8>,
    frames: Frames,
}

/// Tells frames apart in bytes that come in pieces.
pub(crate) struct Frames {
    /// Of the preface that is still to come; 0 on a client's side.
    preface_left: usize,
    header: [u8; FRAME_HEADER],
    /// Bytes of `header` that are there.
    have: usize,
    /// Bytes of the frame's payload still to come.
    payload: usize,
    meter: Rc<Meter>,
}

/// What a connection's peer may still ask for.
pub(crate) struct Meter {
    control: RefCell<Budget>,
    resets: RefCell<Budget>,
    /// Header blocks of responses; none where the peer is a client, whose requests h2 bounds.
    blocks: Option<RefCell<Budget>>,
    exceeded: Cell<Option<Exceeded>>,
    /// The peer has said what it can do.
    settled: Cell<bool>,
    settling: Notify,
}

/// Which bound a peer went past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("too many control frames (`max_control_frames`)")]
    Control,
    #[error("too many interim responses")]
    Blocks,
    #[error("too many streams reset (`max_resets`)")]
    Resets,
    #[error("invalid connection preface")]
    Preface,
}

/// A token bucket that fills up in ten seconds.
#[derive(Debug)]
struct Budget {
    capacity: f64,
    left: f64,
    at: Instant,
}

impl Budget {
    fn new(capacity: u32) -> Budget {
        Budget {
            capacity: f64::from(capacity),
            left: f64::from(capacity),
            at: Instant::now(),
        }
    }

    fn refill(&mut self, amount: f64) {
        self.left = (self.left + amount).min(self.capacity);
    }

    fn take(&mut self) -> bool {
        if self.left < 1.0 {
            // The clock is asked only when it matters.
            let now = Instant::now();
            let seconds = (now - self.at).as_secs_f64();
            self.at = now;
            self.refill(self.capacity / REFILL_SECONDS * seconds);
        }
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

const REFILL_SECONDS: f64 = 10.0;
/// What a request pays for: its SETTINGS, PINGs and the updates of two windows.
const PER_REQUEST: f64 = 10.0;
/// Bytes sent for each of which a peer may move a window.
const BYTES_PER_UPDATE: f64 = 512.0;

impl Meter {
    /// `control` and `resets`: frames that may come at once.
    pub(crate) fn new(control: u32, resets: u32) -> Rc<Meter> {
        Meter::with(control, resets, None)
    }

    /// As [`Meter::new`], for an endpoint; `blocks`: header blocks that may come at once, as many
    /// as all the requests that may be under way are answered with. Interim responses to a request
    /// that was given up cost as much as others.
    pub(crate) fn of_endpoint(control: u32, resets: u32, blocks: u32) -> Rc<Meter> {
        Meter::with(control, resets, Some(blocks))
    }

    fn with(control: u32, resets: u32, blocks: Option<u32>) -> Rc<Meter> {
        Rc::new(Meter {
            control: RefCell::new(Budget::new(control)),
            resets: RefCell::new(Budget::new(resets)),
            blocks: blocks.map(|blocks| RefCell::new(Budget::new(blocks))),
            exceeded: Cell::new(None),
            settled: Cell::new(false),
            settling: Notify::new(),
        })
    }

    /// The bound that the peer went past, if it did. Nothing more is read from it then.
    pub(crate) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded.get()
    }

    /// Returns once the peer's SETTINGS have come, which are its first frame, or [`Meter::settle`]
    /// was called.
    pub(crate) async fn settled(&self) {
        while !self.settled.get() {
            self.settling.notified().await;
        }
    }

    /// Wakes the tasks that wait in [`Meter::settled`]: the SETTINGS have come, or never will.
    pub(crate) fn settle(&self) {
        if !self.settled.replace(true) {
            self.settling.notify_waiters();
        }
    }

    /// An exchange came to its end, which refills the budget for resets: a client that waits for
    /// its answers may also cancel some of its requests.
    pub(crate) fn answered(&self) {
        self.resets.borrow_mut().refill(1.0);
    }

    /// A request goes out, and may be answered with so many header blocks.
    pub(crate) fn asked(&self, answers: u32) {
        if let Some(blocks) = &self.blocks {
            blocks.borrow_mut().refill(f64::from(answers));
        }
    }

    /// A part of a body went out as it was given, which refills the budget for control frames: the
    /// peer may answer each with a PING to measure the connection, as gRPC's libraries do (BDP
    /// estimation).
    pub(super) fn sent_part(&self) {
        self.control.borrow_mut().refill(1.0);
    }

    /// What is left of the budgets for control frames and for resets.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn left(&self) -> (f64, f64) {
        (self.control.borrow().left, self.resets.borrow().left)
    }

    fn count(&self, kind: u8, length: usize) -> Option<Exceeded> {
        let mut control = self.control.borrow_mut();
        match kind {
            HEADERS => {
                // A header block pays for the control frames that go with a request. Those of
                // endpoints draw on a budget of their own; h2 bounds those of clients.
                control.refill(PER_REQUEST);
                let blocks = self.blocks.as_ref();
                let spent = blocks.is_some_and(|blocks| !blocks.borrow_mut().take());
                spent.then_some(Exceeded::Blocks)
            }
            // h2 bounds a header block by its size, and by its number of frames.
            CONTINUATION => None,
            DATA if length > 0 => {
                control.refill(1.0);
                None
            }
            RST_STREAM => (!self.resets.borrow_mut().take()).then_some(Exceeded::Resets),
            _ => (!control.take()).then_some(Exceeded::Control),
        }
    }
}

impl Metered {
    /// A client's connection to us, of which `first` was read already.
    pub(crate) fn accepted(stream: Stream, first: Vec<u8>, meter: Rc<Meter>) -> Metered {
        Metered::new(stream, first, PREFACE.len(), meter)
    }

    /// Our connection to an endpoint.
    pub(crate) fn opened(stream: Stream, meter: Rc<Meter>) -> Metered {
        Metered::new(stream, Vec::new(), 0, meter)
    }

    fn new(stream: Stream, first: Vec<u8>, preface_left: usize, meter: Rc<Meter>) -> Metered {
        Metered {
            batch: WriteBatch::new(stream),
            first,
            frames: Frames::new(preface_left, meter),
        }
    }

    fn wrote(&self, bytes: usize) {
        let mut control = self.frames.meter.control.borrow_mut();
        control.refill(bytes as f64 / BYTES_PER_UPDATE);
    }
}

impl Frames {
    pub(crate) fn new(preface_left: usize, meter: Rc<Meter>) -> Frames {
        Frames {
            preface_left,
            header: [0; FRAME_HEADER],
            have: 0,
            payload: 0,
            meter,
        }
    }

    /// Counts the frames that begin in `bytes`.
    ///
    /// # Errors
    /// The bound that the peer went past.
    pub(crate) fn examine(&mut self, mut bytes: &[u8]) -> Result<(), Exceeded> {
        // As much of the preface as is still to come and is in these bytes.
        let preface = self.preface_left.min(bytes.len());
        if preface > 0 {
            let at = PREFACE.len() - self.preface_left;
            if bytes[..preface] != PREFACE[at..at + preface] {
                return Err(Exceeded::Preface);
            }
            self.preface_left -= preface;
            bytes = &bytes[preface..];
        }
        while !bytes.is_empty() {
            if self.payload > 0 {
                // Payloads are skipped, whatever is in them.
                let skipped = self.payload.min(bytes.len());
                self.payload -= skipped;
                bytes = &bytes[skipped..];
                self.note_end();
                continue;
            }
            // A header may be cut by the end of a read, so it is gathered until it is whole.
            let taken = (FRAME_HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == FRAME_HEADER {
                // 24 bits of length, then the type (RFC 9113 section 4.1).
                let [high, middle, low, kind, ..] = self.header;
                self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.have = 0;
                if let Some(exceeded) = self.meter.count(kind, self.payload) {
                    return Err(exceeded);
                }
                self.note_end();
            }
        }
        Ok(())
    }

    /// SETTINGS mean something once all of them have come.
    fn note_end(&self) {
        let [_, _, _, kind, flags, ..] = self.header;
        if self.payload == 0 && kind == SETTINGS && flags & ACK == 0 {
            self.meter.settle();
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.frames.meter.exceeded().is_some() {
            // The task that drives the connection is about to end it.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if this.first.is_empty() {
            ready!(this.batch.poll_read(cx, buffer))?;
        } else {
            // What was read before comes first, as much of it as there is room for.
            let length = this.first.len().min(buffer.remaining());
            buffer.put_slice(&this.first[..length]);
            this.first.drain(..length);
        }
        let read = buffer.filled().len();
        if let Err(exceeded) = this.frames.examine(&buffer.filled()[before..read]) {
            this.frames.meter.exceeded.set(Some(exceeded));
            // h2 does not get these bytes: the connection is about to end.
            buffer.set_filled(before);
            if exceeded == Exceeded::Preface {
                // Answered here: h2 would close the connection without a GOAWAY.
                let _ = this.batch.poll_write(cx, &[io::IoSlice::new(NO_PREFACE)]);
                let _ = this.batch.poll_shutdown(cx);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, exceeded)));
            }
            // The read was ready, so nothing else would wake the task, which has to look at
            // `exceeded`.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.batch.poll_write(cx, pieces))?;
        this.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().batch.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().batch.poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 0];
        frame.resize(FRAME_HEADER + payload, 0x5a);
        frame
    }

    fn frames() -> impl Strategy<Value = Vec<(u8, usize)>> {
        proptest::collection::vec((0_u8..12, 0_usize..40), 0..20)
    }

    #[test]
    fn what_carries_nothing_draws_on_the_budget_until_it_is_spent() {
        let meter = Meter::new(3, 1);
        let mut frames = Frames::new(0, meter.clone());
        let ping = frame(6, 8);
        for _ in 0..3 {
            assert_eq!(frames.examine(&ping), Ok(()));
        }
        assert_eq!(frames.examine(&ping), Err(Exceeded::Control));
    }

    #[test]
    fn requests_pay_for_the_frames_that_go_with_them() {
        let mut frames = Frames::new(0, Meter::new(3, 1));
        for _ in 0..100 {
            frames.examine(&frame(HEADERS, 10)).unwrap();
            frames.examine(&frame(8, 4)).unwrap();
            frames.examine(&frame(8, 4)).unwrap();
        }
    }

    #[test]
    fn answers_pay_for_resets() {
        let meter = Meter::new(10, 2);
        let mut frames = Frames::new(0, meter.clone());
        let reset = frame(RST_STREAM, 4);
        assert_eq!(
            frames.examine(&[reset.clone(), reset.clone()].concat()),
            Ok(())
        );
        meter.answered();
        assert_eq!(frames.examine(&reset), Ok(()));
        assert_eq!(frames.examine(&reset), Err(Exceeded::Resets));
    }

    #[test]
    fn another_preface_is_noticed_at_its_first_wrong_byte() {
        for wrong in 0..PREFACE.len() {
            let mut frames = Frames::new(PREFACE.len(), Meter::new(1, 1));
            assert_eq!(frames.examine(&PREFACE[..wrong]), Ok(()));
            assert_eq!(frames.examine(b"\xff"), Err(Exceeded::Preface));
        }
    }

    proptest! {
        /// However the bytes are cut, the same frames are counted.
        #[test]
        fn frames_are_told_apart_wherever_reads_end(sent in frames(), cuts in proptest::collection::vec(1_usize..30, 1..40)) {
            let mut bytes = PREFACE.to_vec();
            for (kind, payload) in &sent {
                bytes.extend(frame(*kind, *payload));
            }
            let whole = Meter::new(1000, 1000);
            Frames::new(PREFACE.len(), whole.clone()).examine(&bytes).unwrap();
            let cut = Meter::new(1000, 1000);
            let mut frames = Frames::new(PREFACE.len(), cut.clone());
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let length = (*cuts.next().unwrap()).min(rest.len());
                frames.examine(&rest[..length]).unwrap();
                rest = &rest[length..];
            }
            prop_assert_eq!(whole.control.borrow().left, cut.control.borrow().left);
            prop_assert_eq!(whole.resets.borrow().left, cut.resets.borrow().left);
        }
    }
}

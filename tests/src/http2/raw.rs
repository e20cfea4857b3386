//! A connection of frames written by hand: a client or a server that does what no library would.

use h2::Reason;

use super::frame::{Frame, flag, kind};
use crate::wire::Wire;

/// The first bytes of a client (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One end of a connection. It acknowledges settings and pings by itself, and does nothing else
/// unasked.
pub struct Raw {
    pub wire: Wire,
    /// The last GOAWAY that came, also while another frame was waited for.
    pub goaway: Option<Frame>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response began.
    Status(u16),
    /// The stream was reset.
    Reset(Reason),
    /// The connection was given up.
    Goaway(Reason),
    /// The connection ended without a word.
    Closed,
}

impl Raw {
    /// A client that has sent its preface and default settings.
    pub async fn connect(address: &str) -> Raw {
        Raw::connect_with(address, &[]).await
    }

    /// A client with settings.
    pub async fn connect_with(address: &str, settings: &[(u16, u32)]) -> Raw {
        let wire = Wire::connect(address).await;
        let wire = wire.unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        let mut raw = Raw::over(wire);
        raw.wire.send(PREFACE).await;
        raw.send(Frame::settings(settings)).await;
        raw
    }

    /// A server that has got the client's preface, and sent settings.
    pub async fn accept(mut wire: Wire, settings: &[(u16, u32)]) -> Raw {
        let preface = wire.exactly(PREFACE.len()).await;
        assert_eq!(preface.expect("a client sends its preface"), PREFACE);
        let mut raw = Raw::over(wire);
        raw.send(Frame::settings(settings)).await;
        raw
    }

    /// A connection on which nothing was said.
    pub fn over(wire: Wire) -> Raw {
        Raw { wire, goaway: None }
    }

    pub async fn send(&mut self, frame: Frame) {
        self.wire.send(frame.bytes()).await;
    }

    /// Sends to a peer that may have left; whether it still took it.
    pub async fn try_send(&mut self, frame: Frame) -> bool {
        self.wire.try_send(frame.bytes()).await.is_ok()
    }

    /// Sends many at once, to a peer that may leave on the way.
    pub async fn flood(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let bytes: Vec<u8> = frames.into_iter().flat_map(|frame| frame.bytes()).collect();
        // The peer may close the connection in the middle. What it sent before is read by the next
        // call that waits for a frame.
        let _ = self.wire.try_send(bytes).await;
    }

    /// A GET in one frame.
    pub async fn get(&mut self, stream: u32, path: &str) {
        self.send(Frame::headers(stream, flag::WHOLE, &get(path)))
            .await;
    }

    /// The next frame, acknowledged if it wants to be; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let head = self.wire.exactly(9).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let payload = self.wire.exactly(length as usize).await.ok()?;
        let frame = Frame::new(head[3], head[4], stream, payload);
        if matches!(frame.kind, kind::SETTINGS | kind::PING) && !frame.has(flag::ACK) {
            let echo = if frame.kind == kind::PING {
                frame.payload.clone()
            } else {
                Vec::new()
            };
            self.try_send(Frame::new(frame.kind, flag::ACK, 0, echo))
                .await;
        }
        if frame.kind == kind::GOAWAY {
            self.goaway = Some(frame.clone());
        }
        Some(frame)
    }

    /// Reads up to a frame that is wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let mut others = Vec::new();
        while let Some(frame) = self.next().await {
            if wanted(&frame) {
                return frame;
            }
            others.push(frame);
        }
        panic!("the connection ended without {what}: {others:?}");
    }

    /// Reads up to a frame of that type.
    pub async fn until_kind(&mut self, kind: u8) -> Frame {
        let what = format!("a frame of type {kind}");
        self.until(&what, |frame| frame.kind == kind).await
    }

    /// What becomes of a stream: the first of its response's head, its reset, and the end of the
    /// connection with an error.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.next().await {
            match frame.kind {
                kind::HEADERS if frame.stream == stream => return Outcome::Status(frame.status()),
                kind::RST_STREAM if frame.stream == stream => {
                    return Outcome::Reset(frame.reason());
                }
                kind::GOAWAY if frame.reason() != Reason::NO_ERROR => {
                    return Outcome::Goaway(frame.reason());
                }
                _ => {}
            }
        }
        Outcome::Closed
    }

    /// The reason for which the peer gives the connection up, once it has closed it.
    pub async fn given_up(&mut self) -> Reason {
        let mut others = Vec::new();
        while let Some(frame) = self.next().await {
            others.push(frame);
        }
        match &self.goaway {
            Some(goaway) => goaway.reason(),
            None => panic!("closed without GOAWAY, after {others:?}"),
        }
    }

    /// Checks that requests are answered.
    pub async fn still_works(&mut self, stream: u32) {
        self.get(stream, "/").await;
        assert_eq!(self.outcome(stream).await, Outcome::Status(200));
    }
}

/// The fields of a GET.
pub(crate) fn get(path: &str) -> [(&str, &str); 4] {
    [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ]
}

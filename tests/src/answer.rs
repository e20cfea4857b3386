//! What an origin does once it has read a request, well-behaved or not.

use std::time::Duration;

use tokio::sync::watch;

use crate::wire::Fields;

/// Something that an origin waits for before it goes on.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn closed() -> Gate {
        Gate(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits, as long as it takes, until the gate is open.
    pub async fn opened(&self) {
        self.0
            .subscribe()
            .wait_for(|open| *open)
            .await
            .expect("the gate itself keeps the channel");
    }
}

/// What an origin does once it has read a request.
#[derive(Clone)]
pub struct Answer {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) delay: Duration,
    pub(crate) gate: Option<Gate>,
    pub(crate) after: After,
}

#[derive(Clone, Copy)]
pub(crate) enum After {
    Keep,
    Close,
    Reset,
    Hang,
}

impl Answer {
    /// 200 with a body of known length.
    pub fn ok(body: impl AsRef<[u8]>) -> Answer {
        Answer::status(200, body)
    }

    /// Any status with a body of known length.
    pub fn status(status: u16, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref().to_vec();
        let head = format!(
            "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Answer {
            body,
            ..Answer::raw(head)
        }
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Answer {
        Answer {
            head: bytes.as_ref().to_vec(),
            body: Vec::new(),
            delay: Duration::ZERO,
            gate: None,
            after: After::Keep,
        }
    }

    /// The status and header fields, for a protocol that frames bodies by itself.
    pub(crate) fn parsed(&self) -> (u16, Fields) {
        let head: String = self.head.iter().map(|byte| char::from(*byte)).collect();
        let (start, fields) = head.split_once("\r\n").expect("a head has a line");
        let status = start.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), Fields::parse(fields))
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        let empty_line = self.head.len() - 2;
        self.head.splice(
            empty_line..empty_line,
            format!("{name}: {value}\r\n").into_bytes(),
        );
        self
    }

    /// Waits before answering.
    pub fn after(mut self, delay: Duration) -> Answer {
        self.delay = delay;
        self
    }

    /// Waits for a gate before answering.
    pub fn when(mut self, gate: &Gate) -> Answer {
        self.gate = Some(gate.clone());
        self
    }

    pub fn then_close(mut self) -> Answer {
        self.after = After::Close;
        self
    }

    pub fn then_reset(mut self) -> Answer {
        self.after = After::Reset;
        self
    }

    /// Neither says anything more nor closes.
    pub fn then_hang(mut self) -> Answer {
        self.after = After::Hang;
        self
    }
}

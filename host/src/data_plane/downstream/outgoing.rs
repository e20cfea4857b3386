//! What is sent to a client, each write within `send_timeout`.

use std::io;
use std::task::Context;
use std::time::Duration;

use crate::data_plane::stream::{Alarm, Writer};

/// The direction to the client.
pub(crate) struct Outgoing {
    pub(crate) writer: Writer,
    alarm: Alarm,
    /// Bytes written so far, but for heads of HTTP/2.
    pub(crate) written: u64,
    /// Something was not written in full: what follows would not be understood.
    broken: bool,
    /// Of the configuration in force, or of the request's route.
    pub(super) send_timeout: Duration,
}

impl Outgoing {
    /// Waits for so long for each write from now on, until the next request.
    pub(crate) fn wait_for_writes(&mut self, timeout: Duration) {
        self.send_timeout = timeout;
    }

    pub(crate) fn new(writer: Writer, send_timeout: Duration) -> Outgoing {
        Outgoing {
            writer,
            alarm: Alarm::default(),
            written: 0,
            broken: false,
            send_timeout,
        }
    }

    /// Writes both in full.
    ///
    /// # Errors
    /// As [`Outgoing::write_while`].
    pub(crate) async fn write_alone(&mut self, first: &[u8], second: &[u8]) -> io::Result<()> {
        self.write_while(first, second, |_| ()).await
    }

    /// Sends an interim response (1xx), given as text, which is used up.
    ///
    /// # Errors
    /// As [`Outgoing::write_alone`].
    pub(crate) async fn write_interim(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        self.writer.begin_interim(text)?;
        self.write_alone(text, &[]).await
    }

    /// Writes both in full; `meanwhile` is polled in the same task, for what has to go on besides.
    ///
    /// # Errors
    /// As [`Outgoing::write_alone`].
    pub(crate) async fn write_while(
        &mut self,
        first: &[u8],
        second: &[u8],
        meanwhile: impl FnMut(&mut Context<'_>),
    ) -> io::Result<()> {
        // Also where the task stops to write half-way.
        let broken = std::mem::replace(&mut self.broken, true);
        let written = self.write_all(first, second, meanwhile).await;
        self.broken = broken || written.is_err();
        written
    }

    /// Tells the client that nothing more will come.
    ///
    /// # Errors
    /// As [`Outgoing::write_while`], at once where a write has failed before.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let end = |cx: &mut Context<'_>| self.writer.poll_shutdown(cx);
        self.alarm.poll_within(self.send_timeout, end).await?
    }

    async fn write_all(
        &mut self,
        mut first: &[u8],
        mut second: &[u8],
        mut meanwhile: impl FnMut(&mut Context<'_>),
    ) -> io::Result<()> {
        while !first.is_empty() || !second.is_empty() {
            let write = |cx: &mut Context<'_>| {
                meanwhile(cx);
                self.writer.poll_write(cx, first, second)
            };
            let written = self.alarm.poll_within(self.send_timeout, write).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += written as u64;
            let of_first = written.min(first.len());
            first = &first[of_first..];
            second = &second[written - of_first..];
        }
        let flush = |cx: &mut Context<'_>| {
            meanwhile(cx);
            self.writer.poll_flush(cx)
        };
        self.alarm.poll_within(self.send_timeout, flush).await?
    }
}

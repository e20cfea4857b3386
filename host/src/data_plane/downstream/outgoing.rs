//! What is sent to a client, each write within `send_timeout`.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::data_plane::open_files::HeldFile;
use crate::data_plane::stream::{Alarm, SplicePipe, Writer};
use crate::data_plane::upstream::Errno;

/// Bytes of a file that a client gets before others have their turn (nginx: `sendfile_max_chunk`, 2m).
const TURN: u64 = 2 << 20;

/// Why something could not be sent to a client, in nginx's words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsent<'a> {
    #[error("client timed out (110: Connection timed out) while sending to client")]
    TimedOut,
    #[error("send() failed ({}) while sending to client", Errno(.0))]
    Failed(&'a io::Error),
}

impl<'a> From<&'a io::Error> for Unsent<'a> {
    fn from(error: &'a io::Error) -> Unsent<'a> {
        match error.kind() {
            io::ErrorKind::TimedOut => Unsent::TimedOut,
            _ => Unsent::Failed(error),
        }
    }
}

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

    /// The next write, of something, ends a message, and nothing else is done with the connection behind
    /// it before it is [settled](Outgoing::settle): it may leave a little later.
    pub(crate) fn defer_next(&self) {
        if !self.broken {
            self.writer.defer_next();
        }
    }

    /// Sends what is deferred, and waits until the kernel has it, as for a write.
    ///
    /// # Errors
    /// As [`Outgoing::write_while`].
    pub(crate) async fn settle(&mut self) -> io::Result<()> {
        loop {
            let settle = |cx: &mut Context<'_>| self.writer.poll_settle(cx);
            let settled = self.alarm.poll_within(self.send_timeout, settle).await;
            match settled.map_err(io::Error::from).flatten() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    self.broken = true;
                    return Err(error);
                }
            }
        }
    }

    /// Writes bytes in full, behind which a file is sent at once: they wait for it in the kernel.
    /// For a bare socket.
    ///
    /// # Errors
    /// As [`Outgoing::write_alone`].
    pub(crate) async fn write_ahead(
        &mut self,
        mut bytes: &[u8],
        mut meanwhile: impl FnMut(&mut Context<'_>),
    ) -> io::Result<()> {
        let broken = std::mem::replace(&mut self.broken, true);
        while !bytes.is_empty() {
            let write = |cx: &mut Context<'_>| {
                meanwhile(cx);
                self.writer.poll_write_ahead(cx, bytes)
            };
            let written = self.alarm.poll_within(self.send_timeout, write).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += written as u64;
            bytes = &bytes[written..];
        }
        self.broken = broken;
        Ok(())
    }

    /// Has the kernel send a range of a file, which moves along. It ends before its end where the
    /// bytes have to be read to be sent: see [`HeldFile::send`]. For a bare socket.
    ///
    /// # Errors
    /// As [`Outgoing::write_alone`].
    pub(crate) async fn send_file(
        &mut self,
        file: &HeldFile,
        range: &mut Range<u64>,
        mut meanwhile: impl FnMut(&mut Context<'_>),
    ) -> io::Result<()> {
        let broken = std::mem::replace(&mut self.broken, true);
        let mut turn = TURN;
        while !range.is_empty() {
            let send = |cx: &mut Context<'_>| {
                meanwhile(cx);
                if turn == 0 {
                    turn = TURN;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let next = range.start..range.end.min(range.start + turn);
                let sent = self.writer.poll_call(cx, |socket| file.send(socket, &next));
                if sent.is_pending() {
                    turn = TURN;
                }
                sent
            };
            let sent = self.alarm.poll_within(self.send_timeout, send).await?? as u64;
            if sent == 0 {
                break;
            }
            self.written += sent;
            range.start += sent;
            turn -= sent;
        }
        self.broken = broken;
        Ok(())
    }

    /// Writes what is in a pipe in full, which is empty then. For a bare socket.
    ///
    /// # Errors
    /// As [`Outgoing::write_alone`].
    pub(crate) async fn write_pipe(
        &mut self,
        pipe: &mut SplicePipe,
        mut meanwhile: impl FnMut(&mut Context<'_>),
    ) -> io::Result<()> {
        let broken = std::mem::replace(&mut self.broken, true);
        while pipe.filled() > 0 {
            let write = |cx: &mut Context<'_>| {
                meanwhile(cx);
                self.writer.poll_splice(cx, pipe)
            };
            let written = self.alarm.poll_within(self.send_timeout, write).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += written as u64;
        }
        self.broken = broken;
        Ok(())
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

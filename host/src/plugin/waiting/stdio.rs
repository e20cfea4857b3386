//! Lines that a plugin that may wait prints: they go to the error log, as those of others do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::super::guest_log::{GuestLog, LineBuffer};

/// Bytes that are taken at a time.
const PIECE: usize = 4096;

/// Where lines go: standard output and standard error of one instance share the bound on them.
#[derive(Clone)]
struct LogStream {
    log: Arc<Mutex<GuestLog>>,
    line: Arc<Mutex<LineBuffer>>,
    level: Level,
}

/// Has what an instance prints logged.
pub(super) fn log_to(wasi: &mut WasiCtxBuilder, plugin: &Arc<str>) {
    let log = Arc::new(Mutex::new(GuestLog::new(plugin.clone())));
    let stream = |level| LogStream {
        log: log.clone(),
        line: Arc::default(),
        level,
    };
    wasi.stdout(stream(Level::INFO)).stderr(stream(Level::WARN));
}

impl LogStream {
    fn take(&self, bytes: &[u8]) {
        let (mut line, mut log) = (self.line.lock(), self.log.lock());
        line.write(&mut log, self.level, bytes);
    }
}

impl Drop for LogStream {
    /// The last words of an instance that goes.
    fn drop(&mut self) {
        if Arc::strong_count(&self.line) == 1 {
            self.line.lock().flush(&mut self.log.lock(), self.level);
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl OutputStream for LogStream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PIECE)
    }
}

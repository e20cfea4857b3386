//! The body of an answer that is a file, or parts of one: read piece by piece as the client takes
//! it.
//!
//! A piece that the kernel has in memory is read at once, or, where nothing is between it and the
//! client's socket, left for the kernel to send ([`FileBody::direct`]). One that it would have to
//! wait for is read by a thread that may wait, and the worker serves others meanwhile.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::model::Files;
use crate::data_plane::buffers::{BODY, Buffers, LARGE};
use crate::data_plane::open_files::HeldFile;
use crate::data_plane::stream::Alarm;
use crate::files::{self, Overloaded};

/// What is read of a small file in one piece with its head.
const SMALL: u64 = 4 << 10;

/// Why a file could not be read on. The display text is the error log's.
#[derive(Debug, thiserror::Error)]
pub(in crate::data_plane::exchange) enum FileFailure {
    #[error("read() failed ({0}) while sending a file")]
    Read(io::Error),
    #[error("a file was cut short while it was sent")]
    CutShort,
    #[error("a file could not be read within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Overloaded(Overloaded),
    #[error("work on a file broke")]
    Broke,
}

impl FileFailure {
    /// The status that the client is told where nothing was sent yet.
    pub(in crate::data_plane::exchange) fn status(&self) -> u16 {
        match self {
            FileFailure::Read(_) | FileFailure::CutShort | FileFailure::Broke => 500,
            FileFailure::Overloaded(_) => 503,
            FileFailure::TimedOut(_) => 504,
        }
    }
}

/// A piece of the body.
pub(super) enum Part {
    /// Between two ranges.
    Text(Vec<u8>),
    /// Bytes of the file, from the first to behind the last.
    Bytes(Range<u64>),
}

impl Part {
    /// It does not leave with the head in one write.
    fn is_large(&self) -> bool {
        matches!(self, Part::Bytes(range) if range.end - range.start > BODY as u64)
    }
}

/// What is still to be sent.
pub(in crate::data_plane::exchange) struct FileBody {
    file: Rc<HeldFile>,
    site: Arc<Files>,
    parts: VecDeque<Part>,
    /// Read; what is before `at` was sent.
    buffer: Vec<u8>,
    at: usize,
    /// Something was read before.
    begun: bool,
    /// The kernel may send it to the client as it is.
    direct: bool,
    /// The last read stopped where the kernel would have had to wait: what comes next has to be read.
    stopped: bool,
    alarm: Alarm,
}

impl FileBody {
    /// `bare`: the client's socket has nothing above it.
    pub(super) fn new(
        file: Rc<HeldFile>,
        site: Arc<Files>,
        parts: VecDeque<Part>,
        bare: bool,
    ) -> FileBody {
        let direct = bare && parts.iter().any(Part::is_large);
        FileBody {
            file,
            site,
            parts,
            buffer: Vec::new(),
            at: 0,
            begun: false,
            direct,
            stopped: false,
            alarm: Alarm::default(),
        }
    }

    /// Whether the kernel may send some of it.
    pub(in crate::data_plane::exchange) fn is_direct(&self) -> bool {
        self.direct
    }

    /// What the kernel can send next without waiting, once all that was read is sent; the range
    /// moves along with what was sent of it. No buffer is held meanwhile.
    pub(super) fn direct(&mut self, buffers: &Buffers) -> Option<(&HeldFile, &mut Range<u64>)> {
        match self.parts.front() {
            Some(Part::Bytes(range))
                if self.direct && !self.stopped && self.file.is_resident_at(range.start) => {}
            _ => return None,
        }
        self.release(buffers);
        match self.parts.front_mut() {
            Some(Part::Bytes(range)) => Some((&self.file, range)),
            _ => None,
        }
    }

    /// Reads the first piece, unless the kernel can send it at once.
    ///
    /// # Errors
    /// [`FileFailure`]
    pub(super) async fn begin(&mut self, buffers: &Buffers) -> Result<(), FileFailure> {
        if self.direct(buffers).is_none() {
            self.read(buffers).await?;
        }
        Ok(())
    }

    pub(in crate::data_plane::exchange) fn unread(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    pub(in crate::data_plane::exchange) fn consume(&mut self, length: usize) {
        self.at += length;
    }

    /// Whether nothing is left but what was read.
    pub(in crate::data_plane::exchange) fn has_ended(&self) -> bool {
        self.parts.is_empty()
    }

    /// Gives the buffer back.
    pub(in crate::data_plane::exchange) fn release(&mut self, buffers: &Buffers) {
        buffers.give(std::mem::take(&mut self.buffer));
        self.at = 0;
    }

    /// Reads on, once all that was read is sent; 0 at the end.
    ///
    /// # Errors
    /// [`FileFailure`]
    pub(in crate::data_plane::exchange) async fn read(
        &mut self,
        buffers: &Buffers,
    ) -> Result<usize, FileFailure> {
        // What the kernel has sent.
        let is_sent = |part: &mut Part| matches!(part, Part::Bytes(range) if range.is_empty());
        self.parts.pop_front_if(is_sent);
        let range = match self.parts.pop_front() {
            None => {
                self.release(buffers);
                return Ok(0);
            }
            Some(Part::Text(text)) => {
                self.release(buffers);
                self.buffer = text;
                return Ok(self.buffer.len());
            }
            Some(Part::Bytes(range)) => range,
        };
        let left = range.end - range.start;
        let capacity = match (self.begun, left) {
            (_, ..=SMALL) => SMALL,
            (false, _) => BODY as u64,
            // As an upstream's body that has filled one such buffer.
            (true, left) => left,
        };
        // One of the largest is kept to the end: a new one would have to be filled with zeros first.
        let wanted = capacity.clamp(BODY as u64, LARGE as u64);
        let fits = self.buffer.capacity() as u64 >= left.min(wanted);
        if !fits || self.buffer.capacity() == 0 {
            self.release(buffers);
            self.buffer = match capacity {
                SMALL => buffers.take_head(),
                capacity => buffers.take_for(usize::try_from(capacity).unwrap_or(usize::MAX)),
            };
        }
        self.begun = true;
        let room = self.buffer.capacity() as u64;
        let most = usize::try_from(left.min(room)).unwrap_or(usize::MAX);
        self.buffer.resize(most, 0);
        self.at = 0;
        let read = self.read_at(range.start).await?;
        if read == 0 {
            return Err(FileFailure::CutShort);
        }
        self.stopped = read < most;
        self.buffer.truncate(read);
        let rest = range.start + read as u64..range.end;
        if rest.start < rest.end {
            self.parts.push_front(Part::Bytes(rest));
        }
        Ok(read)
    }

    /// Fills the buffer, as far as that goes at once.
    async fn read_at(&mut self, offset: u64) -> Result<usize, FileFailure> {
        let file = &self.file.file.0.file;
        match files::read_cached(file, &mut self.buffer, offset) {
            Ok(Some(read)) => return Ok(read),
            Ok(None) => {}
            Err(error) => return Err(FileFailure::Read(error)),
        }
        let (file, mut buffer) = (self.file.file.clone(), std::mem::take(&mut self.buffer));
        let work = move || {
            let read = files::read(&file.0.file, &mut buffer, offset);
            (read, buffer)
        };
        let answer = files::run(&self.site.root, work).map_err(FileFailure::Overloaded)?;
        let timeout = self.site.timeout;
        let (read, buffer) = self
            .alarm
            .within(timeout, answer)
            .await
            .map_err(|_| FileFailure::TimedOut(timeout))?
            .map_err(|_| FileFailure::Broke)?;
        self.buffer = buffer;
        read.map_err(FileFailure::Read)
    }
}

//! Bytes of an open file.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::fault_injection;

/// Reads what the kernel has in memory, so that no disk is waited for: fewer bytes than asked for
/// where it has only a part; none where it would have to wait, or cannot tell. Zero at the end of
/// the file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn read_cached(file: &File, into: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    if fault_injection::fails("page cache") {
        return Ok(None);
    }
    let into = &mut [IoSliceMut::new(into)];
    match preadv2(file, into, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads some bytes, and waits for the disk. Zero at the end of the file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn read(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

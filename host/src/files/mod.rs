//! Files of a directory that routes answer with: found, opened and read, on threads that may wait
//! for a disk. Knows no HTTP beyond what a file says of itself: its type, its validators.
//!
//! Nothing here is called by a worker but [`run`], which never waits, and what reads or sends bytes
//! that are in memory: [`read_cached`] and [`Resident`].

mod pool; // threads that may wait
mod beneath; // nothing outside of the root
mod find; // which file a path stands for
mod listing; // what is in a directory
mod room; // memory that all listings share
mod read; // its bytes
mod resident; // which of them the kernel can send by itself

pub(crate) use find::{Found, NotServed, OpenFile, Reason, find};
pub(crate) use pool::{Overloaded, run};
pub(crate) use read::{read, read_cached};
pub(crate) use resident::Resident;

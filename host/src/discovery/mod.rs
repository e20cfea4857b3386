//! Servers that are listed elsewhere: in a file, by a URL, in etcd, in Consul, in Kubernetes.
//!
//! A thread of its own has a task for each upstream with a source. It reads the list, waits for
//! another one in the way of its kind, and tells of it; the control plane makes a change of that. A
//! list that cannot be had, or not be used, changes nothing. Declared from the ground up.

mod disk; // files, without holding up other sources
mod line_buffer; // pieces of an answer as lines
mod client; // one request over HTTP, and its answer
mod reader; // the five kinds, as one
mod file; // a file that is watched
mod http; // a URL that is polled
mod etcd; // the keys below a prefix
mod consul; // the instances of a service
mod kubernetes; // the endpoints of a service
mod known; // what is known of one list
mod handed_on; // lists for the process that takes over
mod kept; // lists on a disk
mod shared; // what is known of all lists
mod source; // the task of one source
mod problems; // what a check finds
mod sources; // the thread: start here

pub(crate) use self::file::listed_in_file;
pub(crate) use self::problems::problems;
pub(crate) use self::shared::Listed;
pub(crate) use self::sources::{HeldSources, Sources};

/// An answer as each of the APIs would have it, for the fuzzer.
#[cfg(any(fuzzing, test))]
pub(crate) fn items_of_any(
    answer: &serde_json::Value,
) -> [Result<Vec<serde_json::Value>, String>; 4] {
    [
        consul::instances(answer.clone(), true),
        consul::instances(answer.clone(), false),
        etcd::items(answer.clone()),
        kubernetes::items(answer.clone()),
    ]
}

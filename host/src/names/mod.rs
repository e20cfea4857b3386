//! What the names of servers stand for: asked of name servers, and again when the answer has
//! expired, or when a connection fails.
//!
//! A configuration says what is written, a [`Resolution`] what is true at this moment; a snapshot
//! is built of both. All questions are asked on a thread of their own: nothing that serves, and
//! nothing that changes what is served, waits for a name server longer than it wants to.

mod doubt; // a sign that an answer is out of date
mod resolution; // answers, by name
mod known; // what is known of one name, and when it is asked for again
mod system; // the name servers, domains and hosts of this machine
mod runtime; // the event loop, for the DNS library
mod paces; // how questions went the last time
mod places; // how many questions there are at a time, and which
mod name_servers; // one question about one kind of records
mod question; // one about a name, and what name servers say
mod handed_on; // what the next process is to know
mod shared; // what is known of all names
mod asking; // one name, asked about again and again
mod tasks; // the thread, with a task for each name
mod service; // what others ask of it: start here

pub(crate) use doubt::Doubt;
pub(crate) use known::NameState;
#[cfg(test)]
pub(crate) use resolution::tests_addresses;
pub(crate) use resolution::{Located, Resolution, ServerAddresses, Supposed};
pub(crate) use service::{Learned, Names};
pub(crate) use tasks::{NamesToFollow, Tried, Unanswered, Until};

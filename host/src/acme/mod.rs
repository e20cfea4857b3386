//! Certificates that are ordered and renewed by themselves (RFC 8555), on a thread of its own: see
//! [`thread`]. The protocol is `instant-acme`'s; what is here is when, with what, and what becomes of
//! it.
//!
//! The store is the only thing that is shared: with other processes, and with the data path. A
//! certificate is a file of it, which is served as any other is; a challenge is a file of it, which a
//! worker looks for when it is asked. So it does not matter which process is asked, or which has
//! ordered.

mod store; // the directory: written to in one step, one process at a time
mod challenges; // what is answered while a domain is validated
mod failure; // why there is no certificate, and what to do
mod http; // how the authority is asked
mod renewal; // when
mod attempts; // what has failed, across starts
mod order; // one certificate, from the first request to the last
mod authority; // all certificates of one authority, one after the other
mod thread; // all authorities

pub(crate) use self::challenges::{challenge_for, key_authorization};
pub(crate) use self::thread::{Acme, OrderStatus};

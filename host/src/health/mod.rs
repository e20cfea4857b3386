//! Looks after the health of endpoints, on a thread of its own: probes each of them from time to
//! time, for the process as a whole, and ejects those that answer worse than their peers.
//!
//! What is found stands in the [`EndpointStats`](crate::data_plane::upstream::EndpointStats), where
//! workers find it. A change of the configuration changes what is looked after in place: an
//! endpoint that stays goes on where it was.

mod streak; // when probes in a row change something
mod outliers; // who answers worse than its peers
mod sweeping; // has them ejected
mod probing; // asks one endpoint again and again
mod thread; // what is looked after: start here

pub(crate) use thread::HealthThread;

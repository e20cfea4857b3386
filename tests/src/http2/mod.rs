//! HTTP/2 peers, on either side of the proxy.
//!
//! Those that behave are h2's: [`Http2`] asks, [`answers`] and [`serves`] answer. Those that do not
//! write their frames by hand with [`Raw`], since a library would refuse to send what the specs are
//! about.

mod frame; // frames and header blocks as bytes
mod raw; // a connection of frames written by hand
mod client; // a client that behaves
mod origin; // a server that behaves

pub use client::{Http2, Stream};
pub use frame::{Frame, block, flag, kind, setting};
pub use h2::Reason;
pub use origin::{Exchange, answers, answers_with, says, serves};
pub use raw::{Outcome, PREFACE, Raw};

use crate::wire::Fields;

/// A header map in the harness's own words.
fn fields(map: &http::HeaderMap) -> Fields {
    let text =
        |value: &http::HeaderValue| value.as_bytes().iter().map(|b| char::from(*b)).collect();
    Fields(
        map.iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
    )
}

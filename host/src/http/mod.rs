//! HTTP as text: heads, framing, targets, variables. No sockets, no configuration.

pub mod head;
pub mod framing;
pub mod target;
pub mod authority;
pub mod path;
pub mod headers;
pub mod range;
pub mod validators;
pub mod websocket;
pub mod grpc;
pub mod content_coding;
pub mod variable;
pub mod template;
pub mod definition;
pub mod clock;
pub mod trace_context;

/// A table of the bytes in `members`, for checks that look at every byte of a request.
const fn byte_set(members: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut at = 0;
    while at < members.len() {
        set[members[at] as usize] = true;
        at += 1;
    }
    set
}

//! HTTP as text: heads, framing, targets, variables. No sockets, no configuration.

pub mod template;
pub mod variable;

//! Text with variables, as in `https://$host$request_uri`: parsed once, rendered into a buffer.

/// Literal text and variables in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {}

//! Bodies as hooks ask for them, and are asked about them: see `bodies` in the WIT.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift};

/// Bytes of a body that a hook sees as a whole, and of what it gives in one call.
pub(in crate::plugin) const MOST_AT_ONCE: usize = 16 << 20;

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySide {
    Request,
    Response,
}

/// How a body is wanted: see `bodies.manner` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub enum Manner {
    #[component(name = "whole")]
    Whole(Bound),
    #[component(name = "chunks")]
    Chunks,
    #[component(name = "watch")]
    Watch,
}

/// How much of a body is wanted: see `bodies.bound` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Bound {
    #[component(name = "at-most")]
    pub at_most: u32,
    pub beyond: Beyond,
}

impl Bound {
    /// Bytes that count.
    pub fn bytes(self) -> usize {
        usize::try_from(self.at_most).map_or(MOST_AT_ONCE, |bytes| bytes.min(MOST_AT_ONCE))
    }
}

/// What becomes of a larger body: see `bodies.beyond` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Beyond {
    #[component(name = "refuse")]
    Refuse,
    #[component(name = "pass")]
    Pass,
}

/// In which coding it is wanted: see `bodies.form` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Form {
    #[component(name = "as-sent")]
    AsSent,
    #[component(name = "decoded")]
    Decoded,
}

/// What a hook wants of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyWish {
    pub manner: Manner,
    pub form: Form,
}

/// What a hook is asked about a body.
#[derive(Debug, Clone, Copy)]
pub struct BodyCall<'a> {
    pub side: BodySide,
    /// All of it, or a piece.
    pub data: &'a Arc<Vec<u8>>,
    pub last: bool,
    pub whole: bool,
    /// It may be replaced, by so many bytes at most.
    pub may_give: Option<usize>,
    /// Lines.
    pub trailers: &'a [u8],
}

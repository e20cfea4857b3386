//! Carries one request through, and its response back.

pub mod router;

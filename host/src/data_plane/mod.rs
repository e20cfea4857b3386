//! Carries exchanges. Declared in the order a request meets them.

pub mod exchange;

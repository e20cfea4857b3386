//! From TOML as written to a configuration as meant; every problem with its place and a hint.

pub mod model;
pub mod problem;

//! The names of the plugins that come with the host: the folders of `plugins`, as the build script
//! has bundled them. No other list is kept: they are plugins like any other.

/// In alphabetical order.
pub const NAMES: &[&str] = include!(concat!(env!("OUT_DIR"), "/stock_names.rs"));

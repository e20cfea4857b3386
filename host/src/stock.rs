//! The plugins that come with the host, by name: the folders of `plugins`, as the build script has
//! bundled them, and what each is good for, as its exports say. No other list is kept: they are
//! plugins like any other.

/// In alphabetical order.
pub const NAMES: &[&str] = include!(concat!(env!("OUT_DIR"), "/stock_names.rs"));

/// Each with its kinds, in the order of [`NAMES`].
const KINDS: &[(&str, &[Kind])] = include!(concat!(env!("OUT_DIR"), "/stock_kinds.rs"));

/// What a plugin may be used as. One may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Policy,
    Filter,
    Scorer,
    Hook,
}

impl Kind {
    /// As messages have it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Policy => "policy",
            Kind::Filter => "filter",
            Kind::Scorer => "scorer",
            Kind::Hook => "hook",
        }
    }
}

/// The kinds of a stock plugin; none for any other name.
pub fn kinds(name: &str) -> Option<&'static [Kind]> {
    let mut all = KINDS.iter();
    all.find(|(known, _)| *known == name)
        .map(|(_, kinds)| *kinds)
}

/// The names of one kind, in alphabetical order.
pub fn names_of(kind: Kind) -> impl Iterator<Item = &'static str> {
    KINDS
        .iter()
        .filter(move |(_, kinds)| kinds.contains(&kind))
        .map(|(name, _)| *name)
}

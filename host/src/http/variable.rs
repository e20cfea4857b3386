//! nginx's variables by name, and who can answer for them.

/// A variable, parsed once; names are nginx's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Variable {
    Placeholder,
}

/// Whoever knows the values of variables: an exchange, mostly.
pub trait Source {
    /// Appends the variable's value to `out`; false, and nothing appended, where it has none.
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool;
}

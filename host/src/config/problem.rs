//! What is wrong with a configuration: a message, the place, and the way out.

/// A place in a configuration file. Lines and columns count from 1; 0 where the place is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub file: std::sync::Arc<str>,
    pub line: u32,
    pub column: u32,
    /// The key's path in the file: `route[2].proxy`.
    pub key: String,
}

/// One problem, as `waypost check` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// Lower case, no full stop, values in backticks.
    pub message: String,
    pub hint: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", self.message)?;
        let Place { file, line, column, key } = &self.place;
        if *line > 0 {
            write!(f, "\n  --> {file}:{line}:{column}")?;
        } else {
            write!(f, "\n  --> {file}")?;
        }
        if !key.is_empty() {
            write!(f, "   ({key})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

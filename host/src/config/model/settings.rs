//! Where the settings of a plugin stand in the file, for problems that the plugin itself reports.

use std::path::PathBuf;

use crate::config::problem::{Place, Problem};

/// Where a plugin's table and its settings stand in the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettingsPlace {
    /// The table, or the name that stands for a table without settings.
    pub table: Place,
    /// By dotted key within the table: `cookie.path`.
    pub keys: Vec<(String, Place)>,
}

impl SettingsPlace {
    /// What paths in the settings are relative to: the directory of the file that has them.
    pub fn directory(&self) -> PathBuf {
        self.table.beside(".")
    }

    /// A problem that the plugin itself reports about one of its settings, at the line of that
    /// setting. `key` is dotted, as in `settings-error` of the WIT; a key that the file does not
    /// have is reported at the table around it.
    pub fn problem(&self, key: &str, message: &str) -> Problem {
        let mut around = Some(key).filter(|key| !key.is_empty());
        while let Some(key) = around {
            if let Some((_, place)) = self.keys.iter().find(|(known, _)| known == key) {
                return Problem::new(place, message);
            }
            around = key.rfind(['.', '[']).and_then(|end| key.get(..end));
        }
        Problem::new(&self.table, message)
    }
}

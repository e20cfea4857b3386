//! What the process has from its environment by `${env:NAME}`: most often secrets, which are not to be
//! told where they stand as they are; what was encoded, hashed or cut is not known again.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Shorter values are numbers, words and names of hosts, which others are likely to be the same as.
const SHORTEST: usize = 8;

/// Names and values, the longest value first.
#[derive(Clone, Default)]
pub struct FromEnvironment(Arc<[(String, String)]>);

impl FromEnvironment {
    pub fn new(values: Vec<(String, String)>) -> FromEnvironment {
        let values = values.into_iter();
        let values = values.map(|(name, value)| (name, value.trim().to_owned()));
        let mut values: Vec<_> = values
            .filter(|(_, value)| value.len() >= SHORTEST)
            .collect();
        values.sort_by_key(|(name, value)| (std::cmp::Reverse(value.len()), name.clone()));
        values.dedup();
        FromEnvironment(values.into())
    }

    /// The text as the file would write it: `${env:NAME}` wherever such a value stands.
    pub fn masked(&self, text: &str) -> String {
        let values = self.0.iter();
        values.fold(text.to_owned(), |text, (name, value)| {
            match text.contains(value.as_str()) {
                true => text.replace(value, &format!("${{env:{name}}}")),
                false => text,
            }
        })
    }

    /// Masks each text of what is told; names of fields stay.
    pub fn mask(&self, told: &mut Value) {
        if self.0.is_empty() {
            return;
        }
        match told {
            Value::String(text) => *text = self.masked(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask(item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.mask(value)),
            _ => {}
        }
    }
}

/// Without the values.
impl fmt::Debug for FromEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_masked_wherever_it_stands_and_a_short_one_is_not() {
        let values = [
            ("SHORT", "3000"),
            ("TOKEN", "s3cret-token\n"),
            ("LONG", "s3cret-token-2"),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let of_process = FromEnvironment::new(values.to_vec());
        let mut told =
            json!({ "a": ["x=s3cret-token", { "b": "s3cret-token-2 on port 3000" }], "c": 1 });
        of_process.mask(&mut told);
        let expected =
            json!({ "a": ["x=${env:TOKEN}", { "b": "${env:LONG} on port 3000" }], "c": 1 });
        assert_eq!(told, expected);
        assert!(!format!("{of_process:?}").contains("s3cret"));
    }
}

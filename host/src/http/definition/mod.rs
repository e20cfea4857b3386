//! Variables of one's own, as a configuration declares them: what each is computed from, and what
//! of it an exchange keeps.
//!
//! A value is computed when it is first asked for, and kept for as long as nothing that it is made
//! of can change: see [`Lasting`]. So it is always what computing it at that moment would give.

mod kept; // values that an exchange has computed
mod map; // by text
mod networks; // by address
mod split; // by share of a hash
mod values; // texts that values are made by

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use kept::KeptValues;
pub use map::{Map, MapKey};
pub use networks::Networks;
pub use split::{Share, ShareError, Shares, Split};
pub use values::Values;

use super::template::Template;
use super::variable::{Defined, KnownNames, Lasting, Phases, Variable, VariableSource};

/// Bytes of a value at most. A longer one has no value: variables that are made of each other could
/// grow without end.
pub const LONGEST_VALUE: usize = 64 << 10;

/// A variable that the configuration declares.
#[derive(Debug)]
pub struct Definition {
    /// Without `$`, in lower case.
    pub name: Box<str>,
    pub computation: Computation,
}

/// What a value is computed from.
#[derive(Debug)]
pub enum Computation {
    /// A text (nginx: `set`).
    Value(Template),
    /// What another text is (nginx: `map`).
    Map(Map),
    /// The network that an address is in (nginx: `geo`).
    Networks(Networks),
    /// The hash of another text (nginx: `split_clients`).
    Split(Split),
}

/// All variables that a configuration declares, in file order.
#[derive(Default)]
pub struct Definitions {
    list: Vec<Definition>,
    by_name: HashMap<Box<str>, Variable>,
    names: Arc<KnownNames>,
}

impl Definitions {
    /// `by_name`: each variable of the list, by its name. `captures`: names of groups in the regexes
    /// of routes.
    pub fn new(
        list: Vec<Definition>,
        by_name: HashMap<Box<str>, Variable>,
        captures: Vec<Box<str>>,
    ) -> Definitions {
        let declared = by_name.iter();
        let declared = declared.map(|(name, variable)| (name.clone(), variable.phases()));
        let captures = captures.into_iter().map(|name| (name, Phases::REQUESTS));
        Definitions {
            names: Arc::new(captures.chain(declared).collect()),
            list,
            by_name,
        }
    }

    pub fn list(&self) -> &[Definition] {
        &self.list
    }

    /// The variable that a configuration declares by this name, which is in lower case.
    pub fn declared(&self, name: &str) -> Option<Defined> {
        match self.by_name.get(name)? {
            Variable::Defined(defined) => Some(*defined),
            _ => None,
        }
    }

    /// What plugins may ask for by name, beside nginx's own.
    pub fn names(&self) -> &Arc<KnownNames> {
        &self.names
    }

    /// Whether the value of a variable may be made of one like `wanted`, itself included.
    pub fn depends_on(&self, variable: &Variable, wanted: &dyn Fn(&Variable) -> bool) -> bool {
        if wanted(variable) {
            return true;
        }
        let Variable::Defined(defined) = variable else {
            return false;
        };
        let definition = self.list.get(defined.index as usize);
        definition.is_some_and(|definition| {
            let templates = definition.computation.templates();
            let mut variables = templates.flat_map(Template::variables);
            variables.any(|variable| self.depends_on(variable, wanted))
        })
    }

    /// Appends the value of a variable for an exchange, of which `source` knows all others and
    /// `kept` what was computed before; false, and nothing appended, where it is longer than
    /// [`LONGEST_VALUE`].
    pub fn append(
        &self,
        variable: Defined,
        source: &dyn VariableSource,
        kept: &KeptValues,
        out: &mut Vec<u8>,
    ) -> bool {
        let is_kept = variable.lasting != Lasting::Never;
        if is_kept && let Some(has_value) = kept.append(variable.index, out) {
            return has_value;
        }
        let Some(definition) = self.list.get(variable.index as usize) else {
            return false;
        };
        let start = out.len();
        definition.computation.append(source, out);
        let has_value = out.len() - start <= LONGEST_VALUE;
        if !has_value {
            out.truncate(start);
        }
        if is_kept {
            kept.keep(variable, has_value.then_some(&out[start..]));
        }
        has_value
    }
}

/// What they say, always in the same order.
impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

impl Computation {
    fn append(&self, source: &dyn VariableSource, out: &mut Vec<u8>) {
        match self {
            Computation::Value(template) => template.render(source, out),
            Computation::Map(map) => map.append(source, out),
            Computation::Networks(networks) => networks.append(source, out),
            Computation::Split(split) => split.append(source, out),
        }
    }

    /// The key of the configuration that says so.
    pub fn key(&self) -> &'static str {
        match self {
            Computation::Value(_) => "value",
            Computation::Map(_) => "map",
            Computation::Networks(_) => "networks",
            Computation::Split(_) => "split",
        }
    }

    /// Where all that it is made of has a value, and how long that stays what it is.
    pub fn phases_and_lasting(&self) -> (Phases, Lasting) {
        let variables = self.templates().flat_map(Template::variables);
        // What its own regexes capture is there whenever it is computed.
        let variables = variables.filter(|variable| !matches!(variable, Variable::Capture(_)));
        variables.fold(
            (Phases::ALWAYS, Lasting::Exchange),
            |(phases, lasting), variable| {
                (
                    phases.and(variable.phases()),
                    lasting.min(variable.lasting()),
                )
            },
        )
    }

    /// What it is computed from, and the texts of which one is the value.
    fn parts(&self) -> (Option<&Template>, Box<dyn Iterator<Item = &Template> + '_>) {
        match self {
            Computation::Value(template) => (None, Box::new(std::iter::once(template))),
            Computation::Map(map) => (Some(map.from()), Box::new(map.values())),
            Computation::Networks(networks) => (networks.from(), Box::new(networks.values())),
            Computation::Split(split) => (Some(split.from()), Box::new(split.values())),
        }
    }

    /// Values that are asked for at most to compute it, `of` being those for one variable.
    pub fn most_asked(&self, of: &dyn Fn(&Variable) -> u64) -> u64 {
        let asked = |template: &Template| -> u64 {
            let variables = template.variables().map(of);
            variables.fold(0, u64::saturating_add)
        };
        let (from, values) = self.parts();
        let from = from.map_or(0, asked);
        from.saturating_add(values.map(asked).max().unwrap_or_default())
    }

    /// The texts that it is made of.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let (from, values) = self.parts();
        from.into_iter().chain(values)
    }
}

#[cfg(test)]
mod tests;

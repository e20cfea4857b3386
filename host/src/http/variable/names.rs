//! Names of variables beside nginx's own: those that a configuration declares, and those of the
//! groups of regexes.

use std::collections::HashMap;

use super::{Capture, Name, Phases, UnknownVariable, Variable};

/// The names that a text may have variables of, beside nginx's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// Those that the configuration declares, in lower case.
    pub declared: Option<&'a HashMap<Box<str>, Variable>>,
    /// Those of the regexes that have matched when the text is made.
    pub captures: Option<&'a CaptureNames>,
}

/// The groups of regexes that values can be taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureNames {
    /// How many have a number.
    groups: usize,
    /// In lower case.
    names: Vec<Box<str>>,
}

/// Names that plugins may ask for, beside nginx's own, and where each has a value: those that the
/// configuration declares, and those of the groups of its routes' regexes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownNames(HashMap<Box<str>, Phases>);

impl FromIterator<(Box<str>, Phases)> for KnownNames {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Phases)>>(names: I) -> KnownNames {
        KnownNames(names.into_iter().collect())
    }
}

impl KnownNames {
    /// Where a variable has a value, one of nginx's own included.
    ///
    /// # Errors
    /// [`UnknownVariable`], with the name that was probably meant.
    pub fn look_up(&self, name: &str) -> Result<Phases, UnknownVariable> {
        if let Some(variable) = Variable::parse(name) {
            return Ok(variable.phases());
        }
        let found = self.0.get(&*name.to_ascii_lowercase()).copied();
        found.ok_or_else(|| UnknownVariable {
            name: name.to_owned(),
            closest: Variable::closest_name(name, self.0.keys().map(|name| &**name)),
            groups: None,
        })
    }

    /// Those that `other` has not, or that have their values elsewhere there.
    pub fn not_in<'a>(&'a self, other: &'a KnownNames) -> impl Iterator<Item = &'a str> {
        let differing = self.0.iter();
        let differing = differing.filter(|(name, phases)| other.0.get(*name) != Some(*phases));
        differing.map(|(name, _)| &**name)
    }
}

impl<'a> Names<'a> {
    /// The same, for a text that is made when these regexes have matched.
    pub fn with_captures(self, captures: &'a CaptureNames) -> Names<'a> {
        Names {
            captures: Some(captures),
            ..self
        }
    }

    /// The variable of a name without its `$`, in any case.
    ///
    /// # Errors
    /// [`UnknownVariable`], with the name that was probably meant.
    pub fn look_up(self, name: &str) -> Result<Variable, UnknownVariable> {
        let found = Variable::parse(name)
            .or_else(|| self.declared(name))
            .or_else(|| self.captures?.find(name));
        found.ok_or_else(|| {
            let declared = self.declared.into_iter().flat_map(HashMap::keys);
            let captures = self.captures.into_iter().flat_map(CaptureNames::names);
            let own = declared.map(|name| &**name).chain(captures);
            let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
            UnknownVariable {
                name: name.to_owned(),
                closest: Variable::closest_name(name, own),
                groups: is_number.then(|| self.captures.map_or(0, |captures| captures.groups)),
            }
        })
    }

    fn declared(self, name: &str) -> Option<Variable> {
        let declared = self.declared?;
        let found = declared.get(name);
        found
            .or_else(|| declared.get(&*name.to_ascii_lowercase()))
            .cloned()
    }
}

impl CaptureNames {
    /// Those of a regex, of which `captures_len` and `capture_names` are known.
    pub fn new<'n>(groups: usize, names: impl Iterator<Item = Option<&'n str>>) -> CaptureNames {
        CaptureNames {
            groups: groups.saturating_sub(1),
            names: names
                .flatten()
                .map(|name| name.to_ascii_lowercase().into())
                .collect(),
        }
    }

    /// Adds the names of another regex, and its groups where this one has none.
    pub fn or(mut self, other: CaptureNames) -> CaptureNames {
        if self.groups == 0 {
            self.groups = other.groups;
        }
        self.names.extend(other.names);
        self
    }

    /// Adds the names of regexes that have matched before.
    pub fn and_names_of(mut self, before: Option<&CaptureNames>) -> CaptureNames {
        let names = before.into_iter().flat_map(|before| &before.names);
        self.names.extend(names.cloned());
        self
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub fn into_names(self) -> impl Iterator<Item = Box<str>> {
        self.names.into_iter()
    }

    fn find(&self, name: &str) -> Option<Variable> {
        if let [digit @ b'1'..=b'9'] = name.as_bytes() {
            let number = digit - b'0';
            let exists = usize::from(number) <= self.groups;
            return exists.then_some(Variable::Capture(Capture::Number(number)));
        }
        let mut names = self.names();
        let found = names.any(|known| known.eq_ignore_ascii_case(name));
        let name = Name::plain(name.as_bytes()).filter(|_| found)?;
        Some(Variable::Capture(Capture::Name(name)))
    }
}

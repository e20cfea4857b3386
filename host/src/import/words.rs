//! Texts as they are written: variables of `map`, of `set` and of regexes become `[variable.NAME]`
//! where a text needs them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::declared::{Declaration, Made};
use super::report::Accounts;
use super::tables::Tables;
use super::tree::Directive;
use super::variables::{Constants, Match, MatchPlace, Part, joined_of, names_in, variable_name};
use super::writer::{Table, text};
use crate::http::template::{Template, TemplateError};
use crate::http::variable::{CaptureNames, Names, Phase, Variable};

/// What is known of the `server` that is translated.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    /// What `$server_name` is.
    pub(super) server_name: Option<String>,
    /// Its names: what `$host` can be.
    pub(super) names: Vec<String>,
    /// Whether its routes name their hosts, so that what those have matched is known to them.
    pub(super) has_hosts: bool,
    /// What `$scheme` is, where all of its listeners agree.
    pub(super) scheme: Option<&'static str>,
}

/// Directives of modules that are not there which make a variable.
pub(super) const MAKERS: [&str; 7] = [
    "auth_request_set",
    "js_set",
    "perl_set",
    "set_by_lua",
    "set_by_lua_block",
    "set_escape_uri",
    "set_unescape_uri",
];

/// What texts are translated with.
pub(super) struct Words<'a> {
    /// Those of the context at hand.
    pub(super) tables: Tables<'a>,
    /// Those of `http`, and of `stream`.
    of_requests: Tables<'a>,
    of_sessions: Tables<'a>,
    pub(super) accounts: &'a Accounts,
    pub(super) around: Around,
    /// Variables that a `set` gives a value anywhere.
    set_somewhere: HashSet<String>,
    /// Variables of directives that are not there, and those.
    of_others: HashMap<String, &'static str>,
    /// Those that are attributes here, which `auth_request` makes.
    attributes: HashSet<String>,
    /// Names that regexes give their groups.
    pub(super) groups: HashSet<String>,
    pub(super) made: RefCell<Made>,
    /// Whether what was written is of one place alone.
    is_of_place: Cell<bool>,
}

/// Where a text will stand.
#[derive(Clone, Copy)]
pub(super) struct Here<'c> {
    pub(super) constants: &'c Constants,
    /// The regex whose groups are known by themselves: in the value behind a key.
    pub(super) matched: Option<&'c Rc<Match>>,
    /// Whether groups of a route's own regexes are known.
    pub(super) is_route: bool,
}

impl<'c> Here<'c> {
    /// In a variable, a condition or the settings of a plugin.
    pub(super) fn anywhere(constants: &'c Constants) -> Here<'c> {
        Here {
            constants,
            matched: None,
            is_route: false,
        }
    }

    pub(super) fn route(constants: &'c Constants) -> Here<'c> {
        Here {
            is_route: true,
            ..Here::anywhere(constants)
        }
    }

    pub(super) fn behind(self, matched: &'c Rc<Match>) -> Here<'c> {
        Here {
            matched: Some(matched),
            ..self
        }
    }
}

impl<'a> Words<'a> {
    pub(super) fn new(directives: &[Directive], accounts: &'a Accounts) -> Words<'a> {
        let mut words = Words {
            tables: Tables::default(),
            of_requests: Tables::default(),
            of_sessions: Tables::default(),
            accounts,
            around: Around::default(),
            set_somewhere: HashSet::new(),
            of_others: HashMap::new(),
            attributes: super::asking::attributes(directives).into_keys().collect(),
            groups: HashSet::new(),
            made: RefCell::default(),
            is_of_place: Cell::new(false),
        };
        words.look_for_names(directives);
        words
    }

    /// Takes the variables that a context declares.
    pub(super) fn declare(&mut self, children: &'a [Directive], phase: Phase) {
        let tables = Tables::of(children);
        match phase {
            Phase::Choice => self.of_sessions = tables,
            _ => self.of_requests = tables,
        }
        self.go_to(phase);
    }

    /// Goes to `http`, or to `stream` where servers are chosen for sessions.
    pub(super) fn go_to(&mut self, phase: Phase) {
        self.tables = match phase {
            Phase::Choice => self.of_sessions.clone(),
            _ => self.of_requests.clone(),
        };
    }

    fn look_for_names(&mut self, directives: &[Directive]) {
        for directive in directives {
            if directive.name == "set" {
                self.set_somewhere
                    .insert(variable_name(directive.argument(0)));
            }
            let mut makers = MAKERS.iter();
            if let Some(maker) = makers.find(|maker| **maker == directive.name) {
                let name = variable_name(directive.argument(0));
                self.of_others.insert(name, maker);
            }
            for text in std::iter::once(&directive.name).chain(&directive.arguments) {
                for part in text.split('<').skip(1) {
                    let name = part.split('>').next().unwrap_or_default();
                    self.groups.insert(name.to_ascii_lowercase());
                }
            }
            self.look_for_names(directive.children());
        }
    }

    /// A text as Waypost reads it in a route, with what is constant inlined.
    ///
    /// # Errors
    /// What cannot be said.
    pub(super) fn text(
        &self,
        text: &str,
        constants: &Constants,
        phase: Phase,
    ) -> Result<String, String> {
        self.checked(self.inline(text, constants)?, phase)
    }

    /// As [`Words::text`], in the settings of a plugin.
    ///
    /// # Errors
    /// What cannot be said.
    pub(super) fn setting(
        &self,
        text: &str,
        constants: &Constants,
        phase: Phase,
    ) -> Result<String, String> {
        let parts = constants.resolve(text)?;
        self.checked(self.render(&parts, Here::anywhere(constants))?, phase)
    }

    /// Whether a variable is a group of the regexes of a route.
    pub(super) fn is_of_route(&self, name: &str) -> bool {
        self.groups.contains(&name.to_ascii_lowercase())
            || name.starts_with(|first: char| first.is_ascii_digit())
    }

    /// A text of a route with what is constant inlined.
    ///
    /// # Errors
    /// A variable that cannot be said.
    pub(super) fn inline(&self, text: &str, constants: &Constants) -> Result<String, String> {
        self.render(&constants.resolve(text)?, Here::route(constants))
    }

    pub(super) fn checked(&self, text: String, phase: Phase) -> Result<String, String> {
        let made = self.made.borrow();
        let named = names_in(&text).filter(|name| self.groups.contains(&name.to_ascii_lowercase()));
        let captures = CaptureNames::new(10, named.map(Some));
        let names = Names {
            declared: Some(&made.known),
            captures: Some(&captures),
        };
        match Template::parse_for(&text, phase, names) {
            Ok(_) => Ok(text),
            Err(errors) => Err(said(&errors)),
        }
    }

    /// The parts of a text of a variable.
    ///
    /// # Errors
    /// Why a variable has no value that could be said.
    pub(super) fn resolve(&self, constants: &Constants, text: &str) -> Result<Vec<Part>, String> {
        self.resolve_behind(constants, text, None)
    }

    /// As [`Words::resolve`], behind a regex of which `matched` are the groups.
    ///
    /// # Errors
    /// Likewise.
    pub(super) fn resolve_behind(
        &self,
        constants: &Constants,
        text: &str,
        matched: Option<&Rc<Match>>,
    ) -> Result<Vec<Part>, String> {
        let is_of_place = self.is_of_place.get() || constants.knows_of(text);
        self.is_of_place.set(is_of_place);
        constants.resolve_with(text, matched)
    }

    /// The text of parts.
    ///
    /// # Errors
    /// A variable that cannot be said.
    pub(super) fn render(&self, parts: &[Part], here: Here<'_>) -> Result<String, String> {
        let mut written: Vec<(bool, String)> = Vec::new();
        for part in parts {
            written.extend(self.part(part, here)?);
        }
        Ok(joined_of(&written))
    }

    /// A part as a text, or as the name of a variable.
    fn part(&self, part: &Part, here: Here<'_>) -> Result<Option<(bool, String)>, String> {
        Ok(Some(match part {
            Part::Literal(text) => (false, text.clone()),
            Part::Variable(name) => return self.variable(name, here.constants),
            Part::Group(matched, name) => {
                let is_own = here.matched.is_some_and(|own| Rc::ptr_eq(own, matched));
                let is_routes = match matched.place {
                    MatchPlace::Path => here.is_route,
                    MatchPlace::Host => here.is_route && self.around.has_hosts,
                    _ => false,
                };
                let name = match is_own || is_routes {
                    true => name.clone(),
                    false => self.group(matched, name, here)?,
                };
                self.is_of_place.set(true);
                (true, name)
            }
            Part::Choice(choice) => {
                self.is_of_place.set(true);
                (true, self.choice(choice, None, here)?)
            }
            Part::Behind(scheme, part) => match &**part {
                Part::Choice(choice) => {
                    self.is_of_place.set(true);
                    (true, self.choice(choice, Some(scheme), here)?)
                }
                Part::Variable(name) => match self.tables.get(name) {
                    Some(table) => (true, self.table(table, here.constants, Some(scheme))?),
                    None => return Err(format!("the scheme of `${name}` is not known")),
                },
                _ => return Err("the scheme of a server is not known".to_owned()),
            },
        }))
    }

    fn variable(
        &self,
        name: &str,
        constants: &Constants,
    ) -> Result<Option<(bool, String)>, String> {
        let lower = name.to_ascii_lowercase();
        if let Some(table) = self.tables.get(name) {
            return Ok(Some((true, self.table(table, constants, None)?)));
        }
        match &self.around.server_name {
            Some(server) if lower == "server_name" => {
                self.is_of_place.set(true);
                return Ok(Some((false, server.clone())));
            }
            _ if Variable::parse(name).is_some() => return Ok(Some((true, name.to_owned()))),
            _ => {}
        }
        // Nothing is kept, so there is nothing to tell of it.
        if lower == "upstream_cache_status" {
            return Ok(None);
        }
        // Where no hook sets it, it has no value, as in nginx.
        if self.attributes.contains(&lower) && !self.set_somewhere.contains(&lower) {
            return Ok(Some((true, format!("hook_{lower}"))));
        }
        if let Some(maker) = self.of_others.get(&lower) {
            return Err(format!(
                "`${name}` is of `{maker}`, which is not translated"
            ));
        }
        if !self.set_somewhere.contains(&lower) {
            return Err(format!("there is no variable `${name}`"));
        }
        self.is_of_place.set(true);
        match constants.are_of_place {
            // As nginx has it where nothing was set.
            true => Ok(None),
            false => Err(format!(
                "`${name}` is set for some places, and this is said for all of them"
            )),
        }
    }

    /// The variable for a `map`, `geo` or `split_clients`.
    fn table(
        &self,
        table: &Directive,
        constants: &Constants,
        scheme: Option<&str>,
    ) -> Result<String, String> {
        let key = (table.id, scheme.map(str::to_owned));
        if let Some(known) = self.made.borrow().tables.get(&key) {
            return known.clone();
        }
        let before = self.is_of_place.replace(false);
        let name = self.in_chain(table.id, &super::tables::name(table), || {
            let (keys, key, values) = super::tables::definition(self, table, constants, scheme)?;
            self.define(Declaration {
                base: &super::tables::name(table),
                reserved: None,
                directive: Some(table),
                id: table.id,
                keys,
                values: Some((key, values)),
            })
        });
        match &name {
            Ok(name) => self
                .accounts
                .translated(table, format!("`[variable.{name}]`")),
            Err(why) => self.accounts.lost(table, why.clone()),
        }
        if !self.is_of_place.get() {
            self.made.borrow_mut().tables.insert(key, name.clone());
        }
        self.is_of_place.set(before || self.is_of_place.get());
        name
    }

    /// The variable for a text with several parts, named like the one that has it in nginx.
    ///
    /// # Errors
    /// What cannot be said.
    pub(super) fn template(
        &self,
        base: &str,
        id: usize,
        parts: &[Part],
        constants: &Constants,
    ) -> Result<String, String> {
        let value = self.render(parts, Here::anywhere(constants))?;
        let keys = Table::new().with("value", text(&value));
        self.define(Declaration {
            base,
            reserved: None,
            directive: None,
            id,
            keys,
            values: None,
        })
    }
}

/// What is wrong with a text, in one line.
fn said(errors: &[TemplateError]) -> String {
    let messages: Vec<String> = errors
        .iter()
        .map(|error| match error.hint.as_deref() {
            Some(hint) if !hint.contains("did you mean") => format!("{}: {hint}", error.message),
            _ => error.message.clone(),
        })
        .collect();
    messages.join("; ")
}

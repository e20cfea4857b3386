//! Variables in nginx's texts, and what those stand for that `set` and regexes make: at a place, a
//! text is resolved into parts, of which the file that is written knows all (`words`).

use std::collections::HashMap;
use std::rc::Rc;

use super::conditions::{Condition, Test};
use super::expressions::of_ascii;
use super::matching::Location;
pub(super) use super::parts::{Choice, Match, MatchPlace, Part};
use super::parts::{depth, digit};
pub(super) use super::pieces::{Piece, joined_of, names_in, pieces_of};
use super::tree::Directive;

/// Bytes and parts of a value at most: values are made of each other, and could grow without end.
const LONGEST: usize = 64 << 10;
const MOST_PARTS: usize = 256;

/// `if`s in a row that make one value of another, at most.
const DEEPEST: usize = 64;

/// What `$1` to `$9` are.
#[derive(Debug, Clone, Default)]
enum Numbered {
    #[default]
    Empty,
    Of(Rc<Match>),
    /// Of one regex or another, by the request.
    Unclear,
}

/// What variables stand for at a place: those that `set` gives a value there and around, and those
/// of the groups of regexes.
#[derive(Debug, Clone, Default)]
pub(super) struct Constants {
    /// By name in lower case; else why it cannot be said.
    values: HashMap<String, Result<Vec<Part>, String>>,
    named: HashMap<String, Rc<Match>>,
    numbered: Numbered,
    /// Whether they are those of a `server` or a place within: elsewhere, what `set` gives variables
    /// is not known.
    pub(super) are_of_place: bool,
    is_within_location: bool,
    /// What is known behind the `set`s of the server: locations do not run those around them.
    of_server: Option<Rc<Constants>>,
}

impl Constants {
    /// What is known where a context begins.
    pub(super) fn entering(outer: Option<&Constants>, directive: Option<&Directive>) -> Constants {
        let mut constants = outer.cloned().unwrap_or_default();
        let Some(directive) = directive else {
            constants.are_of_place = false;
            return constants;
        };
        match &*directive.name {
            "server" => {
                constants.are_of_place = true;
                let names = directive.children().iter();
                let names = names.filter(|child| child.name == "server_name");
                let mut names = names.flat_map(|names| &names.arguments).peekable();
                let own = match names.peek() {
                    Some(first) if first.starts_with('~') => Some(Err(format!(
                        "`$server_name` is the text of the expression `{first}`: write `$host`, or put \
                         a name before the expression"
                    ))),
                    // Without the dot that names below it begin with (`ngx_http_core_merge_srv_conf`).
                    Some(first) if !first.contains('$') => {
                        let first = first.strip_prefix('.').unwrap_or(first);
                        Some(Ok(vec![Part::Literal(first.to_ascii_lowercase())]))
                    }
                    _ => None,
                };
                if let Some(own) = own {
                    constants.values.insert("server_name".to_owned(), own);
                }
                for regex in names {
                    if regex.starts_with('~') {
                        constants.match_against(MatchPlace::Host, "host", regex);
                    }
                }
            }
            "location" => {
                constants.are_of_place = true;
                let is_within = outer.is_some_and(|outer| outer.is_within_location);
                match constants.of_server.clone() {
                    Some(server) if is_within => {
                        constants = Constants {
                            of_server: Some(Rc::clone(&server)),
                            ..(*server).clone()
                        };
                        constants.are_of_place = true;
                    }
                    _ => constants.of_server = outer.cloned().map(Rc::new),
                }
                constants.is_within_location = true;
                if let Some(Location::Regex(is_exact, regex)) =
                    Location::parse(&directive.arguments)
                {
                    let sign = if is_exact { "~" } else { "~*" };
                    let place = match is_within {
                        true => MatchPlace::PathWithin,
                        false => MatchPlace::Path,
                    };
                    constants.match_against(place, "uri", &format!("{sign}{regex}"));
                }
            }
            "if" => {
                if let Ok((_, _, inner)) = constants.deciding(directive) {
                    return inner;
                }
            }
            _ => {}
        }
        constants
    }

    /// What is known when the directives of a context have been run.
    pub(super) fn after(&self, directive: Option<&Directive>, children: &[Directive]) -> Constants {
        let mut constants = self.clone();
        if directive.is_none_or(|directive| directive.name != "if") {
            for child in children {
                constants.pass(child);
            }
        }
        constants
    }

    /// Forgets what variables stand for that other locations `set` before they lead requests here.
    pub(super) fn forget(&mut self, names: impl Iterator<Item = String>) {
        for name in names {
            let why = format!(
                "`${name}` may have the value of another `location`, which leads requests on: give it \
                 one here"
            );
            self.values.insert(name, Err(why));
        }
    }

    /// Takes over what variables stand for elsewhere.
    pub(super) fn take_from(&mut self, other: &Constants, names: impl Iterator<Item = String>) {
        for name in names {
            if let Some(value) = other.values.get(&name) {
                self.named.remove(&name);
                self.values.insert(name, value.clone());
            }
        }
    }

    fn match_against(&mut self, place: MatchPlace, variable: &str, regex: &str) {
        let from = vec![Part::Variable(variable.to_owned())];
        if let Some(found) = Match::new(place, from, &of_ascii(regex)) {
            self.matched(&Rc::new(found));
        }
    }

    fn matched(&mut self, found: &Rc<Match>) {
        self.name_groups(found);
        self.numbered = match found.groups {
            0 => Numbered::Empty,
            _ => Numbered::Of(Rc::clone(found)),
        };
    }

    /// Gives the names of a regex's groups what those have matched.
    fn name_groups(&mut self, found: &Rc<Match>) {
        for name in &found.names {
            let name = name.to_ascii_lowercase();
            self.values.remove(&name);
            self.named.insert(name, Rc::clone(found));
        }
    }

    /// Runs a directive, where it changes what variables stand for.
    pub(super) fn pass(&mut self, directive: &Directive) {
        match &*directive.name {
            "set" => self.set(directive),
            "if" => self.pass_if(directive),
            // Of a rule that fits, `$1` is its own from there on.
            "rewrite" if directive.argument(0).contains('(') => {
                self.numbered = Numbered::Unclear;
            }
            _ => {}
        }
    }

    fn set(&mut self, directive: &Directive) {
        let name = variable_name(directive.argument(0));
        let value = self.resolve(directive.argument(1)).and_then(bounded);
        self.named.remove(&name);
        self.values.insert(name, value);
    }

    fn pass_if(&mut self, block: &Directive) {
        let ends = |child: &Directive| matches!(&*child.name, "return" | "break");
        // What is set where nothing follows changes nothing behind.
        let sets: Vec<&Directive> = match block.children().iter().any(ends) {
            true => Vec::new(),
            false => {
                let children = block.children().iter();
                children.filter(|child| child.name == "set").collect()
            }
        };
        let (condition, from, mut inner) = match self.deciding(block) {
            Ok(deciding) => deciding,
            Err(why) => {
                for set in sets {
                    let name = variable_name(set.argument(0));
                    self.values.insert(name, Err(why.clone()));
                }
                return;
            }
        };
        let matched = match &inner.numbered {
            Numbered::Of(found) if found.place == MatchPlace::Condition => Some(Rc::clone(found)),
            _ => None,
        };
        for set in &sets {
            inner.set(set);
        }
        let mut values = Vec::new();
        for set in sets {
            let name = variable_name(set.argument(0));
            let otherwise = match self.values.get(&name) {
                Some(value) => value.clone(),
                None => Ok(Vec::new()),
            };
            let then = inner.values.get(&name).cloned().unwrap_or(Ok(Vec::new()));
            let is_constant = literal(&from).map(|text| condition.holds_for(&text));
            let value = match is_constant {
                Some(true) => then,
                Some(false) => otherwise,
                None => then.and_then(|then| {
                    let otherwise = otherwise?;
                    let parts = [&from, &then, &otherwise];
                    let depth = 1 + parts.iter().map(|parts| depth(parts)).max().unwrap_or(0);
                    if depth > DEEPEST {
                        return Err(format!("more than {DEEPEST} conditions make `${name}`"));
                    }
                    Ok(vec![Part::Choice(Rc::new(Choice {
                        name: set.argument(0).trim_start_matches('$').to_owned(),
                        id: set.id,
                        from: from.clone(),
                        condition: condition.clone(),
                        matched: matched.clone(),
                        then,
                        otherwise,
                        depth,
                    }))])
                }),
            };
            values.push((name, value));
        }
        for (name, value) in values {
            self.named.remove(&name);
            self.values.insert(name, value);
        }
        if let Test::Regex(..) = condition.test {
            if let Some(found) = matched {
                self.name_groups(&found);
            }
            let changes_nothing = matches!(
                (&self.numbered, &inner.numbered),
                (Numbered::Empty, Numbered::Empty)
            );
            if !changes_nothing {
                self.numbered = Numbered::Unclear;
            }
        }
    }

    /// What an `if` asks, of which text, and what is known within it.
    fn deciding(&self, block: &Directive) -> Result<(Condition, Vec<Part>, Constants), String> {
        let mut condition = Condition::parse(&block.arguments)?;
        let from = self.resolve(&format!("${{{}}}", condition.variable))?;
        if let Test::Equal(value) = &condition.test {
            let value = literal(&self.resolve(value)?);
            condition.test = Test::Equal(value.ok_or("a condition compares with a fixed text")?);
        }
        let mut inner = self.clone();
        if let (Test::Regex(is_exact, regex), false) = (&condition.test, condition.is_negated) {
            let sign = if *is_exact { "~" } else { "~*" };
            let regex = format!("{sign}{regex}");
            if let Some(found) = Match::new(MatchPlace::Condition, from.clone(), &regex) {
                if found.depth > DEEPEST {
                    return Err(format!("more than {DEEPEST} conditions ask for each other"));
                }
                inner.matched(&Rc::new(found));
            }
        }
        Ok((condition, from, inner))
    }

    /// The condition of an `if` with the text that it asks for.
    ///
    /// # Errors
    /// Why it cannot be said.
    pub(super) fn condition(&self, block: &Directive) -> Result<(Condition, Vec<Part>), String> {
        let (condition, from, _) = self.deciding(block)?;
        Ok((condition, from))
    }

    /// Whether a text has variables that are of this place.
    pub(super) fn knows_of(&self, text: &str) -> bool {
        names_in(text).any(|name| {
            let lower = name.to_ascii_lowercase();
            digit(name).is_some()
                || self.values.contains_key(&lower)
                || self.named.contains_key(&lower)
        })
    }

    /// The parts of a text.
    ///
    /// # Errors
    /// Why a variable has no value that could be said.
    pub(super) fn resolve(&self, text: &str) -> Result<Vec<Part>, String> {
        self.resolve_with(text, None)
    }

    /// As [`Constants::resolve`], behind a regex of which `matched` are the groups.
    ///
    /// # Errors
    /// Likewise.
    pub(super) fn resolve_with(
        &self,
        text: &str,
        matched: Option<&Rc<Match>>,
    ) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        for piece in pieces_of(text) {
            let name = match piece {
                Piece::Literal(literal) => {
                    parts.push(Part::Literal(literal.to_owned()));
                    continue;
                }
                Piece::Variable(name) => name,
            };
            if let Some(group) = matched.and_then(|matched| matched.group(name)) {
                parts.push(group);
                continue;
            }
            let lower = name.to_ascii_lowercase();
            if let Some(number) = digit(name) {
                match &self.numbered {
                    _ if matched.is_some() => {}
                    Numbered::Of(found) if number <= found.groups => {
                        parts.push(Part::Group(Rc::clone(found), lower));
                    }
                    Numbered::Of(_) | Numbered::Empty => {}
                    Numbered::Unclear => {
                        return Err(format!(
                            "what `${name}` is depends on which regex was asked last: give the group \
                             a name, `(?<name>...)`"
                        ));
                    }
                }
            } else if let Some(found) = self.named.get(&lower) {
                parts.push(Part::Group(Rc::clone(found), lower));
            } else if let Some(value) = self.values.get(&lower) {
                parts.extend(value.clone()?);
            } else {
                parts.push(Part::Variable(name.to_owned()));
            }
        }
        bounded(parts)
    }
}

/// A name as it is looked for, in any case (`ngx_http_add_variable`).
pub(super) fn variable_name(text: &str) -> String {
    text.trim_start_matches('$').to_ascii_lowercase()
}

fn bounded(parts: Vec<Part>) -> Result<Vec<Part>, String> {
    let length = |part: &Part| match part {
        Part::Literal(text) => text.len(),
        _ => 0,
    };
    let is_short = parts.len() <= MOST_PARTS && parts.iter().map(length).sum::<usize>() <= LONGEST;
    match is_short {
        true => Ok(parts),
        false => Err("variables make a text that is too long".to_owned()),
    }
}

/// The text of parts that have no variable.
pub(super) fn literal(parts: &[Part]) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Literal(part) => text.push_str(part),
            _ => return None,
        }
    }
    Some(text)
}

//! The `[variable.NAME]`s that texts have needed so far: each said once, under a name that is free.

use std::collections::HashMap;
use std::rc::Rc;

use super::tree::Directive;
use super::variables::{Choice, names_in};
use super::words::Words;
use super::writer::{Block, Table, text};
use crate::config::DEEPEST_VARIABLES;
use crate::http::variable::{Defined, Lasting, Phases, Variable};

/// A variable that is to be declared.
pub(super) struct Declaration<'d> {
    /// The name that it has if it is free.
    pub(super) base: &'d str,
    /// The name that is kept for it, if one is.
    pub(super) reserved: Option<&'d str>,
    /// The directive that it stands for as a whole.
    pub(super) directive: Option<&'d Directive>,
    /// The number of the directive that it is put in the order of.
    pub(super) id: usize,
    pub(super) keys: Table,
    pub(super) values: Option<(&'static str, Table)>,
}

/// The variables that were made so far.
#[derive(Default)]
pub(super) struct Made {
    blocks: Vec<(usize, Block)>,
    pub(super) known: HashMap<Box<str>, Variable>,
    /// By what they say.
    by_content: HashMap<(String, String), String>,
    /// By the number of the `map` and the like, and the scheme that its values are without.
    pub(super) tables: HashMap<(usize, Option<String>), Result<String, String>>,
    /// By where they are in memory, while one text is written, with the scheme that they are without.
    choices: HashMap<(*const Choice, Option<String>), Result<String, String>>,
    /// Those under way, each of which is made of the next.
    chain: Vec<usize>,
    /// The names that those will have.
    reserved: Vec<String>,
}

impl Words<'_> {
    /// Makes something of what is under way already, but for a circle.
    pub(super) fn in_chain(
        &self,
        id: usize,
        name: &str,
        make: impl FnOnce() -> Result<String, String>,
    ) -> Result<String, String> {
        {
            let chain = &mut self.made.borrow_mut().chain;
            if chain.contains(&id) {
                return Err(format!("`${name}` is made of itself"));
            }
            if chain.len() == DEEPEST_VARIABLES {
                return Err(format!(
                    "more than {DEEPEST_VARIABLES} variables are made of each other, up to `${name}`"
                ));
            }
            chain.push(id);
        }
        let made = make();
        self.made.borrow_mut().chain.pop();
        made
    }

    /// Keeps a name for a variable whose parts come first.
    pub(super) fn reserve(&self, base: &str) -> String {
        let made = &mut *self.made.borrow_mut();
        let name = self.free_name(made, base);
        made.reserved.push(name.clone());
        name
    }

    pub(super) fn release(&self, name: &str) {
        self.made
            .borrow_mut()
            .reserved
            .retain(|known| known != name);
    }

    /// What was made of a choice while the text at hand is written.
    pub(super) fn known_choice(
        &self,
        choice: &Rc<Choice>,
        scheme: Option<&str>,
    ) -> Option<Result<String, String>> {
        let made = &mut *self.made.borrow_mut();
        if made.chain.is_empty() {
            made.choices.clear();
        }
        let key = (Rc::as_ptr(choice), scheme.map(str::to_owned));
        made.choices.get(&key).cloned()
    }

    pub(super) fn note_choice(
        &self,
        choice: &Rc<Choice>,
        scheme: Option<&str>,
        name: &Result<String, String>,
    ) {
        let key = (Rc::as_ptr(choice), scheme.map(str::to_owned));
        self.made.borrow_mut().choices.insert(key, name.clone());
    }

    /// Declares a variable, unless there is one that says the same. Returns its name.
    ///
    /// # Errors
    /// What is wrong with its texts.
    pub(super) fn define(&self, declaration: Declaration<'_>) -> Result<String, String> {
        let Declaration {
            base,
            reserved,
            directive,
            id,
            mut keys,
            values,
        } = declaration;
        let phases = self.phases(&keys, values.as_ref())?;
        let mut block = Block::new(String::new());
        if values.as_ref().is_some_and(|(_, values)| values.is_empty()) {
            let value = keys.remove("default").unwrap_or_else(|| text(""));
            keys = Table::new().with("value", value);
        } else if let Some((key, values)) = values {
            let default = keys.remove("default");
            block.keys = std::mem::take(&mut keys);
            // No key alone stands for the table.
            block.set_table(key, "", values);
            if let Some(default) = default {
                keys.set("default", default);
            }
        }
        block.keys = block.keys.followed_by(keys);
        let content = format!("{:?}{:?}", block.keys, block.tables);
        let made = &mut *self.made.borrow_mut();
        if let Some(known) = made.by_content.get(&(base.to_owned(), content.clone())) {
            return Ok(known.clone());
        }
        let name = match reserved {
            Some(name) => name.to_owned(),
            None => self.free_name(made, base),
        };
        block.title = format!("[variable.{name}]");
        block.comments = directive.map_or_else(Vec::new, super::comments::of_block);
        block.range = directive.map(|directive| (directive.id, directive.last));
        made.blocks.push((id, block));
        made.by_content
            .insert((base.to_owned(), content), name.clone());
        let defined = Defined {
            index: 0,
            phases,
            lasting: Lasting::Never,
        };
        let key = name.to_ascii_lowercase().into();
        made.known.insert(key, Variable::Defined(defined));
        Ok(name)
    }

    fn free_name(&self, made: &Made, base: &str) -> String {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let clean: String = base
            .chars()
            .map(|c| if letters(c) { c } else { '_' })
            .take(56)
            .collect();
        let is_taken = |name: &str| {
            let lower = name.to_ascii_lowercase();
            let begins = name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty();
            let is_reserved = made
                .reserved
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&lower));
            let is_known =
                is_reserved || made.known.contains_key(&*lower) || self.groups.contains(&lower);
            begins || is_known || Variable::parse(name).is_some()
        };
        let numbered = (2..).map(|number| format!("{clean}_{number}"));
        let mut names = std::iter::once(clean.clone()).chain(numbered);
        // With a number behind it, a built-in beginning or a digit stays.
        let is_hopeless = Variable::parse(&format!("{clean}_2")).is_some()
            || clean.starts_with(|c: char| c.is_ascii_digit())
            || clean.is_empty();
        if is_hopeless {
            return self.free_name(made, &format!("own_{clean}"));
        }
        names.find(|name| !is_taken(name)).unwrap_or(clean)
    }

    /// Whether what a variable is changes with the path or the query, as a `rewrite` does.
    pub(super) fn is_of_path(&self, name: &str) -> bool {
        self.is_made_of(name, |name| {
            let whole = ["uri", "document_uri", "args", "query_string", "is_args"];
            whole.contains(&name) || name.starts_with("arg_")
        })
    }

    /// Whether a variable depends on the path alone, whatever the query is.
    pub(super) fn is_of_path_alone(&self, name: &str) -> bool {
        self.is_made_of(name, |name| matches!(name, "uri" | "document_uri"))
    }

    /// Whether a variable is one of these, or made of some.
    fn is_made_of(&self, name: &str, is_own: fn(&str) -> bool) -> bool {
        if is_own(&name.to_ascii_lowercase()) {
            return true;
        }
        let title = format!("[variable.{name}]");
        let made = self.made.borrow();
        let mut blocks = made.blocks.iter().map(|(_, block)| block);
        blocks
            .find(|block| block.title == title)
            .is_some_and(|block| {
                let tables = block.tables.iter().map(|(_, table)| table);
                let mut texts = std::iter::once(&block.keys)
                    .chain(tables)
                    .flat_map(Table::pairs);
                texts.any(|(_, text)| {
                    names_in(text).any(|other| other != name && self.is_made_of(other, is_own))
                })
            })
    }

    /// Where all that a variable is made of has a value.
    fn phases(
        &self,
        keys: &Table,
        values: Option<&(&'static str, Table)>,
    ) -> Result<Phases, String> {
        let made = self.made.borrow();
        let mut phases = Phases::ALWAYS;
        let texts = keys.pairs().map(|(_, value)| value);
        let texts = texts.chain(
            values
                .iter()
                .flat_map(|(_, table)| table.pairs().map(|(_, v)| v)),
        );
        for text in texts {
            for name in names_in(text) {
                let lower = name.to_ascii_lowercase();
                let known = made.known.get(&*lower).cloned();
                if let Some(variable) = known.or_else(|| Variable::parse(name)) {
                    phases = phases.and(variable.phases());
                }
            }
        }
        match phases.is_empty() {
            true => Err("no place has a value of all that it is made of".to_owned()),
            false => Ok(phases),
        }
    }

    /// The variables that texts need, in the order of nginx's file.
    pub(super) fn into_blocks(self) -> Vec<Block> {
        let mut blocks = self.made.into_inner().blocks;
        blocks.sort_by_key(|(id, _)| *id);
        blocks.into_iter().map(|(_, block)| block).collect()
    }
}

//! Where a directive holds: nginx's contexts, each within another.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::report::Accounts;
use super::tree::Directive;
use super::variables::Constants;

/// A context such as `http`, a `server`, a `location` or an `if`, within those around it.
pub(super) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    /// The block itself; none for the file as a whole.
    pub(super) directive: Option<&'a Directive>,
    pub(super) children: &'a [Directive],
    by_name: Rc<HashMap<&'a str, Vec<&'a Directive>>>,
    accounts: &'a Accounts,
    /// What variables stand for where the context begins, before its `set`s.
    pub(super) entering: Constants,
    /// What they stand for when its `set`s and `if`s have been run.
    pub(super) constants: Constants,
}

impl<'a> Scope<'a> {
    /// The context of these directives, which is in no other one.
    pub(super) fn outermost(children: &'a [Directive], accounts: &'a Accounts) -> Scope<'a> {
        Scope::new(None, None, children, accounts)
    }

    /// The context of a block.
    pub(super) fn within(&'a self, block: &'a Directive) -> Scope<'a> {
        Scope::new(Some(self), Some(block), block.children(), self.accounts)
    }

    /// The same context at a directive of it, where variables stand for this.
    pub(super) fn at(&self, constants: &Constants) -> Scope<'a> {
        Scope {
            by_name: Rc::clone(&self.by_name),
            entering: self.entering.clone(),
            constants: constants.clone(),
            ..*self
        }
    }

    /// The context of an `if` in the midst of the directives of this one, `before` which variables
    /// stand for this.
    pub(super) fn within_if(&'a self, block: &'a Directive, before: &Constants) -> Scope<'a> {
        let mut scope = self.within(block);
        scope.entering = Constants::entering(Some(before), Some(block));
        scope.constants = scope.entering.clone();
        for child in block.children() {
            scope.constants.pass(child);
        }
        scope
    }

    fn new(
        outer: Option<&'a Scope<'a>>,
        directive: Option<&'a Directive>,
        children: &'a [Directive],
        accounts: &'a Accounts,
    ) -> Scope<'a> {
        let mut by_name: HashMap<&str, Vec<&Directive>> = HashMap::new();
        for child in children {
            by_name.entry(&child.name).or_default().push(child);
        }
        let mut entering = Constants::entering(outer.map(|outer| &outer.constants), directive);
        if let (Some(outer), Some(block)) = (outer, directive.filter(|b| b.name == "location")) {
            let server = super::finding::server_of(outer);
            entering.forget(names_led_on(server, block));
        }
        let constants = entering.after(directive, children);
        Scope {
            outer,
            directive,
            children,
            by_name: Rc::new(by_name),
            accounts,
            entering,
            constants,
        }
    }

    /// The context around this one.
    pub(super) fn outer(&self) -> Option<&'a Scope<'a>> {
        self.outer
    }

    /// Those of a name that stand right here, in order.
    pub(super) fn own(&self, name: &'static str) -> &[&'a Directive] {
        self.accounts.ask(name);
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Those that hold here: of the nearest context that has any, as nginx inherits lists.
    pub(super) fn nearest(&self, name: &'static str) -> &[&'a Directive] {
        let mut scope = self;
        loop {
            let own = scope.own(name);
            match scope.outer {
                Some(outer) if own.is_empty() => scope = outer,
                _ => return own,
            }
        }
    }

    /// Whether this is true of a directive that holds here and whose name is meant: of each name,
    /// those of the nearest context that has any.
    pub(super) fn any_nearest(
        &self,
        is_meant: impl Fn(&str) -> bool,
        is_so: impl Fn(&Directive) -> bool,
    ) -> bool {
        let mut seen: HashSet<&str> = HashSet::new();
        self.around().any(|scope| {
            let names = scope.by_name.iter();
            let mut new = names.filter(|(name, _)| seen.insert(name) && is_meant(name));
            new.any(|(_, directives)| directives.iter().any(|each| is_so(each)))
        })
    }

    /// Whether a file is missing that may say something here.
    pub(super) fn lacks_file(&self) -> bool {
        let includes = self
            .around()
            .filter_map(|scope| scope.by_name.get("include"));
        let mut includes = includes.flatten();
        includes.any(|include| include.missing.is_some())
    }

    /// This context and those around it, but for the file as a whole around `http`.
    fn around(&self) -> impl Iterator<Item = &Scope<'a>> {
        std::iter::successors(Some(self), |scope| scope.outer)
            .filter(|scope| !scope.by_name.contains_key("http"))
    }

    /// The one that holds here; of several in one context, the first.
    pub(super) fn one(&self, name: &'static str) -> Option<&'a Directive> {
        self.nearest(name).first().copied()
    }

    /// The first argument of the one that holds here.
    pub(super) fn value(&self, name: &'static str) -> Option<&'a str> {
        self.one(name).map(|directive| directive.argument(0))
    }

    /// Whether a flag is on.
    pub(super) fn is_on(&self, name: &'static str) -> bool {
        self.value(name) == Some("on")
    }
}

/// The variables that other locations of a server than this one `set` before they lead requests to
/// another location.
fn names_led_on<'s>(
    server: &Scope<'s>,
    here: &'s Directive,
) -> impl Iterator<Item = String> + use<'s> {
    let leads = |child: &Directive| match &*child.name {
        "rewrite" => !matches!(child.argument(2), "break" | "redirect" | "permanent"),
        name => matches!(name, "try_files" | "error_page"),
    };
    let has_pages = server
        .children
        .iter()
        .any(|child| child.name == "error_page");
    let mut names = Vec::new();
    let mut locations: Vec<&Directive> = server.children.iter().collect();
    while let Some(location) = locations.pop() {
        if location.name != "location" {
            continue;
        }
        let children = location.children();
        locations.extend(children);
        let blocks = children.iter().filter(|child| child.name == "if");
        let all: Vec<&Directive> = children
            .iter()
            .chain(blocks.flat_map(|block| block.children()))
            .collect();
        if location.id != here.id && (has_pages || all.iter().any(|child| leads(child))) {
            let sets = all.iter().filter(|child| child.name == "set");
            names.extend(sets.map(|set| super::variables::variable_name(set.argument(0))));
        }
    }
    names.into_iter()
}

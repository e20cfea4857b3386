//! Where a directive holds: nginx's contexts, each within another.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::report::Accounts;
use super::tree::Directive;
use super::variables::Constants;
use super::{finding, jumps};

/// A context such as `http`, a `server`, a `location` or an `if`, within those around it.
pub(super) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    /// The block itself; none for the file as a whole.
    pub(super) directive: Option<&'a Directive>,
    pub(super) children: &'a [Directive],
    by_name: Rc<HashMap<&'a str, Vec<&'a Directive>>>,
    /// What locations of the server `set` before they lead requests on.
    led_on: LedOn,
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
            led_on: Rc::clone(&self.led_on),
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
        let is_within_server = directive
            .is_some_and(|block| matches!(&*block.name, "location" | "if" | "limit_except"));
        let led_on = match outer.filter(|_| is_within_server) {
            Some(outer) => Rc::clone(&outer.led_on),
            None => names_led_on(children),
        };
        if let Some(location) = directive.filter(|block| block.name == "location") {
            let others = led_on.iter().filter(|led| led.may_lead_to(location));
            entering.forget(others.map(|led| led.name.clone()));
        }
        let constants = entering.after(directive, children);
        Scope {
            outer,
            directive,
            children,
            by_name: Rc::new(by_name),
            led_on,
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

/// What locations `set` before they lead requests on.
type LedOn = Rc<[Led]>;

/// A variable that a location sets.
struct Led {
    location: usize,
    name: String,
    /// The locations that requests get to from there; none where it may be any.
    to: Option<Rc<[usize]>>,
}

impl Led {
    fn may_lead_to(&self, location: &Directive) -> bool {
        let is_other = self.location != location.id;
        is_other && self.to.as_ref().is_none_or(|to| to.contains(&location.id))
    }
}

/// The locations of a server that its pages of errors are in; none where that is not known.
fn locations_of_pages(server: &[Directive]) -> Option<Rc<[usize]>> {
    let mut locations = Vec::new();
    for page in server.iter().filter(|child| child.name == "error_page") {
        let uri = page.arguments.last()?;
        match uri.strip_prefix('@') {
            Some(_) => locations.extend(finding::named(server, uri).map(|found| found.id)),
            None if uri.contains('$') => return None,
            None => {
                let path = uri.split('?').next().unwrap_or_default();
                let found = finding::find_once(server, path);
                locations.extend(found.iter().map(|found| found.id));
            }
        }
    }
    Some(locations.into())
}

/// The variables that locations of a server `set` before they lead requests to another location.
fn names_led_on(server: &[Directive]) -> LedOn {
    let leads = |child: &Directive| match &*child.name {
        "rewrite" => !matches!(child.argument(2), "break" | "redirect" | "permanent"),
        name => matches!(name, "try_files" | "error_page"),
    };
    let has_pages = server.iter().any(|child| child.name == "error_page");
    let pages = locations_of_pages(server);
    let mut led = Vec::new();
    let mut locations: Vec<&Directive> = server.iter().collect();
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
        let sets: Vec<&&Directive> = all.iter().filter(|child| child.name == "set").collect();
        if sets.is_empty() {
            continue;
        }
        // What a jump leads to is said with what it sets.
        let is_jump = || jumps::landing_of(server, location).is_some();
        let leads_on = all.iter().any(|child| leads(child)) && !is_jump();
        if has_pages || leads_on {
            let name = |set: &&&Directive| super::variables::variable_name(set.argument(0));
            led.extend(sets.iter().map(|set| Led {
                location: location.id,
                name: name(set),
                to: if leads_on { None } else { pages.clone() },
            }));
        }
    }
    led.into()
}

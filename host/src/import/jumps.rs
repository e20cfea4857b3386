//! Locations that `set` variables and lead all of their requests to another location, by a `rewrite`
//! to one path: what is set is known there, so they answer what that location does, with their own
//! values.

use super::Translator;
use super::action::PASSES;
use super::files::Uri;
use super::finding;
use super::matching::Location;
use super::rewriting::leads_all;
use super::scope::Scope;
use super::tree::Directive;
use super::variables::variable_name;
use super::writer::Block;

/// The path to which a location leads all requests, where it does nothing else but `set` variables.
pub(super) fn path_of_jump(location: &Directive) -> Option<&str> {
    let (last, before) = location.children().split_last()?;
    let only_sets = before.iter().all(|child| child.name == "set");
    let leads = last.name == "rewrite" && leads_all(last);
    (only_sets && !before.is_empty() && leads).then(|| last.argument(1))
}

/// The location that a path is in, where what it does depends on nothing but the request and what is
/// set before.
fn landing<'s>(children: &'s [Directive], path: &str) -> Option<&'s Directive> {
    let found = finding::find_once(children, path);
    let [found] = *found.as_slice() else {
        return None;
    };
    let has_path = matches!(
        Location::parse(&found.arguments),
        Some(Location::Exact(_) | Location::Prefix(_) | Location::PrefixNoRegex(_))
    );
    let decides = |child: &Directive| {
        let names = [
            "if",
            "limit_except",
            "location",
            "rewrite",
            "return",
            "set",
            "error_page",
        ];
        names.contains(&&*child.name)
    };
    let asks_path = |child: &Directive| {
        let mut words = child.arguments.iter();
        words.any(|word| word.contains("$uri") || word.contains("$document_uri"))
    };
    let mut all = found.children().iter();
    let is_plain = !all.any(|child| decides(child) || asks_path(child));
    (has_path && is_plain && pass_of(found).is_some()).then_some(found)
}

fn pass_of(location: &Directive) -> Option<&Directive> {
    let mut children = location.children().iter();
    children.find(|child| PASSES.contains(&&*child.name))
}

/// Where a jump of a server lands; none for what is no jump.
pub(super) fn landing_of<'s>(
    server: &'s [Directive],
    location: &Directive,
) -> Option<(&'s Directive, String)> {
    let path = path_of_jump(location)?;
    let landing = landing(server, path).filter(|landing| landing.id != location.id)?;
    Some((landing, path.to_owned()))
}

impl Translator<'_> {
    /// The route of a location that is such a jump.
    pub(super) fn jump(&mut self, scope: &Scope<'_>) -> Option<Block> {
        let server = scope.outer()?;
        let location = scope.directive?;
        if server
            .directive
            .is_some_and(|block| block.name == "location")
        {
            return None;
        }
        let (landing, path) = landing_of(server.children, location)?;
        let inner = server.within(landing);
        let mut constants = inner.constants.clone();
        let sets = scope.own("set").iter();
        constants.take_from(
            &scope.constants,
            sets.map(|set| variable_name(set.argument(0))),
        );
        let there = Location::parse(&landing.arguments)?;
        // A URI of its own takes the place of the path.
        let pass = pass_of(landing)?.argument(0);
        let has_uri = pass
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'));
        let uri = Uri {
            path,
            query: String::new(),
            is_above: false,
        };
        let uri = (!has_uri).then_some(&uri);
        Some(self.action_for(&inner.at(&constants), &there, &[], uri))
    }
}

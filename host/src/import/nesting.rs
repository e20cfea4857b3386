//! Locations within locations, as routes that stand beside each other. nginx looks into the location
//! of the longest prefix first: its expressions come before those around it, and its `^~` holds for
//! these alone (`ngx_http_core_find_location`).

use std::cmp::Reverse;

use super::matching::Location;
use super::scope::Scope;
use super::tree::Directive;
use super::writer::{Block, Table, list, text};

/// The locations around one, the innermost first, each with its prefix and those beside it.
fn around<'s>(scope: &Scope<'s>) -> Vec<(Location, &'s [Directive])> {
    let mut found = Vec::new();
    let mut here = scope.outer();
    while let Some(scope) = here {
        let Some(block) = scope.directive.filter(|block| block.name == "location") else {
            break;
        };
        let beside = scope.outer().map_or(&[][..], |outer| outer.children);
        found.extend(Location::parse(&block.arguments).map(|location| (location, beside)));
        here = scope.outer();
    }
    found
}

/// How many locations are around one.
pub(super) fn depth(scope: &Scope<'_>) -> usize {
    around(scope).len()
}

/// The locations of prefixes among directives.
fn prefixes(children: &[Directive]) -> impl Iterator<Item = Location> {
    let locations = children.iter().filter(|child| child.name == "location");
    let parsed = locations.filter_map(|child| Location::parse(&child.arguments));
    parsed.filter(|location| location.prefix().is_some())
}

/// Prefixes of locations beside those around one, which are longer than these: there, nginx looks
/// into another location.
fn taken(around: &[(Location, &[Directive])]) -> Vec<String> {
    let mut taken = Vec::new();
    for (outer, beside) in around {
        let Some(prefix) = outer.prefix() else {
            continue;
        };
        for other in prefixes(beside) {
            let other = other.prefix().unwrap_or_default();
            if other.len() > prefix.len() && other.starts_with(prefix) {
                taken.push(other.to_owned());
            }
        }
    }
    taken
}

/// Whether one of these locations is for the same paths.
fn has(beside: &[Directive], location: &Location) -> bool {
    let mut locations = beside.iter().filter(|child| child.name == "location");
    locations.any(|child| Location::parse(&child.arguments).as_ref() == Some(location))
}

/// Whether an expression stands beside one before it that is the same.
pub(super) fn is_repeated(scope: &Scope<'_>, location: &Location) -> bool {
    let (Some(own), Some(outer)) = (scope.directive, scope.outer()) else {
        return false;
    };
    let before = outer.children.iter().filter(|child| child.id < own.id);
    let mut before = before.filter(|child| child.name == "location");
    before.any(|child| Location::parse(&child.arguments).as_ref() == Some(location))
}

/// Whether a location beside one, or beside those around it, has exactly this path.
pub(super) fn is_beside(scope: &Scope<'_>, bare: &str) -> bool {
    let mut all = around(scope);
    let beside = scope.outer().map_or(&[][..], |outer| outer.children);
    all.push((Location::Prefix(String::new()), beside));
    let is_it = |location: Location| matches!(location, Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path) if path == bare);
    let mut all = all.iter().flat_map(|(_, beside)| beside.iter());
    all.any(|child| {
        child.name == "location" && Location::parse(&child.arguments).is_some_and(is_it)
    })
}

/// Whether a route is for all requests of a prefix.
pub(super) fn takes_all(route: &Block, prefix: &str) -> bool {
    let paths = [text(prefix), text(&format!("^~ {prefix}"))];
    let path = route.keys.get("path");
    let is_it = path.is_some_and(|path| paths.iter().any(|known| known == path));
    is_it && route.keys.get("when").is_none()
}

/// What a location of a fixed path is as a route beside all others: its outermost location's `^~`
/// keeps expressions around it out, its own one only those within its neighbours.
///
/// # Errors
/// Why no request gets there.
pub(super) fn flattened(location: Location, scope: &Scope<'_>) -> Result<Location, String> {
    let around = around(scope);
    let Some((outermost, _)) = around.last() else {
        return Ok(location);
    };
    let (Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path)) =
        &location
    else {
        return Ok(location);
    };
    let other = taken(&around)
        .into_iter()
        .find(|other| path.starts_with(other.as_str()));
    if let Some(other) = other {
        return Err(format!("never found: `location {other}` takes its paths"));
    }
    let is_exact = matches!(location, Location::Exact(_));
    if is_exact && around.iter().any(|(_, beside)| has(beside, &location)) {
        return Err(format!(
            "never found: another `location = {path}` takes its path"
        ));
    }
    Ok(match location.prefix() {
        None => location,
        Some(prefix) if matches!(outermost, Location::PrefixNoRegex(_)) => {
            Location::PrefixNoRegex(prefix.to_owned())
        }
        Some(prefix) => Location::Prefix(prefix.to_owned()),
    })
}

/// Whether an expression is the condition of a route of a prefix: within a location with `^~`.
pub(super) fn is_written_as_prefix(scope: &Scope<'_>, location: &Location) -> bool {
    let mut here = scope;
    while let (Some(block), Some(outer)) = (here.directive, here.outer())
        && matches!(&*block.name, "if" | "limit_except")
    {
        here = outer;
    }
    let around = around(here);
    let outermost = around.last().map(|(outermost, _)| outermost);
    matches!(location, Location::Regex(..)) && matches!(outermost, Some(Location::PrefixNoRegex(_)))
}

/// The path and the conditions of an expression within the location of a prefix. `written`: the
/// expression as a route has it.
///
/// # Errors
/// Why it cannot be said.
pub(super) fn within(
    scope: &Scope<'_>,
    (is_exact, regex): (bool, &str),
    written: &str,
) -> Result<(String, Table), String> {
    let around = around(scope);
    let (Some((innermost, _)), Some((outermost, _)), Some(outer)) =
        (around.first(), around.last(), scope.outer())
    else {
        return Err("it is in no location".to_owned());
    };
    if around
        .iter()
        .any(|(location, _)| location.prefix().is_none())
    {
        return Err("an expression within an expression".to_owned());
    }
    let prefix = innermost.prefix().unwrap_or_default();
    let sign = if is_exact { "~" } else { "~*" };
    let final_here: Vec<String> = prefixes(outer.children)
        .filter(|location| matches!(location, Location::PrefixNoRegex(_)))
        .filter_map(|location| location.prefix().map(str::to_owned))
        .collect();
    let mut not = taken(&around);
    if matches!(outermost, Location::PrefixNoRegex(_)) {
        // No other expression counts there; those of neighbours have routes of their own.
        not.retain(|other| prefixes_of(&around).iter().all(|known| known != other));
        let mut asked = vec![format!("{sign}{written}")];
        asked.extend(
            not.iter()
                .map(|other| format!("!~^{}", regex::escape(other))),
        );
        let path = Location::PrefixNoRegex(prefix.to_owned()).path();
        return Ok((path, when(&asked)));
    }
    // Where a neighbour with `^~` has a longer one without it, the expression counts in the latter.
    for found in &final_here {
        let mut all = prefixes(outer.children);
        if all.any(|other| {
            let other = other.prefix().unwrap_or_default();
            other.len() > found.len() && other.starts_with(found.as_str())
        }) {
            return Err(format!(
                "beside `location ^~ {found}` and one within its paths: write a `[[route]]` for each \
                 of them"
            ));
        }
    }
    not.extend(final_here);
    let mut asked = Vec::new();
    // Of two routes of one path, the first has to have a condition.
    let same = Location::Regex(is_exact, regex.to_owned());
    let is_alone = around.iter().all(|(_, beside)| {
        let mut locations = beside.iter().filter(|child| child.name == "location");
        locations.all(|child| Location::parse(&child.arguments).as_ref() != Some(&same))
    });
    if !(is_alone && begins_with(is_exact, regex, prefix)) {
        asked.push(format!("~^{}", regex::escape(prefix)));
    }
    asked.extend(
        not.iter()
            .map(|other| format!("!~^{}", regex::escape(other))),
    );
    let path = Location::Regex(is_exact, written.to_owned()).path();
    Ok((path, when(&asked)))
}

fn prefixes_of(around: &[(Location, &[Directive])]) -> Vec<String> {
    let prefixes = around.iter().filter_map(|(location, _)| location.prefix());
    prefixes.map(str::to_owned).collect()
}

fn when(asked: &[String]) -> Table {
    let value = match asked {
        [] => return Table::new(),
        [only] => text(only),
        several => list(several.iter().map(|each| text(each))),
    };
    let uri = Table::new().with("uri", value);
    Table::new().with("variable", uri.inline())
}

/// Whether all that an expression fits begins with a prefix.
fn begins_with(is_exact: bool, regex: &str, prefix: &str) -> bool {
    if prefix == "/" {
        return true;
    }
    let is_plain = prefix
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte));
    let rest = regex
        .strip_prefix('^')
        .and_then(|rest| rest.strip_prefix(prefix));
    is_exact
        && is_plain
        && rest.is_some_and(|rest| !rest.starts_with(['?', '*', '{', '+']) && !rest.contains('|'))
}

/// Gives the expressions within a location with `^~` to the locations of prefixes beside them: `own`
/// are the routes of those, `expressions` the ones that come before what they say.
pub(super) fn handed_down(own: &mut Vec<Block>, expressions: &[Block]) {
    let mut paths: Vec<String> = Vec::new();
    for block in own.iter() {
        let path = block.keys.get("path").unwrap_or_default();
        if path.trim_start_matches(['"', '\'']).starts_with("^~")
            && !paths.iter().any(|p| p == path)
        {
            paths.push(path.to_owned());
        }
    }
    for path in paths {
        let last = own
            .iter()
            .rposition(|block| block.keys.get("path") == Some(&*path));
        for expression in expressions.iter().rev() {
            let mut block = expression.clone();
            block.comments.clear();
            block.range = None;
            block.keys.set("path", path.clone());
            own.insert(last.unwrap_or_default(), block);
        }
    }
}

/// Routes of the paths of others that let nothing in: shorter paths beside them may be open. So may
/// they be for the path without its slash, from which a route that proxies would redirect.
pub(super) fn shut(routes: &[Block]) -> Vec<Block> {
    let mut paths: Vec<String> = Vec::new();
    for route in routes {
        let path = route.keys.get("path");
        let bare = path
            .filter(|_| route.get("proxy").is_some())
            .and_then(exact_without_slash);
        for path in path.map(str::to_owned).into_iter().chain(bare) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    let closed = paths.into_iter().map(|path| {
        let mut block = super::action::answer_of("501");
        block.keys = Table::new().with("path", path).followed_by(block.keys);
        block
    });
    closed.collect()
}

/// `"= /a"` for `"/a/"` and `"^~ /a/"`, as they are written.
fn exact_without_slash(path: &str) -> Option<String> {
    let quote = &path[..path.chars().next()?.len_utf8()];
    let prefix = path.strip_prefix(quote)?.strip_suffix(quote)?;
    let prefix = prefix.strip_prefix("^~ ").unwrap_or(prefix);
    let bare = prefix
        .strip_suffix('/')
        .filter(|bare| bare.starts_with('/'))?;
    Some(format!("{quote}= {bare}{quote}"))
}

/// Puts the expressions within locations before all others, those that are in more locations first.
pub(super) fn sort(routes: &mut [Block]) {
    routes.sort_by_key(|block| Reverse(block.depth));
}

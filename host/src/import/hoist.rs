//! What many blocks say alike is said once.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::variables::names_in;
use super::writer::{Block, Headers, Table};

/// Moves what all blocks say alike to `[server]`, and what most of them say where all say something.
pub(super) fn hoist(blocks: &mut [Block], server: &mut Table) {
    for key in [
        "trusted_proxies",
        "real_ip_header",
        "real_ip_recursive",
        "access_log",
        "client_max_body_size",
        "client_body_timeout",
        "client_header_timeout",
        "keepalive_timeout",
        "keepalive_time",
        "keepalive_requests",
        "send_timeout",
        "client_header_size",
        "max_headers",
        "underscores_in_headers",
    ] {
        let values: Vec<Option<&str>> = blocks.iter().map(|block| block.keys.get(key)).collect();
        let is_route = |block: &Block| block.title == "[[route]]";
        // Of a route with `return`, `send_timeout` is none of its keys.
        if key == "send_timeout" && blocks.iter().any(is_route) {
            continue;
        }
        // A route that answers by itself reads no body.
        let is_closed = |block: &Block| block.keys.get("return") == Some("{ status = 501 }");
        let counts = |block: &Block| {
            // What is closed says nothing of its own.
            let is_silent = is_closed(block) && block.keys.get(key).is_none();
            let is_concerned =
                !is_route(block) || !key.starts_with("client_") || block.get("proxy").is_some();
            !is_silent && is_concerned
        };
        let relevant: Vec<Option<&str>> = blocks
            .iter()
            .zip(values)
            .filter(|(block, _)| counts(block))
            .map(|(_, value)| value)
            .collect();
        if relevant.is_empty() || relevant.iter().any(Option::is_none) || server.get(key).is_some()
        {
            continue;
        }
        let Some((value, _)) = most_frequent(relevant.into_iter().flatten()) else {
            continue;
        };
        let value = value.to_owned();
        for block in blocks.iter_mut() {
            if block.keys.get(key) == Some(&*value) {
                block.keys.remove(key);
            }
        }
        server.set(key, value);
    }
}

/// The most frequent one, and how many there are of it; of several that are as many, the first.
fn most_frequent<T: Eq + Hash>(all: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counted: HashMap<T, (usize, usize)> = HashMap::new();
    for (place, each) in all.enumerate() {
        counted.entry(each).or_insert((0, place)).0 += 1;
    }
    let counted = counted.into_iter();
    let most = counted.max_by_key(|(_, (count, place))| (*count, Reverse(*place)));
    most.map(|(each, (count, _))| (each, count))
}

/// Moves what routes say of answers to `[server]`, where all of them say it whom it concerns: pages of
/// errors, compression, headers. One route alone keeps it.
pub(super) fn hoist_answers(routes: &mut Vec<Block>, server: &mut Block) {
    pages(routes, server);
    for key in ["compression", "gunzip"] {
        switched(routes, key, &mut server.keys);
    }
    headers(routes, server);
    // What was only there to say these.
    routes.retain(|route| {
        let is_bare = route.headers.iter().all(|(_, headers)| headers.is_empty())
            && route.tables.is_empty()
            && route.lists.is_empty()
            && route
                .keys
                .pairs()
                .all(|(key, _)| matches!(key, "listen" | "host" | "return"));
        !(route.is_rest && is_bare && route.keys.get("return") == Some("{ status = 404 }"))
    });
}

/// A route's pages, as keys and values.
fn pages_of(route: &Block) -> Option<Table> {
    let (_, table) = route.tables.iter().find(|(key, _)| *key == "error_pages")?;
    Some(table.clone())
}

/// The page of a status.
fn page(pages: &Table, status: u16) -> Option<&str> {
    let status = status.to_string();
    let has = |key: &str| key.trim_matches('"').split(' ').any(|code| code == status);
    pages
        .pairs()
        .find(|(key, _)| has(key))
        .map(|(_, page)| page)
}

/// The most frequent pages, where each route has a page of its own for whatever has one there.
fn pages(routes: &mut [Block], server: &mut Block) {
    let is_named = |route: &Block| route.keys.get("internal").is_some();
    let open = routes.iter().filter(|route| route.refuses().is_none());
    let Some((all, _)) = most_frequent(open.filter_map(pages_of)) else {
        return;
    };
    let codes: Vec<u16> = codes_of(&all).collect();
    let agrees = |route: &Block| {
        let own = pages_of(route).unwrap_or_default();
        let has = |code: &u16| page(&own, *code).is_some();
        match route.refuses() {
            // It has a page that the others have not.
            _ if is_named(route) => true,
            Some(None) => true,
            Some(Some(status)) => page(&all, status).is_none() || has(&status),
            None => codes.iter().all(has),
        }
    };
    let count = routes
        .iter()
        .filter(|route| pages_of(route).is_some())
        .count();
    if count < 2 || !routes.iter().all(agrees) {
        return;
    }
    for route in routes.iter_mut() {
        let is_said = |(key, own): &(&str, Table)| {
            let same = |code: u16| page(own, code) == page(&all, code);
            *key == "error_pages" && codes_of(own).all(same)
        };
        route.tables.retain(|table| !is_said(table));
    }
    server.tables.push(("error_pages", all));
    let intercept = "intercept_errors";
    let mut proxied = routes
        .iter()
        .filter(|route| route.get("proxy").is_some() && !is_named(route));
    if proxied.clone().next().is_some() && proxied.all(|route| route.get(intercept).is_some()) {
        for route in routes.iter_mut() {
            route.keys.remove(intercept);
        }
        server.keys.set(intercept, "true");
    }
}

/// The statuses of pages.
fn codes_of(pages: &Table) -> impl Iterator<Item = u16> {
    let keys = pages
        .pairs()
        .flat_map(|(key, _)| key.trim_matches('"').split(' '));
    keys.filter_map(|code| code.parse().ok())
}

/// A key that is off where it is not said: the most frequent value, where several routes have it.
fn switched(routes: &mut [Block], key: &str, server: &mut Table) {
    let concerns = |route: &Block| match key {
        "gunzip" => route.get("proxy").is_some(),
        _ => route.refuses().is_none(),
    };
    let most = most_frequent(routes.iter().filter_map(|route| route.keys.get(key)));
    let concerned = routes.iter().filter(|route| concerns(route)).count();
    let Some((value, _)) = most.filter(|(_, count)| *count > 1 && count * 2 >= concerned) else {
        return;
    };
    let value = value.to_owned();
    for route in routes.iter_mut().filter(|route| concerns(route)) {
        match route.keys.get(key) {
            Some(own) if own == value => {
                route.keys.remove(key);
            }
            Some(_) => {}
            None => route.keys.set(key, "false"),
        }
    }
    server.set(key, value);
}

/// The parts of changes to a header that can be said once.
const PARTS: [fn(&mut Headers) -> &mut Table; 4] = [
    |headers| &mut headers.set,
    |headers| &mut headers.add,
    |headers| &mut headers.set_in_good,
    |headers| &mut headers.add_to_good,
];

/// Whether each host has a route for all paths: what `[server]` says holds for the others, too.
fn are_complete(routes: &[Block]) -> bool {
    let host = |route: &Block| {
        let key = |key| route.keys.get(key).unwrap_or_default().to_owned();
        (key("listen"), key("host"))
    };
    let is_for_all = |route: &&Block| {
        let path = route.keys.get("path").unwrap_or("\"/\"");
        route.keys.get("when").is_none() && matches!(path, "\"/\"" | "\"^~ /\"")
    };
    let complete: HashSet<_> = routes.iter().filter(is_for_all).map(host).collect();
    let mut found = routes
        .iter()
        .filter(|route| route.keys.get("internal").is_none());
    found.all(|route| complete.contains(&host(route)))
}

fn headers(routes: &mut [Block], server: &mut Block) {
    const KEY: &str = "response_headers";
    let of_route = |route: &Block| {
        let found = route.headers.iter().find(|(key, _)| *key == KEY);
        found
            .map(|(_, headers)| headers.clone())
            .unwrap_or_default()
    };
    if !are_complete(routes) {
        return;
    }
    let mut all: Vec<Headers> = routes.iter().map(of_route).collect();
    let mut hoisted = Headers::default();
    for part in PARTS {
        let mut candidates: Vec<(String, String)> = Vec::new();
        let mut seen = HashSet::new();
        for headers in &mut all {
            let new = part(headers)
                .pairs()
                .map(owned)
                .filter(|pair| seen.insert(pair.clone()));
            candidates.extend(new);
        }
        for (name, value) in candidates {
            let mut places = all.iter_mut().zip(routes.iter());
            let places: Option<Vec<Place>> =
                places.try_fold(Vec::new(), |mut found, (headers, route)| {
                    found.push(Place::of(headers, route, part, (&name, &value))?);
                    Some(found)
                });
            let Some(places) = places else {
                continue;
            };
            let count = |place| places.iter().filter(|each| **each == place).count();
            let has = count(Place::Same);
            // More would be said of the exceptions than of all others.
            let is_usual = has > count(Place::Another) + count(Place::Nothing);
            // What a route says of a header besides would be all that counts for it.
            let mut is_said_besides = || {
                all.iter_mut().any(|headers| {
                    let in_parts = PARTS
                        .iter()
                        .filter(|part| part(headers).get(&name).is_some());
                    let is_twice = in_parts.count() > 1;
                    let mut removed = headers.remove.iter();
                    is_twice || removed.any(|other| other.eq_ignore_ascii_case(&name))
                })
            };
            if is_usual && has > 1 && !is_said_besides() {
                for (headers, place) in all.iter_mut().zip(places) {
                    match place {
                        Place::Same => {
                            part(headers).remove(&name);
                        }
                        Place::Nothing => headers.remove.push(name.trim_matches('"').to_owned()),
                        Place::Withheld | Place::Another => {}
                    }
                }
                part(&mut hoisted).push(&name, &value);
            }
        }
    }
    if hoisted.is_empty() {
        return;
    }
    for (route, left) in routes.iter_mut().zip(all) {
        route.headers.retain(|(key, _)| *key != KEY);
        route.set_headers(KEY, left);
    }
    server.set_headers(KEY, hoisted);
}

/// Moves what most routes set of requests to `[server]`, where all that have a server set it: another
/// value counts in its route. `is_of_route`: whether a variable is known to routes alone.
pub(super) fn hoist_requests(
    routes: &mut [Block],
    server: &mut Block,
    is_of_route: &dyn Fn(&str) -> bool,
) {
    const KEY: &str = "request_headers";
    if server.headers.iter().any(|(key, _)| *key == KEY) {
        return;
    }
    let proxied = routes
        .iter_mut()
        .filter(|route| route.get("proxy").is_some());
    let all = proxied.map(|route| {
        let mut headers = route.headers.iter_mut();
        headers.find(|(key, _)| *key == KEY).map(|(_, of)| of)
    });
    // Where one changes nothing, nothing is said by all.
    let Some(mut all) = all.collect::<Option<Vec<&mut Headers>>>() else {
        return;
    };
    let Some(first) = all.first() else {
        return;
    };
    let names = first.set.pairs().map(|(name, _)| name.to_owned());
    let mut hoisted = Headers::default();
    for name in names.collect::<Vec<_>>() {
        let same = |other: &str| {
            other
                .trim_matches('"')
                .eq_ignore_ascii_case(name.trim_matches('"'))
        };
        let is_said_besides = |of: &&mut Headers| {
            let mut added = of.add.pairs();
            of.remove.iter().any(|other| same(other)) || added.any(|(other, _)| same(other))
        };
        let values: Option<Vec<&str>> = all.iter().map(|of| of.set.get_written(&name)).collect();
        let Some(values) = values.filter(|_| !all.iter().any(is_said_besides)) else {
            continue;
        };
        let Some((value, count)) = most_frequent(values.into_iter()) else {
            continue;
        };
        let value = value.to_owned();
        if count < 2 || count * 2 <= all.len() || names_in(&value).any(is_of_route) {
            continue;
        }
        for of in &mut all {
            of.set.remove_pair(&name, &value);
        }
        hoisted.set.push(&name, &value);
    }
    for route in routes {
        route
            .headers
            .retain(|(key, of)| *key != KEY || !of.is_empty());
    }
    server.set_headers(KEY, hoisted);
}

/// What a route says of a header that `[server]` may say once for all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Same,
    /// The same, if its answer had another status.
    Withheld,
    /// Another value, which counts there.
    Another,
    /// No such header, which has to be said: no server could send one either.
    Nothing,
}

impl Place {
    /// None where it would have the header against its will.
    fn of(
        headers: &mut Headers,
        route: &Block,
        part: fn(&mut Headers) -> &mut Table,
        (name, value): (&str, &str),
    ) -> Option<Place> {
        match part(headers).get(name) {
            Some(own) if own == value => return Some(Place::Same),
            Some(_) => return Some(Place::Another),
            None => {}
        }
        if headers.withheld.get(name) == Some(value) {
            return Some(Place::Withheld);
        }
        let mut parts = PARTS.iter();
        let is_named = parts.any(|part| {
            let mut names = part(headers).pairs();
            names.any(|(other, _)| other.eq_ignore_ascii_case(name))
        });
        let may_come = route.get("proxy").is_some() || is_named;
        (!may_come).then_some(Place::Nothing)
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

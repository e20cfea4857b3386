//! A target of `tests/fuzz`: settings that no user would write, and ids that no server gave out.

use waypost_sdk::testing::{Request, Response, Upstream, endpoint};
use waypost_sdk::{Ending, Value};

use crate::Sticky;

const SERVERS: usize = 3;

/// Settings in JSON on the first line; on each further one what a client sends to be recognised by.
///
/// # Panics
/// Where a promise does not hold.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (settings, ids) = text.split_once('\n').unwrap_or((&text, ""));
    let servers = (0..SERVERS).map(|number| endpoint(&format!("10.0.0.{number}:80")));
    let mut upstream = match Upstream::<Sticky>::new(settings, servers) {
        Ok(upstream) => upstream,
        Err(error) => {
            assert!(!error.message.is_empty() && !error.message.ends_with('.'));
            return;
        }
    };
    let json: Value = settings.parse().unwrap_or_default();
    let name = json["cookie"]["name"]
        .as_str()
        .unwrap_or("route")
        .to_owned();
    for id in ids.split('\n') {
        // Heads with control characters are refused long before.
        let id = id.replace(char::is_control, "");
        let first = visit(&mut upstream, &name, &id);
        let Some(given) = first.1 else { continue };
        let (given, _) = given.split_once(';').unwrap_or((&given, ""));
        let (given_name, given_id) = given.split_once('=').unwrap_or_default();
        assert_eq!(given_name, name);
        assert_eq!(
            visit(&mut upstream, &name, given_id).0,
            first.0,
            "it sticks"
        );
    }
    let mut next = upstream.swap::<Sticky>(settings);
    assert!(next.pick().is_some());
}

/// Which server a client is sent to, and the cookie that it is told to keep.
fn visit(upstream: &mut Upstream<Sticky>, name: &str, id: &str) -> (usize, Option<String>) {
    let request = Request::get("/")
        .cookie(name, id)
        .header("X-Session", id)
        .variable("msec", "1790000000.123");
    let mut exchange = upstream.exchange(request);
    let chosen = exchange.pick();
    let chosen = chosen
        .filter(|index| *index < SERVERS)
        .unwrap_or_else(|| panic!("no server"));
    let added = exchange.added_headers();
    for header in &added {
        assert!(!header.chars().any(char::is_control), "{header:?}");
    }
    let response = Response::status(200).header("X-Session", id);
    exchange.done(chosen, Ending::Completed, 1000, response);
    let cookie = added
        .first()
        .and_then(|header| header.strip_prefix("Set-Cookie: "));
    (chosen, cookie.map(str::to_owned))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_target_holds_on_its_corpus_and_on_every_beginning_of_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/sticky");
        let mut seeds = 0;
        for seed in fs::read_dir(folder).unwrap() {
            let bytes = fs::read(seed.unwrap().path()).unwrap();
            (0..=bytes.len()).for_each(|end| super::run(&bytes[..end]));
            seeds += 1;
        }
        assert!(seeds > 1, "the corpus is next to empty");
    }
}

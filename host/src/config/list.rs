//! Lists of servers that stand elsewhere than in the configuration: what a source answers, and what
//! this process writes down itself. JSON, or TOML in a file; each server is what an item of
//! `servers` is, and read by the same code.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::model::{Lookup, ServerLocation, UpstreamConfig, UpstreamServer};
use super::problem::{Place, Problems};
use super::read;
use super::tree::Node;
use super::units::duration_text;

/// Servers of one list.
const MOST: usize = 4096;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    Json,
    Toml,
}

/// A list whose servers have been checked.
#[derive(Debug)]
pub struct CheckedList {
    /// Each once, in the order of the list.
    pub servers: Vec<UpstreamServer>,
    /// Those that it has more than once.
    pub repeated: Vec<String>,
}

/// The items of a list: `{"servers": [...]}`, or an array alone where it is JSON.
///
/// # Errors
/// What is wrong with the text, in one line.
pub fn list_items(text: &[u8], format: ListFormat) -> Result<Vec<Json>, String> {
    let document: Json = match format {
        ListFormat::Json => {
            serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?
        }
        ListFormat::Toml => {
            let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
            toml::from_str(text)
                .map_err(|error: toml::de::Error| format!("it is no TOML: {}", error.message()))?
        }
    };
    let servers = match document {
        Json::Object(mut document) => document.remove("servers"),
        other => Some(other),
    };
    match servers {
        Some(Json::Array(items)) => Ok(items),
        Some(_) => Err("`servers` must be a list".to_owned()),
        None => Err("it has no `servers`".to_owned()),
    }
}

/// Reads the items of a list as `servers` of an upstream. `name`: what the list is called, for
/// messages.
///
/// # Errors
/// The first thing that is wrong, in one line; more servers than 4096.
pub fn check_list(
    items: &[Json],
    name: &str,
    upstream: &UpstreamConfig,
) -> Result<CheckedList, String> {
    if items.len() > MOST {
        let number = items.len();
        return Err(format!("it has {number} servers, more than {MOST}"));
    }
    let (mut known, mut repeated) = (HashSet::new(), Vec::new());
    let mut servers = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = Place {
            file: name.into(),
            key: format!("servers[{index}]"),
            ..Place::default()
        };
        let problems = Problems::default();
        let node = Node::of_json(item, place, &problems);
        let server = read::further_server(&node, upstream, &problems);
        if let Some(problem) = problems.into_sorted(&[]).first() {
            let (key, message) = (&problem.place.key, problem.message_in_one_line());
            return Err(format!("{key}: {message}"));
        }
        let Some(server) = server else {
            return Err(format!("servers[{index}]: neither an address nor a table"));
        };
        match known.insert(place_of(&server)) {
            true => servers.push(server),
            false => repeated.push(server.spelling),
        }
    }
    Ok(CheckedList { servers, repeated })
}

/// Where a server is, whatever else is said of it.
fn place_of(server: &UpstreamServer) -> String {
    match &server.location {
        ServerLocation::Address(address) => address.to_string(),
        ServerLocation::Name(name) => match &name.lookup {
            Lookup::Addresses(port) => format!("{}:{port}", name.host),
            Lookup::Service(_) => format!("service {name}"),
        },
    }
}

/// Whether two servers are the same one, whatever else is said of them.
pub fn is_same_server(one: &UpstreamServer, other: &UpstreamServer) -> bool {
    one.location == other.location
}

/// A server as an item of a list, with everything said. Read again, it means the same.
pub fn list_item(server: &UpstreamServer) -> Json {
    let UpstreamServer {
        spelling,
        location,
        weight,
        max_fails,
        fail_timeout,
        slow_start,
        max_conns,
        backup,
        down,
        // What a file has was said by whoever wrote it.
        down_by_command: _,
        route,
        labels,
        listed: _,
        rule: _,
        place: _,
    } = server;
    let mut item = Map::new();
    item.insert("address".to_owned(), json!(spelling));
    if let ServerLocation::Name(name) = location
        && let Lookup::Service(service) = &name.lookup
    {
        item.insert("service".to_owned(), json!(service));
    }
    let more = json!({
        "weight": weight,
        "max_fails": max_fails,
        "fail_timeout": duration_text(*fail_timeout),
        "slow_start": duration_text(*slow_start),
        "max_conns": max_conns,
        "backup": backup,
        "down": down,
        "route": route,
    });
    if let Json::Object(more) = more {
        item.extend(more);
    }
    if !labels.is_empty() {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| (name.clone(), json!(value)));
        item.insert("labels".to_owned(), Json::Object(labels.collect()));
    }
    Json::Object(item)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::path::Path;

    use super::*;

    fn upstream(more: &str) -> UpstreamConfig {
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nservers = [\"10.0.0.1\"]\n{more}\n"
        );
        let config = crate::config::parse(&text, Path::new("test.toml")).unwrap();
        UpstreamConfig::clone(&config.upstreams[0])
    }

    fn checked(text: &str) -> Result<CheckedList, String> {
        let items = list_items(text.as_bytes(), ListFormat::Json)?;
        check_list(&items, "list", &upstream(""))
    }

    #[test]
    fn a_list_is_an_array_or_a_table_with_one() {
        for text in [
            r#"["10.0.0.1:80", {"address": "app.example:81", "weight": 3}]"#,
            r#"{"servers": ["10.0.0.1:80", {"address": "app.example:81", "weight": 3}], "of": "x"}"#,
        ] {
            let list = checked(text).unwrap();
            let spellings: Vec<_> = list
                .servers
                .iter()
                .map(|server| &*server.spelling)
                .collect();
            assert_eq!(spellings, ["10.0.0.1:80", "app.example:81"]);
            assert_eq!(list.servers[1].weight, 3);
        }
        let toml = "servers = [\"10.0.0.1:80\", { address = \"app.example:81\", weight = 3 }]";
        let items = list_items(toml.as_bytes(), ListFormat::Toml).unwrap();
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_list_is_said_in_one_line() {
        for (text, why) in [
            ("<html>", "it is no JSON: expected value at line 1 column 1"),
            ("{}", "it has no `servers`"),
            (r#"{"servers": {}}"#, "`servers` must be a list"),
            ("7", "`servers` must be a list"),
            (
                "[7]",
                "servers[0]: an item of `servers` must be a string or a table, not an integer",
            ),
            (
                r#"["a", "b c"]"#,
                "servers[1]: `b c` is more than an address",
            ),
            (
                r#"[{"address": "a", "wieght": 1}]"#,
                "servers[0].wieght: unknown key `wieght`",
            ),
            (
                r#"[{"address": "a", "weight": 0}]"#,
                "servers[0].weight: `weight` must be from 1 to 65535, not 0",
            ),
            ("[{}]", "servers[0]: `address` is missing"),
            ("[\"a\\n\"]", "servers[0]: `a\\n` is not an address"),
        ] {
            assert_eq!(checked(text).unwrap_err(), why, "{text}");
        }
        let many = format!("[{}\"a\"]", "\"a\",".repeat(MOST));
        let why = "it has 4097 servers, more than 4096";
        assert_eq!(checked(&many).unwrap_err(), why);
    }

    #[test]
    fn a_server_that_is_listed_twice_counts_once_and_is_told_of() {
        let list = checked(r#"["10.0.0.1", {"address": "10.0.0.1:80", "weight": 2}, "b"]"#);
        let list = list.unwrap();
        assert_eq!((list.servers.len(), list.servers[0].weight), (2, 1));
        assert_eq!(list.repeated, ["10.0.0.1:80"]);
    }

    #[test]
    fn an_item_means_the_same_when_it_is_read_again() {
        let text = r#"[{"address": "a.example", "service": "http", "weight": 7, "max_fails": 0,
            "fail_timeout": "3s", "slow_start": "1m", "max_conns": 9, "backup": true, "down": true,
            "route": "r", "labels": {"zone": "a"}}, "unix:/run/a.sock"]"#;
        let list = checked(text).unwrap();
        let items: Vec<Json> = list.servers.iter().map(list_item).collect();
        let again = check_list(&items, "list", &upstream("")).unwrap();
        assert_eq!(again.servers, list.servers);
    }

    #[test]
    fn listed_servers_speak_tls_as_their_upstream_does() {
        let tls = upstream("tls = { server_name = \"app.example\" }");
        let list = check_list(&[json!("10.0.0.9")], "list", &tls).unwrap();
        let address = "10.0.0.9:443".parse().unwrap();
        let expected = ServerLocation::Address(crate::config::model::Address::Tcp(address));
        assert_eq!(list.servers[0].location, expected);
        let list = check_list(&[json!("https://10.0.0.9")], "list", &upstream(""));
        assert!(list.unwrap_err().contains("tls = false"));
    }
}

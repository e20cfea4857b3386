//! `[store]`: where what plugins share is kept.

use std::borrow::Cow;
use std::path::PathBuf;

use super::resolver::Resolvers;
use super::{Complaint, address, check_name, noted, source};
use crate::config::declared::STORE;
use crate::config::model::{Address, RemoteStore, StoreConfig, StoreLocation};
use crate::config::problem::Problem;
use crate::config::section::Section;

const DEFAULT_PORT: u16 = 6379;
const URL_FORMS: &str = "write it as `redis://10.0.0.1:6379`, `rediss://user:password@redis.example/0` or \
                         `unix:/run/redis.sock`";
/// Keys that mean something with a `url` only.
const OF_URL: [&str; 4] = ["prefix", "ca", "timeout", "connect_timeout"];

pub(super) fn store(root: &Section<'_>, server: &Section<'_>) -> StoreConfig {
    let section = root.table("store", &STORE);
    let none = || Section::of(&[], root.place, &STORE, root.problems);
    let section = section.unwrap_or_else(none);
    StoreConfig {
        size: section.size("size"),
        remote: remote(&section, server),
    }
}

fn remote(section: &Section<'_>, server: &Section<'_>) -> Option<RemoteStore> {
    let Some((text, node)) = section.text_given("url") else {
        if section.get("url").is_none() {
            refuse_beside(
                section,
                &OF_URL,
                "without a `url`",
                "say where the store is, or leave it out",
            );
        }
        return None;
    };
    refuse_beside(
        section,
        &["size"],
        "beside a `url`",
        "what is elsewhere has its bound there (`maxmemory` of Redis)",
    );
    let url = noted(parsed(text), node, section.problems)?;
    let prefix = section.text("prefix");
    if let (Err(complaint), Some(node)) = (check_name(prefix, "a prefix"), section.get("prefix")) {
        section.problems.add(complaint.at(&node.place));
    }
    let ca = source::file(section, "ca");
    if let (Some(_), false, Some(node)) = (&ca, url.tls, section.get("ca")) {
        let problem = Problem::new(&node.place, "`ca` with a `url` without TLS");
        section
            .problems
            .add(problem.hint("write `rediss://`, or leave it out"));
    }
    Some(RemoteStore {
        url: text.to_owned(),
        location: url.location,
        tls: url.tls,
        ca,
        user: url.user,
        password: url.password,
        database: url.database,
        prefix: prefix.to_owned(),
        timeout: section.duration("timeout"),
        connect_timeout: section.duration("connect_timeout"),
        resolver: Resolvers::of(server).of_server(),
    })
}

fn refuse_beside(section: &Section<'_>, keys: &[&str], why: &str, hint: &str) {
    for key in keys {
        if let Some(node) = section.get(key) {
            let problem = Problem::new(&node.place, format!("`{key}` {why}"));
            section.problems.add(problem.hint(hint));
        }
    }
}

#[derive(Debug, PartialEq)]
struct Url {
    location: StoreLocation,
    tls: bool,
    user: Option<String>,
    password: Option<String>,
    database: u32,
}

/// What a URL says. A complaint about it does not show its password.
fn parsed(text: &str) -> Result<Url, Complaint> {
    let wrong = |why: &str| Complaint::new(format!("`url` {why}"));
    if let Some(path) = text.strip_prefix("unix:") {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(wrong("names a unix socket without its whole path").hint(URL_FORMS));
        }
        let mut url = Url {
            location: StoreLocation::Unix(PathBuf::from(path)),
            tls: false,
            user: None,
            password: None,
            database: 0,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("db", number)) => url.database = database(number)?,
                Some(("user", user)) => url.user = Some(decoded(user)?),
                Some(("pass", password)) => url.password = Some(decoded(password)?),
                _ => {
                    let hint = "a unix socket may have `?db=1&user=NAME&pass=PASSWORD`";
                    return Err(wrong("says something unknown behind its `?`").hint(hint));
                }
            }
        }
        return Ok(url);
    }
    let (tls, rest) = match text.split_once("://") {
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        _ => return Err(wrong("is not a URL of Redis").hint(URL_FORMS)),
    };
    // A password may have what is written as it is.
    let (of_user, rest) = match rest.rsplit_once('@') {
        Some((of_user, rest)) => (Some(of_user), rest),
        None => (None, rest),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains(['?', '#', '/']) || authority.is_empty() {
        return Err(wrong("is not a URL of Redis").hint(URL_FORMS));
    }
    let (user, password) = match of_user.map(|both| both.split_once(':').unwrap_or((both, ""))) {
        Some((user, password)) => (
            (!user.is_empty()).then(|| decoded(user)).transpose()?,
            (!password.is_empty())
                .then(|| decoded(password))
                .transpose()?,
        ),
        None => (None, None),
    };
    if user.is_some() && password.is_none() {
        let hint =
            "write `redis://user:password@...`, or `redis://:password@...` for the default user";
        return Err(wrong("has a user without a password").hint(hint));
    }
    let (host, port) = match address::to_connect_to(authority, DEFAULT_PORT)? {
        address::Destination::Address(Address::Tcp(socket)) => {
            (socket.ip().to_string(), socket.port())
        }
        address::Destination::Address(_) => {
            return Err(wrong("is not a URL of Redis").hint(URL_FORMS));
        }
        address::Destination::Name { host, port } => (host, port),
    };
    Ok(Url {
        location: StoreLocation::Tcp { host, port },
        tls,
        user,
        password,
        database: match path {
            "" => 0,
            number => database(number)?,
        },
    })
}

fn database(number: &str) -> Result<u32, Complaint> {
    number.parse().map_err(|_| {
        let complaint = Complaint::new("the database of `url` is not a number");
        complaint.hint("write `redis://10.0.0.1:6379/0`")
    })
}

/// With `%2f` and the like decoded.
fn decoded(text: &str) -> Result<String, Complaint> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let wrong =
        || Complaint::new("`url` has a `%` without two hexadecimal digits and UTF-8 behind it");
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let digits: Cow<'_, str> = String::from_utf8_lossy(digits);
        bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| wrong())?);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> StoreLocation {
        StoreLocation::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn a_url_says_where_redis_is_and_as_whom_to_ask_it() {
        let plain = |location| Url {
            location,
            tls: false,
            user: None,
            password: None,
            database: 0,
        };
        assert_eq!(
            parsed("redis://10.0.0.1").unwrap(),
            plain(tcp("10.0.0.1", 6379))
        );
        assert_eq!(parsed("redis://[::1]:7/").unwrap(), plain(tcp("::1", 7)));
        let unix = StoreLocation::Unix("/run/redis.sock".into());
        assert_eq!(parsed("unix:/run/redis.sock").unwrap(), plain(unix.clone()));
        let full = Url {
            tls: true,
            user: Some("me".to_owned()),
            password: Some("a/b:c@d%".to_owned()),
            database: 12,
            ..plain(tcp("redis.example", 6380))
        };
        let text = "rediss://me:a%2Fb:c@d%25@redis.example:6380/12";
        assert_eq!(parsed(text).unwrap(), full);
        let of_default_user = parsed("redis://:secret@a.example").unwrap();
        assert_eq!(
            (of_default_user.user, of_default_user.password.as_deref()),
            (None, Some("secret"))
        );
        let there = parsed("unix:///run/redis.sock?db=3&user=me&pass=%61").unwrap();
        assert_eq!((there.location, there.database), (unix, 3));
        assert_eq!(there.password.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_no_url_of_redis_is_refused_without_its_password() {
        for text in [
            "",
            "10.0.0.1:6379",
            "http://secret@10.0.0.1",
            "redis://",
            "redis://:secret@10.0.0.1/x",
            "redis://:secret@10.0.0.1/0?a=b",
            "redis://:secret%2@10.0.0.1",
            "redis://:secret%ff@10.0.0.1",
            "redis://me@10.0.0.1",
            "unix:redis.sock?pass=secret",
            "unix:/redis.sock?secret",
        ] {
            let complaint = parsed(text).unwrap_err();
            assert!(
                !complaint.message.contains("secret"),
                "{}",
                complaint.message
            );
        }
    }
}

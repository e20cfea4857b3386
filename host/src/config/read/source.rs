//! `servers_from` and `state`: where servers come from beside the configuration, and where what
//! becomes of them is kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Complaint, address, noted};
use crate::config::declared::SERVER_SOURCE;
use crate::config::model::{
    NamedFile, ServerSource, SourceKind, SourcePlace, SourceUrl, UpstreamConfig,
};
use crate::config::problem::{Problem, Problems, listing};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};

/// Who may have a list, each with the keys that go with it.
const KINDS: [(&str, &[&str]); 5] = [
    ("file", &[]),
    ("http", &["interval", "token_file", "ca", "timeout"]),
    ("etcd", &["prefix", "ca", "timeout"]),
    (
        "consul",
        &[
            "service",
            "tag",
            "passing",
            "datacenter",
            "token_file",
            "ca",
            "timeout",
        ],
    ),
    (
        "kubernetes",
        &["namespace", "port", "api", "token_file", "ca", "timeout"],
    ),
];
/// What goes with all of them.
const COMMON: [&str; 2] = ["allow_empty", "keep"];

const URL_FORMS: &str = "write it as `http://10.0.0.1:8500` or `https://registry.example/servers`";

/// `servers_from`; none where it is left out, or nothing can be made of it.
pub(super) fn source(upstream: &Section<'_>) -> Option<ServerSource> {
    let section = upstream.table("servers_from", &SERVER_SOURCE)?;
    let problems = section.problems;
    let given: Vec<_> = KINDS
        .iter()
        .filter(|(name, _)| section.get(name).is_some())
        .collect();
    let names = KINDS.map(|(name, _)| name);
    let (name, keys) = match given[..] {
        [kind] => kind,
        [] => {
            let problem = Problem::new(section.place, "`servers_from` does not say from where");
            problems.add(problem.hint(format!("say one of {}", listing(&names))));
            return None;
        }
        [first, second, ..] => {
            let message = format!("`{}` beside `{}`", second.0, first.0);
            let problem = Problem::new(section.place, message);
            problems.add(problem.hint("an upstream has one source: make two upstreams of it"));
            return None;
        }
    };
    for entry in section.entries() {
        let key = entry.key.as_str();
        let is_known = SERVER_SOURCE.key(key).is_some();
        if is_known && key != *name && !keys.contains(&key) && !COMMON.contains(&key) {
            let message = format!("`{key}` does not go with `{name}`");
            let all = [*keys, &COMMON].concat();
            let hint = format!("what goes with it: {}", listing(&all));
            problems.add(Problem::new(&entry.key_place, message).hint(hint));
        }
    }
    let kind = match *name {
        "file" => file(&section, "file").map(SourceKind::File),
        "http" => url(&section, "http").map(|url| SourceKind::Http {
            url,
            interval: section.duration("interval"),
        }),
        "etcd" => {
            let (url, prefix) = (base(&section, "etcd"), needed(&section, "prefix"));
            url.zip(prefix)
                .map(|(url, prefix)| SourceKind::Etcd { url, prefix })
        }
        "consul" => {
            let (url, service) = (base(&section, "consul"), needed(&section, "service"));
            url.zip(service).map(|(url, service)| SourceKind::Consul {
                url,
                service,
                tag: some(&section, "tag"),
                passing: section.boolean("passing"),
                datacenter: some(&section, "datacenter"),
            })
        }
        _ => needed(&section, "kubernetes").map(|service| SourceKind::Kubernetes {
            service,
            namespace: some(&section, "namespace"),
            port: port(&section),
            api: base(&section, "api"),
        }),
    };
    let source = ServerSource {
        kind: kind?,
        place: SourcePlace(section.get(name)?.place.clone()),
        ca: file(&section, "ca"),
        token_file: file(&section, "token_file"),
        timeout: section.duration("timeout"),
        allow_empty: section.boolean("allow_empty"),
        keep: file(&section, "keep"),
    };
    check_api(&source, &section);
    Some(source)
}

/// Where the changes of commands are kept.
pub(super) fn state(upstream: &Section<'_>) -> Option<NamedFile> {
    file(upstream, "state")
}

/// Notes files that two upstreams would write to, each what is its own.
pub(super) fn check_files(upstreams: &[UpstreamConfig], problems: &Problems) {
    let mut taken = BTreeMap::<&PathBuf, String>::new();
    for upstream in upstreams {
        let keep = upstream.source.iter();
        let keep = keep.filter_map(|source| Some(("keep", source.keep.as_ref()?)));
        let state = upstream.state.iter().map(|state| ("state", state));
        let list = upstream
            .source
            .iter()
            .filter_map(|source| match &source.kind {
                SourceKind::File(file) => Some(("file", file)),
                _ => None,
            });
        // Several may be given their servers by one file.
        for (key, file) in keep.chain(state) {
            let whose = format!("`{key}` of upstream `{}`", upstream.name);
            if std::path::absolute(&*file.place.file).is_ok_and(|own| own == file.path) {
                let message = format!("the file of {whose} is the configuration itself");
                let problem = Problem::new(&file.place, message);
                problems.add(problem.hint("it would be written over: give it a file of its own"));
            }
            if let Some(other) = taken.insert(&file.path, whose.clone()) {
                let message = format!("the file of {whose} is that of {other}");
                problems
                    .add(Problem::new(&file.place, message).hint("give each a file of its own"));
            }
        }
        for (_, file) in list {
            if let Some(other) = taken.get(&file.path) {
                let message = format!(
                    "the file of upstream `{}` is that of {other}",
                    upstream.name
                );
                problems
                    .add(Problem::new(&file.place, message).hint("give each a file of its own"));
            }
        }
    }
}

/// In a pod, the token and the authorities are those of its cluster, whoever else is named.
fn check_api(source: &ServerSource, section: &Section<'_>) {
    let SourceKind::Kubernetes { api, .. } = &source.kind else {
        return;
    };
    for name in ["token_file", "ca"] {
        if api.is_none()
            && let Some(node) = section.get(name)
        {
            let problem = Problem::new(&node.place, format!("`{name}` without an `api`"));
            let hint = "in a pod it is known: leave it out, or name the API server that it is for";
            section.problems.add(problem.hint(hint));
        }
    }
}

fn port(section: &Section<'_>) -> Option<String> {
    let node = section.get("port")?;
    match &node.value {
        Value::Integer(_) => {
            let number = section.integer_of(node, "port")?;
            Some(number.to_string())
        }
        _ => some(section, "port"),
    }
}

/// A text that is not empty, if there is one.
fn some(section: &Section<'_>, name: &str) -> Option<String> {
    let (text, node) = section.text_given(name)?;
    if text.is_empty() {
        let problem = Problem::new(&node.place, format!("`{name}` is empty"));
        section.problems.add(problem.hint("leave it out"));
        return None;
    }
    Some(text.to_owned())
}

fn needed(section: &Section<'_>, name: &str) -> Option<String> {
    section.required(name)?;
    some(section, name)
}

/// A file beside the configuration.
pub(super) fn file(section: &Section<'_>, name: &str) -> Option<NamedFile> {
    let (text, node) = section.text_given(name)?;
    if text.is_empty() {
        let message = format!("the path of `{name}` is empty");
        section.problems.add(Problem::new(&node.place, message));
        return None;
    }
    Some(NamedFile {
        path: node.place.beside(text),
        place: node.place.clone(),
    })
}

/// What the paths of an API come behind.
fn base(section: &Section<'_>, name: &str) -> Option<SourceUrl> {
    let mut url = url(section, name)?;
    if url.path.contains('?') {
        let node: &Node = section.get(name)?;
        let complaint = Complaint::new(format!("the URL of `{name}` has a query"));
        let hint = "write where the server is: what is asked for is said by other keys";
        section.problems.add(complaint.hint(hint).at(&node.place));
        return None;
    }
    url.path.truncate(url.path.trim_end_matches('/').len());
    Some(url)
}

fn url(section: &Section<'_>, name: &str) -> Option<SourceUrl> {
    let (text, node) = section.text_given(name)?;
    noted(parsed(text), node, section.problems)
}

/// An address of HTTP whose port is this one where it names none.
pub(super) fn endpoint(text: &str, port: u16) -> Result<SourceUrl, Complaint> {
    let mut url = parsed(text)?;
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let names_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !names_port {
        url.port = port;
    }
    Ok(url)
}

fn parsed(text: &str) -> Result<SourceUrl, Complaint> {
    let wrong = |why: &str| Complaint::new(format!("`{text}` {why}"));
    let uri: http::Uri = text
        .parse()
        .map_err(|_| wrong("is not a URL").hint(URL_FORMS))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("is not a URL of HTTP").hint(URL_FORMS)),
    };
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        let complaint = Complaint::new("a URL with a user name or a password");
        return Err(complaint.hint("write the token into a file, and name that as `token_file`"));
    }
    if text.contains('#') {
        return Err(wrong("has a fragment, which no server is told").hint("leave out the `#`"));
    }
    let default_port = match tls {
        true => address::DEFAULT_TLS_PORT,
        false => address::DEFAULT_PORT,
    };
    let (host, port) = match address::to_connect_to(authority, default_port)? {
        address::Destination::Address(crate::config::model::Address::Tcp(socket)) => {
            (socket.ip().to_string(), socket.port())
        }
        address::Destination::Address(_) => return Err(wrong("is not a URL").hint(URL_FORMS)),
        address::Destination::Name { host, port } => (host, port),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(SourceUrl {
        tls,
        host,
        port,
        path: path.to_owned(),
    })
}

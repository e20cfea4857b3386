//! nginx's configuration becomes Waypost's, and every directive of it is accounted for.
//!
//! Begin at [`import`]. A file is read into a tree (`lexer`, `tree`), a [`Translator`] goes through
//! its contexts and makes blocks of the file to be, and notes of each directive what became of it
//! (`report`); `fallback` speaks for those that nobody has asked for. What is written is read by
//! `config` before anybody gets it.

mod lua; // where its blocks end
mod lexer;
mod well_known; // files that most machines with nginx have
mod tree;
mod report;
mod values; // times and sizes
mod pieces; // texts and the variables in them
mod parts; // what texts are made of
mod variables; // what `set` and regexes make
mod words; // texts as they are written
mod declared; // the variables that they need
mod tables; // `map`, `geo`, `split_clients`
mod choices; // what `if`s decide
mod scope; // contexts, and what is inherited
mod comments;
mod writer;
mod output;
mod fallback; // what nobody has translated
mod idle; // what does nothing where it stands
mod process;
mod listen;
mod acme; // certificates that are ordered
mod tls;
mod traces; // `otel_exporter` and its like
mod checks; // whether servers are well
mod policies;
mod upstream;
mod expressions; // what PCRE means otherwise
mod conditions;
mod hooks;
mod substitutions; // text that is replaced in answers
mod asking; // other servers that are asked about a request, or shown it
mod headers;
mod logs;
mod redirects; // where they lead
mod rewriting;
mod steps; // what is run in its order
mod guards; // what keeps requests out
mod target; // where `proxy_pass` leads
mod chosen; // where the request says where
mod to_servers; // what an upstream is told of connections
mod answered; // what servers say of themselves
mod proxying;
mod matching; // what a location matches
mod nesting; // those within others
mod finding; // which location nginx finds
mod try_files;
mod directory; // `root`, `alias`
mod places; // directories that locations tell apart
mod index;
mod files;
mod error_page;
mod pages; // errors
mod content; // compression, caching
mod named; // routes that only a name leads to
mod handed_on; // and those that servers lead to
mod action; // what a location does with requests
mod beside; // its other methods, its path without a slash
mod location;
mod jumps; // locations that lead to another one
mod real_ip; // what proxies in front say of clients
mod hosts; // names and addresses of servers
mod listener_rules; // `rewrite` of a server
mod breaking; // what its `break` leaves out of a `proxy_pass`
mod stamps; // routes with hosts and listeners
mod hoist; // what is said once
mod upstream_keys; // and of upstreams
mod http;
mod stream;

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use self::output::Output;
use self::report::Accounts;
pub use self::report::{Entry, Outcome, Report};
use self::scope::Scope;
pub use self::tree::{Line, ReadError};
use self::upstream::Upstreams;
use self::words::Words;
use crate::config::problem::Problem;
use crate::config::system::System;

#[cfg(test)]
mod tests;

/// What became of a configuration of nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The file for Waypost. What cannot be said stands there as comments.
    pub text: String,
    pub report: Report,
    /// What is wrong with the file, where that is anything: a fault of the import, not of nginx's
    /// configuration.
    pub problems: Vec<Problem>,
}

/// Reads nginx's configuration and writes Waypost's. `target`: the file that it is for, to which
/// paths in it are relative.
///
/// # Errors
/// Where a file cannot be read, or is none of nginx's.
pub fn import(path: &Path, target: &Path, system: &dyn System) -> Result<Imported, ReadError> {
    import_without(&[], path, target, system)
}

/// As [`import`], as if the directives with these names were not there: their loss is agreed to. The
/// report tells of them.
///
/// # Errors
/// As [`import`], and where no directive has one of the names, or one that has is a block.
pub fn import_without(
    names: &[String],
    path: &Path,
    target: &Path,
    system: &dyn System,
) -> Result<Imported, ReadError> {
    let mut tree = tree::read(path, system)?;
    tree.leave_out(names)?;
    let accounts = Accounts::new(&tree);
    for directive in &tree.left_out {
        accounts.changed(
            directive,
            format!("left out: `--without {}`", directive.name),
        );
    }
    let output = translate(&tree, &accounts, system);
    if output.is_deaf() {
        let none = "there is no `server` that could be served";
        if let Some(include) = tree.missing() {
            let (file, why) = (include.argument(0), include.missing.as_deref());
            let why = why.unwrap_or_default();
            return Err(ReadError {
                line: include.line.clone(),
                message: format!(
                    "{none}, and the file `{file}` cannot be read: {why}; it is included"
                ),
            });
        }
        return Err(ReadError {
            line: Line {
                file: path.display().to_string().into(),
                line: 1,
            },
            message: none.to_owned(),
        });
    }
    fallback::account(&tree, &accounts);
    let report = accounts.into_report(&tree);
    let text = output.render(&report);
    let problems = match crate::config::parse_on(&text, target, system) {
        Ok(_) => Vec::new(),
        Err(problems) => problems,
    };
    Ok(Imported {
        text,
        report,
        problems,
    })
}

/// Whether a text is nginx's configuration: its first statement ends as none of TOML does.
pub fn is_nginx(path: &Path, text: &[u8]) -> bool {
    match path.extension().and_then(std::ffi::OsStr::to_str) {
        Some("conf" | "nginx") => true,
        Some("toml") => false,
        _ => match lexer::Lexer::new(text).next() {
            Ok(first) => {
                let is_word =
                    |word: &String| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                let is_toml = first.words.get(1).is_some_and(|word| word.starts_with('='));
                first.end != lexer::End::File
                    && first.words.first().is_some_and(is_word)
                    && !is_toml
            }
            Err(_) => false,
        },
    }
}

/// What contexts are translated with, and what has come of it so far.
struct Translator<'a> {
    accounts: &'a Accounts,
    system: &'a dyn System,
    words: Words<'a>,
    upstreams: Upstreams<'a>,
    zones: hooks::Zones<'a>,
    named: named::Named,
    handed_on: handed_on::HandedOn,
    expressions: finding::Expressions,
    breaking: breaking::Breaking,
    /// By the number of a server, a directory of each kind that its locations tell apart.
    directories: HashMap<Option<usize>, Rc<Option<Vec<String>>>>,
    out: Output,
    /// Whether all listeners have a port that clients do not write.
    has_usual_ports: bool,
    /// Whether a name is resolved again and again in nginx.
    uses_resolver: bool,
    /// Whether an address has several servers.
    tells_hosts: bool,
    /// What `http` says of traces, where there is an exporter of them.
    traced: Option<traces::OfRule>,
}

fn translate(tree: &tree::Tree, accounts: &Accounts, system: &dyn System) -> Output {
    let root = Scope::outermost(&tree.directives, accounts);
    // A file of `sites-available`, or a part of one, stands for what is within `http`.
    let is_site = root.own("http").is_empty()
        && ["server", "upstream", "map", "limit_req_zone"]
            .iter()
            .any(|name| has(&root, name));
    let is_part = !is_site
        && root.own("http").is_empty()
        && root.own("stream").is_empty()
        && ["location", "proxy_pass", "server_name", "listen", "return"]
            .iter()
            .any(|name| has(&root, name));
    let contexts: Vec<Scope<'_>> = root
        .own("http")
        .iter()
        .map(|http| root.within(http))
        .collect();
    let streams: Vec<Scope<'_>> = root
        .own("stream")
        .iter()
        .map(|stream| root.within(stream))
        .collect();
    let mut translator = Translator {
        accounts,
        system,
        words: Words::new(&tree.directives, accounts),
        upstreams: Upstreams::new(),
        zones: hooks::Zones::default(),
        named: named::Named::default(),
        handed_on: handed_on::HandedOn::default(),
        expressions: finding::Expressions::default(),
        breaking: breaking::Breaking::default(),
        directories: HashMap::new(),
        out: Output::default(),
        has_usual_ports: false,
        uses_resolver: false,
        tells_hosts: false,
        traced: None,
    };
    translator.out.server.title = "[server]".to_owned();
    process::process(&root, &mut translator.out.server.keys, accounts);
    process::error_log(&[&root], &mut translator.out.server.keys, accounts);
    if is_site {
        translator.http(&root);
    } else if is_part {
        translator.part(&root);
    }
    for http in &contexts {
        translator.http(http);
    }
    for stream in &streams {
        translator.stream(stream);
    }
    general(&translator);
    let Translator {
        upstreams,
        mut words,
        mut out,
        ..
    } = translator;
    out.upstreams = upstreams.into_blocks(&mut words);
    upstream_keys::hoist_to_upstreams(&mut out.routes, &out.streams, &mut out.upstreams);
    out.variables = words.into_blocks();
    out
}

fn has(scope: &Scope<'_>, name: &str) -> bool {
    scope.children.iter().any(|child| child.name == name)
}

/// Departures of which no directive tells.
fn general(translator: &Translator<'_>) {
    if translator.out.routes.is_empty() {
        return;
    }
    if translator
        .out
        .routes
        .iter()
        .any(|route| route.get("files").is_some())
    {
        for departure in [
            "Of files, names that begin with a dot are not there but `.well-known`, and links that lead \
             out of their directory are refused.",
            "Files have types that nginx's `mime.types` lacks, and texts name their charset; methods \
             other than GET and HEAD are a 405. docs/files.md has more.",
        ] {
            translator.accounts.general(departure);
        }
    }
    for departure in [
        "Servers get `X-Forwarded-For`, `-Proto`, `-Host` and `X-Real-IP`; what clients send of them, \
         and `Forwarded`, is believed of `trusted_proxies` alone.",
        "`Date` and `Server` of a server are passed on.",
        "Upgrades such as WebSocket pass without a word.",
        "Names of servers are resolved again when their answers expire.",
        "Requests that are malformed or ambiguous are refused where nginx mends them.",
        "Waypost's own error pages are short texts.",
        "A path without its closing slash is redirected to the host and port that the client named, \
         before conditions are asked, with 308 where the method must stay; one that no route has is a 404 for every method.",
        "docs/coming-from-nginx.md has all of them, and why.",
    ] {
        translator.accounts.general(departure);
    }
}

//! What became of each request, as the access log tells it through a pipe: which server was chosen,
//! or what was answered without one, and the plugin's own words.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::thread;

use anyhow::Context;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Signal, getpid, kill_process};
use serde::Deserialize;

use super::configuration::UPSTREAM;
use super::servers::Servers;

/// The log's fields, and the members of [`Line`].
pub(super) const FIELDS: &str = "request = \"$request_method $request_uri\"\n\
                                 tenant = \"$http_x_tenant\"\n\
                                 zone = \"$http_x_zone\"\n\
                                 servers = \"$upstream_addr\"\n\
                                 status = \"$status\"\n\
                                 note = \"$plugin_note\"\n";

#[derive(Debug, Deserialize)]
struct Line {
    request: String,
    tenant: String,
    zone: String,
    servers: String,
    status: u16,
    note: String,
}

/// Makes the pipe, and prints what comes through it until the process ends.
pub(super) fn print(pipe: &Path, servers: &Servers) -> anyhow::Result<()> {
    mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .with_context(|| format!("cannot make the pipe `{}`", pipe.display()))?;
    // With a writer of our own it has no end.
    let lines = OpenOptions::new().read(true).write(true).open(pipe)?;
    let names: HashMap<String, String> = servers
        .all()
        .map(|(address, name, _)| (address.to_string(), name))
        .collect();
    thread::spawn(move || {
        let mut number = 0_u64;
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str::<Line>(&line) else {
                continue;
            };
            number += 1;
            if is_closed(&line.shown(number, &names)) {
                // Nobody looks any more.
                let _ = kill_process(getpid(), Signal::TERM);
                return;
            }
        }
    });
    Ok(())
}

/// Prints to the standard output; whether nobody reads that.
fn is_closed(text: &str) -> bool {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
}

impl Line {
    fn shown(&self, number: u64, names: &HashMap<String, String>) -> String {
        let mut asked = self.request.clone();
        for (name, value) in [("x-tenant", &self.tenant), ("x-zone", &self.zone)] {
            if !value.is_empty() {
                let _ = write!(asked, "  {name}: {value}");
            }
        }
        // The upstream's name stands for "none could be chosen".
        let is_server = |each: &&str| !each.is_empty() && *each != UPSTREAM;
        let chosen = self.servers.split(", ").filter(is_server);
        let chosen: Vec<&str> = chosen
            .map(|each| names.get(each).map_or(each, String::as_str))
            .collect();
        let chosen = match &chosen[..] {
            [] => "no server".to_owned(),
            chosen => chosen.join(", then "),
        };
        let note = match self.note.as_str() {
            "" => String::new(),
            note => format!("  ({note})"),
        };
        let line = format!(
            "{number:>5}  {asked:<48} -> {chosen}, {}{note}",
            self.status
        );
        // What clients and plugins say commands no terminal.
        let harmless = |c: char| match c.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => c,
        };
        line.chars().map(harmless).chain(['\n']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(servers: &str, status: u16, note: &str) -> String {
        let line = Line {
            request: "GET /\u{1b}[2J".to_owned(),
            tenant: "acme".to_owned(),
            zone: String::new(),
            servers: servers.to_owned(),
            status,
            note: note.to_owned(),
        };
        let names = [("127.0.0.1:1", "s1"), ("127.0.0.1:2", "s2")];
        let names = names.map(|(address, name)| (address.to_owned(), name.to_owned()));
        line.shown(7, &HashMap::from(names))
    }

    #[test]
    fn a_decision_names_the_servers_that_were_asked() {
        let line = shown("127.0.0.1:2, 127.0.0.1:1", 200, "");
        assert!(
            line.starts_with("    7  GET /\u{fffd}[2J  x-tenant: acme "),
            "{line}"
        );
        assert!(line.ends_with(" -> s2, then s1, 200\n"), "{line}");
    }

    #[test]
    fn an_answer_without_a_server_has_its_status_and_the_plugin_s_words() {
        for servers in ["", UPSTREAM] {
            let line = shown(servers, 401, "no tenant");
            let expected = " -> no server, 401  (no tenant)\n";
            assert!(line.ends_with(expected), "{line}");
        }
    }
}

//! A generator at work, and what it saw.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::LOAD_CORE;
use crate::scenario::{Front, Scenario, Traffic};
use crate::setup::write;

/// Connections of each `wrk`.
const CONNECTIONS: u32 = 32;

/// A generator at work.
pub(crate) struct Load {
    child: Child,
    traffic: Traffic,
}

/// What a generator saw.
pub(crate) struct Seen {
    pub(crate) requests: u64,
    /// Answers other than 2xx and 3xx, and broken connections.
    pub(crate) errors: u64,
    pub(crate) per_second: f64,
    /// Milliseconds; not told by h2load.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

impl Load {
    /// `?N` at the end of the path asks for a thousand different URIs, in turn.
    /// [`Site::Routes`](crate::site::Site::Routes) is asked for all of its routes.
    pub(crate) fn start(folder: &Path, port: u16, scenario: &Scenario, seconds: u32) -> Load {
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CORE]);
        let scheme = if scenario.front.has_tls() {
            "https"
        } else {
            "http"
        };
        let path = scenario.path.trim_end_matches("?N");
        let url = format!("{scheme}://127.0.0.1:{port}{path}");
        match scenario.traffic {
            Traffic::Wrk => {
                command.args(["wrk", "-t1", "--latency"]);
                command.args([format!("-c{CONNECTIONS}"), format!("-d{seconds}s")]);
                for header in scenario.site.headers() {
                    command.args(["-H", header]);
                }
                let uris = (path != scenario.path).then(|| {
                    format!(
                        "local n, requests = 0, {{}}
                        init = function() for i = 1, 1000 do requests[i] = wrk.format('GET', '{path}?' .. i) end end
                        request = function() n = n % 1000 + 1 return requests[n] end"
                    )
                });
                if let Some(script) = scenario.site.script().or(uris) {
                    command.args(["-s", &write(folder, "uris.lua", &script)]);
                }
                command.arg(url);
            }
            Traffic::Streams(streams) | Traffic::Calls(streams) => {
                command.args(["h2load", "-c8", "-t1", "-m", streams]);
                command.arg(format!("-D{seconds}"));
                if matches!(scenario.traffic, Traffic::Calls(_)) {
                    command.arg("-d").arg(folder.join("www").join("message"));
                    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
                }
                assert!(scenario.front != Front::Http1, "h2load speaks HTTP/2");
                command.arg(url);
            }
            Traffic::Handshakes { resumed } => {
                command.arg(std::env::current_exe().expect("this program has a path"));
                command.args(["--handshakes", &port.to_string(), &seconds.to_string()]);
                command.arg(if resumed { "resumed" } else { "full" });
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset is installed (util-linux)");
        Load {
            child,
            traffic: scenario.traffic,
        }
    }

    pub(crate) fn finish(self, seconds: u32) -> Seen {
        let output = self
            .child
            .wait_with_output()
            .expect("a generator ends by itself");
        let text = String::from_utf8_lossy(&output.stdout);
        let seen = match self.traffic {
            Traffic::Wrk => of_wrk(&text),
            Traffic::Streams(_) | Traffic::Calls(_) => of_h2load(&text, seconds),
            Traffic::Handshakes { .. } => of_ourselves(&text, seconds),
        };
        seen.unwrap_or_else(|| panic!("the generator is installed and tells what it saw:\n{text}"))
    }
}

fn of_wrk(text: &str) -> Option<Seen> {
    let after = |label: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(label));
        line.map(str::trim)
    };
    let requests = text
        .lines()
        .find_map(|line| line.split_once(" requests in "))?;
    let broken = after("Socket errors:").map_or(0, |errors| {
        errors
            .split([' ', ','])
            .filter_map(|word| word.parse::<u64>().ok())
            .sum()
    });
    let refused: u64 = after("Non-2xx or 3xx responses:").map_or(Some(0), |n| n.parse().ok())?;
    Some(Seen {
        requests: requests.0.trim().parse().ok()?,
        errors: refused + broken,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50: Some(milliseconds(after("50%")?)),
        p99: Some(milliseconds(after("99%")?)),
    })
}

/// `requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout`, and
/// `status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx`.
fn of_h2load(text: &str, seconds: u32) -> Option<Seen> {
    let counts = |label: &str| -> Option<Vec<u64>> {
        let line = text.lines().find_map(|line| line.strip_prefix(label))?;
        let words = line.split(',').map(|part| part.split_whitespace().next());
        words.map(|word| word?.parse().ok()).collect()
    };
    let requests = counts("requests:")?;
    let statuses = counts("status codes:")?;
    let succeeded = *statuses.first()?;
    Some(Seen {
        requests: succeeded,
        errors: requests.get(4..)?.iter().sum::<u64>() + statuses.get(1..)?.iter().sum::<u64>(),
        per_second: succeeded as f64 / f64::from(seconds),
        p50: None,
        p99: None,
    })
}

/// What [`crate::handshakes`] prints.
fn of_ourselves(text: &str, seconds: u32) -> Option<Seen> {
    let mut words = text.split_whitespace();
    let requests: u64 = words.next()?.parse().ok()?;
    Some(Seen {
        requests,
        errors: words.next()?.parse().ok()?,
        per_second: requests as f64 / f64::from(seconds),
        p50: words.next()?.parse().ok(),
        p99: words.next()?.parse().ok(),
    })
}

/// `81.00us`, `1.20ms` or `1.01s`, as wrk writes them.
fn milliseconds(text: &str) -> f64 {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let value: f64 = digits.parse().expect("a latency is a number");
    match &text[digits.len()..] {
        "us" => value / 1000.0,
        "ms" => value,
        _ => value * 1000.0,
    }
}

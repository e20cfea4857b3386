//! A generator at work, and what it saw.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::LOAD_CORE;
use crate::scenario::{Front, Pace, Scenario, Traffic};
use crate::setup::write;

/// What a generator says that has its connections, and begins when it is told.
pub(crate) const READY: &str = "ready";

/// A generator: ready, at work, and at its end.
pub(crate) struct Load {
    command: Command,
    running: Option<Running>,
    traffic: Traffic,
}

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
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
    /// Told by [`crate::paced`] alone.
    pub(crate) tail: Option<Tail>,
}

/// More of the distribution of latencies, in milliseconds.
pub(crate) struct Tail {
    pub(crate) p90: f64,
    pub(crate) p999: f64,
    pub(crate) longest: f64,
    /// What of it passed before the request was sent, 99th percentile.
    pub(crate) late: f64,
}

impl Load {
    /// `?N` at the end of the path asks for a thousand different URIs, in turn.
    /// [`Site::Routes`](crate::site::Site::Routes) is asked for all of its routes.
    ///
    /// A generator of ours with many connections has them when this returns; all others connect
    /// when they begin.
    pub(crate) fn prepare(folder: &Path, port: u16, scenario: &Scenario, seconds: u32) -> Load {
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
            Traffic::Wrk { connections, anew } => {
                command.args(["wrk", "-t1", "--latency"]);
                command.args([format!("-c{connections}"), format!("-d{seconds}s")]);
                if anew {
                    command.args(["-H", "Connection: close"]);
                }
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
            Traffic::Paced(connections, pace) => {
                let (pace, number) = match pace {
                    Pace::AtOnce(number) => ("at-once", number),
                    Pace::PerSecond(number) => ("per-second", number),
                };
                let [connections, number] = [connections, number].map(|n| n.to_string());
                command.arg(std::env::current_exe().expect("this program has a path"));
                command.args(["--paced", &port.to_string(), path, &connections]);
                command.args([&seconds.to_string(), pace, &number]);
            }
        }
        let mut load = Load {
            command,
            running: None,
            traffic: scenario.traffic,
        };
        if load.is_told() {
            let mut line = String::new();
            let read = load.spawn().output.read_line(&mut line);
            let is_ready = read.is_ok() && line.trim_end() == READY;
            assert!(is_ready, "the generator has its connections");
        }
        load
    }

    /// Whether it has its connections before it begins, and keeps them until we have looked.
    fn is_told(&self) -> bool {
        matches!(self.traffic, Traffic::Paced(..))
    }

    fn spawn(&mut self) -> &mut Running {
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("taskset is installed (util-linux)");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        self.running.insert(Running { child, output })
    }

    /// From here on the proxy is loaded.
    pub(crate) fn begin(&mut self) {
        match &mut self.running {
            Some(running) => {
                let mut input = running.child.stdin.as_ref().expect("it is piped");
                input.write_all(b"\n").expect("the generator waits for it");
            }
            None => _ = self.spawn(),
        }
    }

    /// Waits until it is done. Connections of a generator that is told when to begin are open until
    /// the load is dropped.
    pub(crate) fn finish(&mut self, seconds: u32) -> Seen {
        let is_told = self.is_told();
        let running = self.running.as_mut().expect("it has begun");
        let mut text = String::new();
        let read = if is_told {
            running.output.read_line(&mut text)
        } else {
            running.output.read_to_string(&mut text)
        };
        read.expect("a generator ends by itself");
        let seen = match self.traffic {
            Traffic::Wrk { .. } => of_wrk(&text),
            Traffic::Streams(_) | Traffic::Calls(_) => of_h2load(&text, seconds),
            Traffic::Handshakes { .. } | Traffic::Paced(..) => of_ourselves(&text, seconds),
        };
        seen.unwrap_or_else(|| panic!("the generator is installed and tells what it saw:\n{text}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            drop(running.child.stdin.take()); // which ends those that are told
            let _ = running.child.wait();
        }
    }
}

/// The time of a share of all, in milliseconds; zero where there are none. `times` are sorted.
pub(crate) fn quantile(times: &[Duration], share: f64) -> f64 {
    let index = (times.len() as f64 * share) as usize;
    let time = times.get(index).or(times.last());
    time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
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
        tail: None,
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
        tail: None,
    })
}

/// What [`crate::handshakes`] and [`crate::paced`] print.
fn of_ourselves(text: &str, seconds: u32) -> Option<Seen> {
    let mut words = text.split_whitespace();
    let [requests, errors] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
    let mut times = words.map_while(|word| word.parse().ok());
    let (p50, p99) = (times.next(), times.next());
    let tail: Vec<f64> = times.collect();
    let tail = match tail[..] {
        [p90, p999, longest, late] => Some(Tail {
            p90,
            p999,
            longest,
            late,
        }),
        _ => None,
    };
    Some(Seen {
        requests,
        errors,
        per_second: requests as f64 / f64::from(seconds),
        p50,
        p99,
        tail,
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

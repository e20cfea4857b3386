//! `limit_conn` beside a real nginx: requests of a few users begin and end in a random order, and
//! both let the same ones in.

use std::fmt::Write;

use fastrand::Rng;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinHandle;
use waypost_tests::{Answer, Client, Gate, Nginx, Response, in_time, nginx, origin, proxy};

use super::seed;

/// How many requests there are; each may be held by the origin.
const REQUESTS: usize = 200;

/// The same zone at several places: connections, and whether it is a dry run.
const LOCATIONS: [(u32, bool); 5] = [(1, false), (2, false), (3, false), (5, false), (2, true)];

/// A request at one of the proxies.
struct Asked {
    answer: JoinHandle<Response>,
    /// Its answer where it was rejected; without, the origin holds it.
    rejected: Option<Response>,
}

/// Sends a request, and waits until the origin has it or the proxy has answered.
async fn ask(address: &str, request: String, arrivals: &mut UnboundedReceiver<()>) -> Asked {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    let mut answer = tokio::spawn(async move {
        let response = client.response().await;
        // An exchange has ended before its connection is closed.
        client.closed().await;
        response
    });
    let rejected = in_time("an arrival or an answer", async {
        tokio::select! {
            arrived = arrivals.recv() => arrived.map_or_else(|| panic!("the origin ends"), |()| None),
            answered = &mut answer => Some(answered.expect("no panic")),
        }
    });
    Asked {
        rejected: rejected.await,
        answer,
    }
}

#[tokio::test]
async fn requests_in_progress_are_limited_as_nginx_limits_them() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let gates: Vec<Gate> = (0..REQUESTS).map(|_| Gate::closed()).collect();
    let (at_nginx, nginx_arrivals) = mpsc::unbounded_channel();
    let (at_waypost, waypost_arrivals) = mpsc::unbounded_channel();
    let held = gates.clone();
    let origin = origin::answers(move |request| {
        let number: usize = request.header("X-Held").parse().expect("a number");
        let arrived = match request.header("X-Side") {
            "nginx" => &at_nginx,
            _ => &at_waypost,
        };
        let _ = arrived.send(());
        Answer::ok("held").when(&held[number])
    })
    .await;
    let (mut server, mut file) = (
        format!(
            "limit_conn_log_level info; limit_conn_status 429;\n\
             add_header X-Limit $limit_conn_status always;\n\
             location / {{ proxy_pass http://{}; }}\n",
            origin.address()
        ),
        format!(
            "[server]\nworkers = 2\naccess_log = false\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.backend]\nservers = [\"{}\"]\n\
             [hook.users]\nplugin = \"limit_conn\"\nkey = \"$arg_user\"\nstatus = 429\n",
            origin.address()
        ),
    );
    for (number, (connections, dry_run)) in LOCATIONS.iter().enumerate() {
        let on = if *dry_run { "on" } else { "off" };
        let _ = writeln!(
            server,
            "location /l{number}/ {{ limit_conn users {connections}; limit_conn_dry_run {on};\n\
             proxy_pass http://{}; }}",
            origin.address()
        );
        let _ = writeln!(
            file,
            "[[route]]\npath = \"/l{number}/\"\nproxy = \"backend\"\n\
             hooks = [{{ use = \"users\", connections = {connections}, dry_run = {dry_run} }}]\n\
             [route.response_headers]\nset = {{ X-Limit = \"$hook_limit_conn_status\" }}"
        );
    }
    let nginx = Nginx::start("limit_conn_zone $arg_user zone=users:1m;", &server).await;
    let waypost = proxy::run(&file, &[]).await;
    let addresses = [nginx.address().to_owned(), waypost.address().to_owned()];
    let mut arrivals = [nginx_arrivals, waypost_arrivals];
    let mut open: Vec<(usize, [Asked; 2])> = Vec::new();
    let mut asked = 0;
    while asked < REQUESTS {
        if open.is_empty() || open.len() < 12 && rng.bool() {
            let user = ["", "a", "b", "c", "d"][rng.usize(0..5)];
            let target = format!("/l{}/?user={user}", rng.usize(0..LOCATIONS.len()));
            let request = |side: &str| {
                format!(
                    "GET {target} HTTP/1.1\r\nHost: parity\r\nX-Side: {side}\r\n\
                     X-Held: {asked}\r\nConnection: close\r\n\r\n"
                )
            };
            let [of_nginx, of_waypost] = &mut arrivals;
            let (expected, got) = tokio::join!(
                ask(&addresses[0], request("nginx"), of_nginx),
                ask(&addresses[1], request("waypost"), of_waypost),
            );
            let outcome = |asked: &Asked| {
                let rejected = asked.rejected.as_ref();
                rejected.map(|answer| (answer.status, answer.header("X-Limit").to_owned()))
            };
            assert_eq!(
                outcome(&got),
                outcome(&expected),
                "waypost (left) differs from nginx (right)\nrequest {asked}: {target}\n\
                 WAYPOST_PARITY_SEED={seed}"
            );
            if got.rejected.is_none() {
                open.push((asked, [expected, got]));
            }
            asked += 1;
        } else {
            // Often the oldest, so that none is held for longer than clients wait.
            let at = if rng.bool() {
                0
            } else {
                rng.usize(0..open.len())
            };
            let (number, both) = open.remove(at);
            gates[number].open();
            let mut statuses = Vec::new();
            for side in both {
                let answer = in_time("an answer", side.answer).await.expect("no panic");
                assert_eq!(answer.status, 200);
                statuses.push(answer.header("X-Limit").to_owned());
            }
            assert_eq!(statuses[1], statuses[0], "WAYPOST_PARITY_SEED={seed}");
        }
    }
    for gate in &gates {
        gate.open();
    }
}

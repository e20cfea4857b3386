//! Waypost's specs: one file per promise, in the order in which a newcomer would ask.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a spec fails by panicking"
)]

mod harness; // what the specs stand on
mod commands; // the first thing that a newcomer meets
mod checks; // what a check finds beyond the file
mod conditions; // which of several routes of one path takes a request
mod variables; // of one's own
mod docs; // whose commands work
mod examples; // each file in `examples/` runs
mod workers; // distribution is exact across workers
mod names; // of servers, resolved again
mod discovery; // servers that are listed elsewhere
mod state; // what commands change, kept
mod dynamic_names; // that requests make
mod crowded_names; // of which many are not answered for
mod import; // nginx's configuration answers as nginx does
mod parity; // the choices are nginx's
mod retries; // another server is asked
mod slow_start; // a server that is back gets its share little by little
mod health; // servers that are ill get no requests
mod last_resort; // one is asked although it failed
mod overload; // more load than servers take
mod kill_one; // and no client notices
mod custom_policy; // built with the SDK, for either target
mod languages; // the same plugins in others than Rust
mod recipes; // pages are followed to the letter
mod policy_settings; // checked by the policy, at their line
mod filters; // what a policy may choose from
mod leases; // each pick that was answered gets one `done`
mod member_changes; // a policy that takes them in place lives on
mod hot_load; // a policy is swapped, and no request fails
mod trials; // versions that are tried beside those that serve
mod trust; // what may be loaded, by its hash and by who signed it
mod misbehaving; // every request is answered, despite a policy's faults
mod plugin_trial; // what a plugin must not do is found out before
mod new_plugin; // from an empty folder to one that decides
mod simulate; // policies under a load that is made up
mod hooks; // requests are changed, answered, delayed and led elsewhere
mod routing; // which route serves a request
mod redirects; // where clients are sent
mod cookies; // which they are to keep
mod replaced_requests; // what servers get in place of what clients have sent
mod route_limits; // what a route says again of its upstream
mod components; // that answer routes
mod files; // of a directory
mod handed_on; // servers leave the answer to another route
mod headers; // what servers learn, which proxies are trusted
mod compression; // answers in the coding that a client takes
mod keepalive; // connections are reused
mod tls; // on both sides
mod acme; // certificates that are ordered
mod unix_sockets; // on both sides
mod real_ip; // whom proxies in front name as the client
mod proxy_protocol; // headers that name the client of a connection
mod tcp_streams; // connections carried as they are
mod upgrade; // tunnels
mod http2; // both sides, streams, bounds
mod grpc; // calls and their faults
mod websocket; // tunnels of either version
mod spliced; // large bodies, which the kernel moves
mod half_closed; // one side has ended, the other has not
mod tunnel_memory; // what a connection costs that is carried as it is
mod traces; // spans of requests, for a collector
mod access_log; // what is written down
mod signals; // drain, stop, reopen
mod reload; // another configuration, while requests are served
mod takeover; // another process, while requests are served
mod dashboard; // the page for people at the same address
mod top; // the same in a terminal
mod admin; // its API
mod upstream_list; // what each server was asked, and what went wrong with it last
mod probes; // whether requests are wanted
mod explain; // what would become of a request
mod stub_status; // what is counted, in nginx's text
mod metrics; // ... and in that of Prometheus
mod control_plane; // never stands still
mod messages; // what passes through unchanged, and what does not
mod response_heads; // what every answer has
mod early_answers; // answers before the end of their requests
mod error_pages; // what clients get for errors
mod framing; // where a message ends is never a guess
mod targets; // which host a request is for
mod trailers; // fields behind a body
mod io_uring; // many messages by one system call
mod faults_client; // clients that misbehave
mod faults_upstream; // servers that misbehave
mod packaging; // what is installed beside the binary
mod systemd; // what systemd is told
mod descriptors; // too few of them
mod crowds; // as many clients as there may be
mod supervision; // parts that die
mod memory; // what an exchange costs
mod soak; // all of it at once, for long

#[test]
fn every_spec_file_is_part_of_the_suite() {
    let this = include_str!("main.rs");
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .expect("this folder exists");
    let names = files.map(|file| {
        file.expect("it can be listed")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let missing: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
        .filter(|name| name != "main" && !this.contains(&format!("\nmod {name};")))
        .collect();
    assert!(missing.is_empty(), "not in main.rs: {missing:?}");
}

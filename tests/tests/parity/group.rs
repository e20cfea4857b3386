//! Randomised upstreams, and how each of the two proxies is told of them.

use std::fmt::Write;

use fastrand::Rng;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Policy {
    RoundRobin,
    LeastConn,
    IpHash,
    HashArgument,
    HashUri,
    HashConsistent,
    LeastTime { by: &'static str, inflight: bool },
}

impl Policy {
    pub(super) const ALL: [Policy; 6] = [
        Policy::RoundRobin,
        Policy::LeastConn,
        Policy::IpHash,
        Policy::HashArgument,
        Policy::HashUri,
        Policy::HashConsistent,
    ];

    pub(super) fn nginx(self) -> String {
        let line = match self {
            Policy::RoundRobin => "",
            Policy::LeastConn => "least_conn;",
            Policy::IpHash => "ip_hash;",
            Policy::HashArgument => "hash $arg_k;",
            Policy::HashUri => "hash $request_uri;",
            Policy::HashConsistent => "hash $arg_k consistent;",
            Policy::LeastTime { by, inflight } => {
                let inflight = if inflight { " inflight" } else { "" };
                return format!("least_time {by}{inflight};");
            }
        };
        line.to_owned()
    }

    pub(super) fn waypost(self) -> String {
        let policy = match self {
            Policy::RoundRobin => "\"round_robin\"",
            Policy::LeastConn => "\"least_conn\"",
            Policy::IpHash => "\"ip_hash\"",
            Policy::HashArgument => "{ plugin = \"hash\", key = \"$arg_k\" }",
            Policy::HashUri => "{ plugin = \"hash\", key = \"$request_uri\" }",
            Policy::HashConsistent => "{ plugin = \"hash\", key = \"$arg_k\", consistent = true }",
            Policy::LeastTime { by, inflight } => {
                return format!(
                    "{{ plugin = \"least_time\", by = \"{by}\", inflight = {inflight} }}"
                );
            }
        };
        policy.to_owned()
    }

    /// All others are hashes, with which nginx refuses `backup`.
    pub(super) fn takes_turns(self) -> bool {
        matches!(
            self,
            Policy::RoundRobin | Policy::LeastConn | Policy::LeastTime { .. }
        )
    }
}

/// One of a group's servers.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) address: String,
    pub(super) weight: u32,
    pub(super) max_fails: u32,
    pub(super) max_conns: u32,
    pub(super) down: bool,
    pub(super) backup: bool,
}

/// One upstream, as both proxies get it.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) policy: Policy,
    pub(super) members: Vec<Member>,
    /// Seconds.
    pub(super) fail_timeout: u32,
    pub(super) next: Vec<&'static str>,
    pub(super) tries: u32,
}

/// What shall vary beyond weights, order and `down`.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Variety {
    pub(super) failures: bool,
    pub(super) max_conns: bool,
    pub(super) fail_timeout: u32,
}

pub(super) const HEALTHY: Variety = Variety {
    failures: false,
    max_conns: false,
    fail_timeout: 1000,
};

impl Group {
    pub(super) fn random(
        policy: Policy,
        addresses: &[String],
        variety: Variety,
        rng: &mut Rng,
    ) -> Group {
        let mut addresses = addresses.to_vec();
        rng.shuffle(&mut addresses);
        addresses.truncate(rng.usize(2..=addresses.len()));
        let mut members: Vec<Member> = addresses
            .into_iter()
            .map(|address| Member {
                address,
                weight: if rng.bool() { 1 } else { rng.u32(1..=7) },
                max_fails: if variety.failures { rng.u32(0..=3) } else { 1 },
                max_conns: if variety.max_conns && rng.bool() {
                    rng.u32(1..=3)
                } else {
                    0
                },
                down: rng.u8(0..7) == 0,
                backup: policy.takes_turns() && rng.u8(0..4) == 0,
            })
            .collect();
        // nginx wants a primary; one that is up keeps the group interesting.
        (members[0].down, members[0].backup) = (false, false);
        let all = [
            "error",
            "timeout",
            "invalid_header",
            "http_500",
            "http_503",
            "http_404",
            "http_429",
            "non_idempotent",
        ];
        let next = match variety.failures && rng.u8(0..4) > 0 {
            true => all.into_iter().filter(|_| rng.bool()).collect(),
            false => vec!["error", "timeout"],
        };
        let next = if next.is_empty() {
            vec!["http_503"]
        } else {
            next
        };
        let tries = if variety.failures && rng.u8(0..3) == 0 {
            rng.u32(1..=4)
        } else {
            0
        };
        Group {
            policy,
            members,
            fail_timeout: variety.fail_timeout,
            next,
            tries,
        }
    }

    pub(super) fn nginx(&self, name: &str) -> (String, String) {
        let mut upstream = format!("upstream {name} {{\n    {}\n", self.policy.nginx());
        for m in &self.members {
            let (down, backup) = (
                if m.down { " down" } else { "" },
                if m.backup { " backup" } else { "" },
            );
            let _ = writeln!(
                upstream,
                "    server {} weight={} max_fails={} fail_timeout={}s max_conns={}{down}{backup};",
                m.address, m.weight, m.max_fails, self.fail_timeout, m.max_conns
            );
        }
        upstream.push_str("}\n");
        let location = format!(
            "location /{name}/ {{ proxy_pass http://{name}; proxy_next_upstream {}; proxy_next_upstream_tries {};\n\
             proxy_set_header Host $host; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             add_header X-Upstream $upstream_addr always; add_header X-Upstream-Status $upstream_status always; }}\n",
            self.next.join(" "),
            self.tries
        );
        (upstream, location)
    }

    pub(super) fn waypost(&self, name: &str) -> String {
        let mut text = format!(
            "[upstream.{name}]\npolicy = {}\nservers = [\n",
            self.policy.waypost()
        );
        for m in &self.members {
            let _ = writeln!(
                text,
                "  {{ address = \"{}\", weight = {}, max_fails = {}, fail_timeout = \"{}s\", max_conns = {}, down = {}, backup = {} }},",
                m.address, m.weight, m.max_fails, self.fail_timeout, m.max_conns, m.down, m.backup
            );
        }
        // nginx 1.22 opens a connection per attempt unless told otherwise; a dead kept one would
        // give its try back.
        let _ = writeln!(
            text,
            "]\nkeepalive = 0\nnext_upstream = {:?}\nnext_upstream_tries = {}",
            self.next, self.tries
        );
        let _ = writeln!(text, "[[route]]\npath = \"/{name}/\"\nproxy = \"{name}\"");
        text.push_str(
            "response_headers = { set = { X-Upstream = \"$upstream_addr\", X-Upstream-Status = \"$upstream_status\" } }\n",
        );
        text
    }
}

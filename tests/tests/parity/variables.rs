//! Variables of one's own beside a real nginx: `map`, `geo`, `split_clients` and captures, made at
//! random, have the same value for thousands of texts.

use std::fmt::Write;
use std::net::Ipv4Addr;

use fastrand::Rng;
use waypost_tests::{Client, Nginx, nginx, proxy};

use super::seed;

/// Variables `v0`, `v1`... of both proxies, and what each request asks them.
struct Generated {
    nginx: String,
    waypost: String,
    count: usize,
}

const LABELS: [&str; 7] = ["a", "b", "www", "example", "Com", "x1", "t-t"];

/// A name of a few labels, some in upper case.
fn name(rng: &mut Rng) -> String {
    let labels: Vec<String> = (0..rng.usize(1..5))
        .map(|_| {
            let label = LABELS[rng.usize(0..LABELS.len())].to_owned();
            match rng.u8(0..4) {
                0 => label.to_ascii_uppercase(),
                _ => label,
            }
        })
        .collect();
    labels.join(".")
}

const REGEXES: [&str; 10] = [
    "^a",
    "b$",
    "(a)\\.(b)?",
    "(?<first>[^.]+)\\.(?<rest>.*)",
    "^$",
    "x[0-9]",
    "\\w-\\w",
    "^(w{1,3}|a+)\\b",
    "[A-Z](.)",
    "\\.com",
];
const VALUES: [&str; 3] = ["v$arg_k", "[$http_host]", ""];

impl Generated {
    /// The text of each is `$arg_k`, or `$arg_k` and another argument.
    fn map(&mut self, rng: &mut Rng) {
        let number = self.count;
        self.count += 1;
        let from = ["$arg_k", "$arg_k$arg_l", "${arg_l}.$arg_k"][rng.usize(0..3)];
        let (mut nginx, mut waypost) = (String::new(), String::new());
        let hostnames = rng.bool();
        let mut known = std::collections::HashSet::new();
        for entry in 0..rng.usize(0..12) {
            let value = format!("{number}.{entry}{}", VALUES[rng.usize(0..VALUES.len())]);
            if rng.u8(0..3) == 0 {
                let any_case = ["", "*"][rng.usize(0..2)];
                let regex = REGEXES[rng.usize(0..REGEXES.len())];
                if !known.insert(format!("~{any_case}{regex}~")) {
                    continue;
                }
                let captures = match regex {
                    "(a)\\.(b)?" => "/$1/$2",
                    "(?<first>[^.]+)\\.(?<rest>.*)" if any_case.is_empty() => "/$first$2",
                    _ => "",
                };
                let _ = writeln!(nginx, "\"~{any_case}{regex}\" \"{value}{captures}\";");
                let _ = writeln!(waypost, "'~{any_case}{regex}' = \"{value}{captures}\"");
                continue;
            }
            let name = name(rng);
            let lower = name.to_ascii_lowercase();
            let (key, taken) = match rng.u8(0..4) {
                0 if hostnames => (format!("*.{name}"), vec![format!("*{lower}")]),
                1 if hostnames => (format!(".{name}"), vec![lower.clone(), format!("*{lower}")]),
                2 if hostnames => (format!("{name}.*"), vec![format!("{lower}*")]),
                _ => (name, vec![lower.clone()]),
            };
            if taken.iter().any(|key| known.contains(key)) {
                continue;
            }
            known.extend(taken);
            let _ = writeln!(nginx, "\"{key}\" \"{value}\";");
            let _ = writeln!(waypost, "\"{key}\" = \"{value}\"");
        }
        let default = ["d", ""][rng.usize(0..2)];
        // Waypost takes such keys as names wherever they are, and the rest of what `hostnames`
        // says where there is one.
        let has_names = known
            .iter()
            .any(|key| key.starts_with('*') || key.ends_with('*'));
        let hostnames = if has_names { "hostnames;" } else { "" };
        let _ = writeln!(
            self.nginx,
            "map \"{from}\" $v{number} {{ {hostnames} default \"{default}\";\n{nginx}}}"
        );
        let _ = writeln!(
            self.waypost,
            "[variable.v{number}]\nfrom = \"{from}\"\ndefault = \"{default}\"\n\
             [variable.v{number}.map]\n{waypost}"
        );
    }

    /// The address is `$arg_ip`, or the client's.
    fn geo(&mut self, rng: &mut Rng) {
        let number = self.count;
        self.count += 1;
        let (mut nginx, mut waypost) = (String::new(), String::new());
        let mut known = std::collections::HashSet::new();
        for entry in 0..rng.usize(0..20) {
            let length = [8, 9, 15, 16, 20, 24, 28, 31, 32][rng.usize(0..9)];
            let address = Ipv4Addr::from(rng.u32(..) & 0x0003_0f0f | 10 << 24);
            let network = ipnet(address, length);
            if known.insert(network.clone()) {
                let _ = writeln!(nginx, "{network} {number}.{entry};");
                let _ = writeln!(waypost, "\"{network}\" = \"{number}.{entry}\"");
            }
        }
        let (of_nginx, of_waypost) = match rng.bool() {
            true => ("$arg_ip ", "from = \"$arg_ip\"\n"),
            false => ("", ""),
        };
        let _ = writeln!(
            self.nginx,
            "geo {of_nginx}$v{number} {{ default world;\n{nginx}}}"
        );
        let _ = writeln!(
            self.waypost,
            "[variable.v{number}]\n{of_waypost}default = \"world\"\n\
             [variable.v{number}.networks]\n{waypost}"
        );
    }

    fn split(&mut self, rng: &mut Rng) {
        let number = self.count;
        self.count += 1;
        let (mut nginx, mut waypost) = (String::new(), String::new());
        let mut left = 10_000;
        for part in 0..rng.usize(1..6) {
            let share = rng.u32(1..5000).min(left);
            if share == 0 {
                break;
            }
            left -= share;
            let share = format!("{}.{:02}%", share / 100, share % 100);
            let _ = writeln!(nginx, "{share} p{part};");
            let _ = writeln!(waypost, "p{part} = \"{share}\"");
        }
        let _ = writeln!(
            self.nginx,
            "split_clients \"${{arg_k}}AAA\" $v{number} {{ {nginx} * \"rest\"; }}"
        );
        let _ = writeln!(
            self.waypost,
            "[variable.v{number}]\nfrom = \"${{arg_k}}AAA\"\ndefault = \"rest\"\n\
             [variable.v{number}.split]\n{waypost}"
        );
    }

    /// The values of all, as text.
    fn all(&self) -> String {
        (0..self.count)
            .map(|number| format!("{number}=$v{number}|"))
            .collect()
    }
}

fn ipnet(address: Ipv4Addr, length: u32) -> String {
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    format!("{}/{length}", Ipv4Addr::from(address.to_bits() & mask))
}

/// A text that the keys of maps were made for, or nearly.
fn text(rng: &mut Rng) -> String {
    match rng.u8(0..6) {
        0 => String::new(),
        1 => format!("{}.", name(rng)),
        2 => format!(".{}", name(rng)),
        3 => (0..rng.usize(1..40)).map(|_| rng.alphanumeric()).collect(),
        _ => name(rng),
    }
}

#[tokio::test]
async fn variables_of_ones_own_have_the_values_that_nginx_gives_them() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    println!("WAYPOST_PARITY_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    for _ in 0..4 {
        let mut generated = Generated {
            nginx: "variables_hash_max_size 4096;\n".to_owned(),
            waypost: String::new(),
            count: 0,
        };
        for _ in 0..24 {
            generated.map(&mut rng);
        }
        for _ in 0..8 {
            generated.geo(&mut rng);
            generated.split(&mut rng);
        }
        let body = generated.all();
        let server = format!(
            "set_real_ip_from 127.0.0.0/8; real_ip_header X-Real-IP;\n\
             location / {{ return 200 \"{body}\"; }}\n\
             location ~ ^/c/(?<area>[^/]*)/(.*)$ {{ return 200 \"$1,$2,$area\"; }}"
        );
        let file = format!(
            "[server]\nworkers = 1\naccess_log = false\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\nkeepalive_requests = 1000000\n\
             [[route]]\nreturn = {{ body = \"{body}\" }}\n\
             [[route]]\npath = '~ ^/c/(?<area>[^/]*)/(.*)$'\nreturn = {{ body = \"$1,$2,$area\" }}\n{}",
            generated.waypost
        );
        let http = format!("keepalive_requests 1000000;\n{}", generated.nginx);
        let nginx = Nginx::start(&http, &server).await;
        let waypost = proxy::run(&file, &[]).await;
        let mut of_nginx = Client::connect(nginx.address()).await;
        let mut of_waypost = Client::connect(waypost.address()).await;
        for number in 0..800 {
            let path = match number % 10 {
                0 => format!("/c/{}/{}", text(&mut rng), text(&mut rng)),
                _ => "/".to_owned(),
            };
            let ip = Ipv4Addr::from(rng.u32(..) & 0x0003_0f0f | 10 << 24);
            let request = format!(
                "GET {path}?k={}&l={}&ip={ip} HTTP/1.1\r\nHost: {}\r\nX-Real-IP: {ip}\r\n\r\n",
                text(&mut rng),
                text(&mut rng),
                name(&mut rng),
            );
            of_nginx.send(&request).await;
            of_waypost.send(&request).await;
            let (expected, got) = (of_nginx.response().await, of_waypost.response().await);
            assert_eq!(
                (got.status, got.text().split('|').collect::<Vec<_>>()),
                (expected.status, expected.text().split('|').collect()),
                "waypost (left) differs from nginx (right)\nWAYPOST_PARITY_SEED={seed}\n{request}\n{}\n{}",
                generated.nginx,
                generated.waypost,
            );
        }
    }
}

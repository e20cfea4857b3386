//! `access` and `basic_auth` beside a real nginx: the same rules and users, the same clients, the
//! same answers.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;
use waypost_tests::{Client, Nginx, Proxy, nginx, proxy};

use super::seed;

const LOCATIONS: usize = 40;
const REQUESTS: usize = 1500;

/// `NAME:HASH` as nginx and Waypost both know them; all passwords are "secret".
const USERS: &str = "# users\n\
    apr1:$apr1$xxxxxxxx$/mULyOsdWlXlIt5U99q7h1\n\
    sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:Sha of sales\n\
    \n\
    ssha:{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0\r\n\
    plain:{PLAIN}secret\n\
    nocolon\n\
    plain:{PLAIN}second\n\
    sha256:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n\
    bcrypt:$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
const NAMES: [&str; 9] = [
    "apr1", "sha", "ssha", "plain", "sha256", "bcrypt", "nocolon", "# users", "",
];

/// What a place says.
struct Location {
    rules: Vec<String>,
    any: bool,
    password: bool,
}

impl Location {
    fn random(rng: &mut Rng) -> Location {
        let rule = |rng: &mut Rng| {
            let decision = if rng.bool() { "allow" } else { "deny" };
            let clients = match rng.u8(0..6) {
                0 => "all".to_owned(),
                1 => address(rng),
                2 => format!("10.0.0.{}/{}", rng.u8(0..16), rng.u8(24..=32)),
                3 => format!("2001:db8::{:x}/{}", rng.u8(0..16), rng.u8(112..=128)),
                4 => "unix:".to_owned(),
                _ => ["0.0.0.0/0", "::/0", "10.0.0.0/8"][rng.usize(0..3)].to_owned(),
            };
            format!("{decision} {clients}")
        };
        let count = rng.usize(1..6);
        Location {
            rules: (0..count).map(|_| rule(rng)).collect(),
            any: rng.bool(),
            password: rng.bool(),
        }
    }

    fn nginx(&self, number: usize, users: &str) -> String {
        // The content comes from a file that is not there: `return` would not be guarded.
        let mut lines = format!("location /{number}/ {{\n");
        for rule in &self.rules {
            let _ = writeln!(lines, "{rule};");
        }
        if self.any {
            lines.push_str("satisfy any;\n");
        }
        if self.password {
            let _ = writeln!(
                lines,
                "auth_basic \"place {number}\";\nauth_basic_user_file {users};"
            );
        }
        lines + "}\n"
    }

    fn waypost(&self, number: usize) -> String {
        let satisfy = if self.any && self.password {
            "any"
        } else {
            "all"
        };
        let mut hooks = format!(
            "{{ plugin = \"access\", rules = {:?}, satisfy = \"{satisfy}\" }}",
            self.rules
        );
        if self.password {
            let _ = write!(
                hooks,
                ", {{ use = \"users\", realm = \"place {number}\", satisfy = \"{satisfy}\" }}"
            );
        }
        format!(
            "[[route]]\npath = \"/{number}/\"\nhooks = [{hooks}]\nreturn = {{ status = 404 }}\n"
        )
    }
}

/// Of few clients, so that rules are about them.
fn address(rng: &mut Rng) -> String {
    match rng.bool() {
        true => format!("10.0.0.{}", rng.u8(0..16)),
        false => format!("2001:db8::{:x}", rng.u8(0..16)),
    }
}

/// What a client sends of its own.
fn authorization(rng: &mut Rng) -> String {
    let name = NAMES[rng.usize(0..NAMES.len())];
    let password = ["secret", "secret", "second", "Secret", "", "se:cret"][rng.usize(0..6)];
    let encoded = BASE64_STANDARD.encode(format!("{name}:{password}"));
    let value = match rng.u8(0..12) {
        0 | 1 => return String::new(),
        2 => "Basic".to_owned(),
        3 => format!("bAsIc    {encoded}"),
        4 => format!("Basic {}", encoded.trim_end_matches('=')),
        5 => format!("Bearer {encoded}"),
        6 => format!("Basic {}", BASE64_STANDARD.encode(name)),
        7 => format!("Basic {}*", &encoded[..encoded.len().min(5)]),
        _ => format!("Basic {encoded}"),
    };
    format!("Authorization: {value}\r\n")
}

#[tokio::test]
async fn rules_and_passwords_decide_as_in_nginx() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    eprintln!("WAYPOST_PARITY_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let locations: Vec<_> = (0..LOCATIONS).map(|_| Location::random(&mut rng)).collect();
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let users = directory.path().join("htpasswd");
    std::fs::write(&users, USERS).expect("the directory is ours");
    let users = users.to_str().expect("its name is text");

    let lines = locations.iter().enumerate();
    let of_nginx: String = lines
        .map(|(number, each)| each.nginx(number, users))
        .collect();
    let realip = "set_real_ip_from 127.0.0.0/8;\nreal_ip_header X-Forwarded-For;\n\
                  keepalive_requests 1000000;\n";
    let nginx = Nginx::start(realip, &of_nginx).await;

    let lines = locations.iter().enumerate();
    let of_waypost: String = lines.map(|(number, each)| each.waypost(number)).collect();
    let waypost = proxy::run(
        &format!(
            "[server]\nworkers = 2\naccess_log = false\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\nkeepalive_requests = 1000000\n\
             [hook.users]\nplugin = \"basic_auth\"\nrealm = \"users\"\nusers_file = {users:?}\n\
             {of_waypost}"
        ),
        &[],
    )
    .await;
    compare(&mut rng, &nginx, &waypost).await;
}

async fn compare(rng: &mut Rng, nginx: &Nginx, waypost: &Proxy) {
    let mut sides = [
        Client::connect(nginx.address()).await,
        Client::connect(waypost.address()).await,
    ];
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..REQUESTS {
        let request = format!(
            "GET /{}/ HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {}\r\n{}\r\n",
            rng.usize(0..LOCATIONS),
            address(rng),
            authorization(rng)
        );
        let mut answers = Vec::new();
        for side in &mut sides {
            side.send(&request).await;
            let response = side.response().await;
            let challenge = response.header("WWW-Authenticate").to_owned();
            answers.push((response.status, challenge));
        }
        assert_eq!(answers[0], answers[1], "{request}");
        seen.insert(answers[0].0);
    }
    assert!(
        seen.into_iter().eq([401, 403, 404]),
        "not all outcomes were seen"
    );
}

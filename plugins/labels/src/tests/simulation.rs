//! What the filter is good for: a new version that only those see who want it, and tenants that
//! never meet on a server, whatever happens to the servers.

use round_robin::RoundRobin;
use waypost_sdk::Draws;
use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::Labels;

const TENANTS: usize = 5;
const SERVERS_EACH: usize = 3;
const REQUESTS: usize = 20_000;

fn servers() -> Upstream<RoundRobin> {
    let servers = (0..TENANTS * SERVERS_EACH).map(|number| {
        let tenant = format!("t{}", number % TENANTS);
        endpoint(&format!("10.0.0.{number}:80")).label("tenant", &tenant)
    });
    Upstream::<RoundRobin>::new("{}", servers).unwrap()
}

/// How many requests reached a server of another tenant, and how many were refused, while servers
/// come and go.
fn simulate(mut upstream: Upstream<RoundRobin>) -> (usize, usize) {
    let mut draws = Draws::from_seed(5);
    let (mut astray, mut refused) = (0, 0);
    for _ in 0..REQUESTS {
        let server = draws.below((TENANTS * SERVERS_EACH) as u64) as usize;
        match draws.below(2) {
            0 => upstream.rotate_out(server),
            _ => upstream.rotate_in(server),
        }
        let tenant = draws.below(TENANTS as u64) as usize;
        let request = Request::get("/").header("X-Tenant", &format!("t{tenant}"));
        match upstream.exchange(request).pick() {
            Some(server) => astray += usize::from(server % TENANTS != tenant),
            None => refused += 1,
        }
    }
    (astray, refused)
}

#[test]
fn no_request_reaches_another_tenants_server_though_its_own_are_out() {
    let settings = r#"{"match": {"tenant": "$http_x_tenant"}}"#;
    let (astray, refused) = simulate(servers().filter::<Labels>(settings));
    assert_eq!(astray, 0);
    // All three are out for an eighth of the time.
    let eighth = REQUESTS / 8;
    assert!(
        (eighth * 3 / 4..eighth * 5 / 4).contains(&refused),
        "{refused}"
    );

    let (astray, _) = simulate(servers());
    assert!(astray > REQUESTS / 2, "turns know no tenants: {astray}");
}

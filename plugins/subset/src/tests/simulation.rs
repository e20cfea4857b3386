//! What the policy is good for: a tenant whose requests break the server that gets them.

use round_robin::RoundRobin;
use waypost_sdk::Policy;
use waypost_sdk::testing::Upstream;

use super::{SETTINGS, Subset, request};

const SERVERS: usize = 20;
const TENANTS: usize = 300;
const ROUNDS: usize = 20;
/// The tenant whose requests break servers. They stay broken, and are out of rotation.
const POISONOUS: usize = 0;
/// Attempts of an exchange: a request that broke a server is tried again elsewhere.
const TRIES: usize = 3;

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    broken_servers: usize,
    /// The other tenants that were refused in the last round, and all their requests of the run.
    broken_tenants: usize,
    failed: f64,
}

fn simulate<P: Policy>(settings: &str) -> Outcome {
    let mut upstream = Upstream::<P>::of(settings, SERVERS);
    let mut broken = [false; SERVERS];
    let (mut failed, mut in_last_round) = (0, 0);
    for round in 0..ROUNDS {
        for tenant in 0..TENANTS {
            if tenant == POISONOUS {
                let mut exchange = upstream.exchange(request(tenant));
                let tried: Vec<_> = (0..TRIES).filter_map(|_| exchange.pick()).collect();
                for server in tried {
                    broken[server] = true;
                    upstream.rotate_out(server);
                }
            } else if upstream.exchange(request(tenant)).pick().is_none() {
                failed += 1;
                in_last_round += usize::from(round == ROUNDS - 1);
            }
        }
    }
    let requests = ROUNDS * (TENANTS - 1);
    Outcome {
        broken_servers: broken.iter().filter(|broken| **broken).count(),
        broken_tenants: in_last_round,
        failed: f64::from(failed) / requests as f64,
    }
}

#[test]
fn a_poisonous_tenant_breaks_its_own_servers_and_no_other_tenant() {
    let sharded = simulate::<Subset>(SETTINGS);
    let by_turns = simulate::<RoundRobin>("{}");

    assert_eq!(sharded.broken_servers, 3, "{sharded:?}");
    // 1,140 different subsets for 300 tenants: seldom one has the same.
    assert!(sharded.broken_tenants <= 2, "{sharded:?}");

    assert_eq!(by_turns.broken_servers, SERVERS, "{by_turns:?}");
    assert_eq!(by_turns.broken_tenants, TENANTS - 1, "{by_turns:?}");
    assert!(
        by_turns.failed > 50.0 * sharded.failed,
        "{by_turns:?} against {sharded:?}"
    );
}

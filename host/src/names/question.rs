//! One question about a name, and what name servers, or the hosts file, say.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::known::{Missing, Outcome, Part};
use super::name_servers::{
    Absent, Asker, HOST_NOT_FOUND, NameServers, NoAnswer, Records, TIMED_OUT,
};
use super::resolution::{Located, OfService};
use super::system::candidates;
use crate::config::model::{Address, Lookup, ServerName};

/// Servers of one service whose addresses are asked for.
const TARGETS: usize = 128;

/// Addresses of one host that are looked at.
const ADDRESSES: usize = 2048;

/// Aliases that are followed to find out whether they end: more than the library follows.
const ALIASES: usize = 16;

/// What holds for what needs no name server; bounds make it shorter.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// Whom a question about a name is asked of, and in whose places.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) servers: Rc<NameServers>,
    pub(super) asker: Asker,
}

/// Addresses of one host.
struct Host {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    missing: Option<(Part, String)>,
}

/// What a name stood for, of those that it may stand for.
struct Meant<T> {
    name: String,
    answer: T,
}

impl Question {
    /// Asks about a name; `meant`: which of the names that it may stand for had the last answer. What
    /// comes behind that is not asked about, or a name server that fails for a moment would lead
    /// requests to another host; it counts once there is nothing left that was meant.
    pub(super) async fn ask(&self, name: &ServerName, meant: Option<&str>) -> Outcome {
        match &name.lookup {
            Lookup::Addresses(port) => {
                if let Some(addresses) = self.of_hosts_file(&name.host) {
                    return Outcome::Found {
                        located: located(&addresses, *port, None),
                        ttl: FOR_EVER,
                        missing: None,
                        meant: name.host.clone(),
                    };
                }
                let ask = async |name: String| self.addresses(&name).await;
                match self.first_known(&name.host, meant, ask).await {
                    Ok(Meant { name, answer }) => Outcome::Found {
                        located: located(&answer.addresses, *port, None),
                        ttl: answer.ttl,
                        missing: answer.missing.map(|(part, why)| Missing { part, why }),
                        meant: name,
                    },
                    Err(NoAnswer::Absent(_)) => Outcome::Absent(HOST_NOT_FOUND.to_owned()),
                    Err(NoAnswer::Failed(why)) => Outcome::Failed(why),
                }
            }
            Lookup::Service(_) => self.service(&name.question(), meant).await,
        }
    }

    /// The servers of a service (RFC 2782): those with the lowest priority number, and the others
    /// as backups, as nginx has it.
    async fn service(&self, question: &str, meant: Option<&str>) -> Outcome {
        let ask = async |name: String| self.records(&name, RecordType::SRV).await;
        let (records, meant) = match self.first_known(question, meant, ask).await {
            Ok(Meant { name, answer }) => (answer, name),
            Err(NoAnswer::Absent(_)) => return Outcome::Absent(HOST_NOT_FOUND.to_owned()),
            Err(NoAnswer::Failed(why)) => return Outcome::Failed(why),
        };
        let services = records.data.iter().filter_map(|data| match data {
            // "A Target of "." means that the service is decidedly not available" (RFC 2782).
            RData::SRV(service) if !service.target.is_root() => Some(service.clone()),
            _ => None,
        });
        let mut services: Vec<_> = services.collect();
        // Name servers turn the order, and with it what is too much.
        services.sort_by_key(|service| (service.priority, service.target.clone(), service.port));
        let too_many = services.len() > TARGETS;
        services.truncate(TARGETS);
        let Some(first) = services.first().map(|service| service.priority) else {
            return Outcome::Absent(HOST_NOT_FOUND.to_owned());
        };
        let mut asked = JoinSet::new();
        for (number, service) in services.iter().enumerate() {
            let (question, target) = (self.clone(), service.target.to_ascii());
            asked.spawn_local(async move { (number, question.host(&target).await) });
        }
        let mut hosts: Vec<Option<Result<Host, NoAnswer>>> = Vec::new();
        hosts.resize_with(services.len(), || None);
        let mut until = None;
        while let Some(Some(answer)) = rest(until, asked.join_next()).await {
            let Ok((number, host)) = answer else { continue };
            if host.is_ok() {
                until = Some(Instant::now() + self.servers.timeout);
            }
            hosts[number] = Some(host);
        }
        drop(asked);
        let mut found = Vec::new();
        let (mut ttl, mut lost) = (records.ttl, Vec::new());
        let mut reason = too_many.then(|| format!("only {TARGETS} servers of it are used"));
        for (service, host) in services.iter().zip(hosts) {
            let target = service.target.to_ascii();
            let target = target.trim_end_matches('.');
            let of_service = OfService {
                target: target.into(),
                weight: service.weight.max(1),
                backup: service.priority != first,
            };
            match host {
                Some(Ok(host)) => {
                    ttl = ttl.min(host.ttl);
                    found.extend(located(&host.addresses, service.port, Some(of_service)));
                    if let Some((_, why)) = host.missing {
                        lost.push(target.into());
                        reason = Some(format!("{target}: {why}"));
                    }
                }
                // One that the service has is not gone because its host cannot be found.
                Some(Err(no_answer)) => {
                    let why = match no_answer {
                        NoAnswer::Absent(_) => HOST_NOT_FOUND.to_owned(),
                        NoAnswer::Failed(why) => why,
                    };
                    lost.push(target.into());
                    reason = Some(format!("{target}: {why}"));
                }
                None => {
                    lost.push(target.into());
                    reason = Some(format!("{target}: {TIMED_OUT}"));
                }
            }
        }
        match reason {
            Some(why) if found.is_empty() => Outcome::Failed(why),
            reason => Outcome::Found {
                located: found,
                ttl,
                meant,
                missing: reason.map(|why| Missing {
                    part: Part::Targets(lost),
                    why,
                }),
            },
        }
    }

    /// The addresses of a host that a service names.
    async fn host(&self, host: &str) -> Result<Host, NoAnswer> {
        if let Some(addresses) = self.of_hosts_file(host) {
            return Ok(Host {
                addresses,
                ttl: FOR_EVER,
                missing: None,
            });
        }
        self.addresses(host).await
    }

    /// The answer about the first of the names that one may stand for that has any. See
    /// [`ask`](NameServers::ask).
    async fn first_known<T>(
        &self,
        name: &str,
        meant: Option<&str>,
        ask: impl AsyncFn(String) -> Result<T, NoAnswer>,
    ) -> Result<Meant<T>, NoAnswer> {
        let (system, mut failed) = (&self.servers.system, None);
        let mut absent = Absent::Name;
        for name in candidates(name, &system.search, system.ndots) {
            match ask(name.clone()).await {
                Ok(answer) => return Ok(Meant { name, answer }),
                Err(no_answer) if meant == Some(&name) => return Err(no_answer),
                Err(NoAnswer::Absent(what)) => absent = what,
                Err(NoAnswer::Failed(why)) => failed = failed.or(Some(why)),
            }
        }
        Err(match failed {
            Some(why) => NoAnswer::Failed(why),
            None => NoAnswer::Absent(absent),
        })
    }

    /// The addresses of one name in full.
    async fn addresses(&self, name: &str) -> Result<Host, NoAnswer> {
        let mut ipv4 = pin!(self.records(name, RecordType::A));
        let mut ipv6 = pin!(async {
            match self.servers.ipv6 {
                true => Some(self.records(name, RecordType::AAAA).await),
                false => None,
            }
        });
        // A second attempt has its time.
        let second = self.servers.timeout / 2;
        let until = |is_part: bool| is_part.then(|| Instant::now() + second);
        let timed_out = || Err(NoAnswer::timed_out());
        let (ipv4, ipv6) = tokio::select! {
            first = &mut ipv4 => {
                let other = rest(until(first.is_ok()), ipv6).await;
                (first, other.unwrap_or_else(|| Some(timed_out())))
            }
            first = &mut ipv6 => {
                let other = rest(until(matches!(first, Some(Ok(_)))), ipv4).await;
                (other.unwrap_or_else(timed_out), first)
            }
        };
        let (mut addresses, mut ttl) = (Vec::new(), FOR_EVER);
        let (mut missing, mut absent) = (None, Absent::Name);
        for (part, answer) in [(Part::Ipv4, Some(ipv4)), (Part::Ipv6, ipv6)] {
            match answer {
                Some(Ok(records)) => {
                    ttl = ttl.min(records.ttl);
                    let found = records.data.iter().filter_map(RData::ip_addr);
                    addresses.extend(found.take(ADDRESSES));
                }
                Some(Err(NoAnswer::Failed(why))) => missing = Some((part, why)),
                Some(Err(NoAnswer::Absent(Absent::Records))) => absent = Absent::Records,
                Some(Err(NoAnswer::Absent(Absent::Name))) | None => {}
            }
        }
        match (addresses.is_empty(), missing) {
            (false, missing) => Ok(Host {
                addresses,
                ttl,
                missing,
            }),
            (true, Some((_, why))) => Err(NoAnswer::Failed(why)),
            (true, None) if absent == Absent::Records => match self.endless_alias(name).await {
                Some(why) => Err(NoAnswer::Failed(why)),
                None => Err(NoAnswer::Absent(absent)),
            },
            (true, None) => Err(NoAnswer::Absent(absent)),
        }
    }

    /// Why the aliases of a name without addresses lead nowhere, if it has any that do not end: then
    /// nothing is said of its addresses. The library tells such a name as one without any.
    async fn endless_alias(&self, name: &str) -> Option<String> {
        let (mut at, mut seen) = (name.to_owned(), HashSet::new());
        let follow = async {
            while seen.len() < ALIASES {
                let Ok(records) = self.records(&at, RecordType::CNAME).await else {
                    return None;
                };
                let target = records.data.iter().find_map(|data| match data {
                    RData::CNAME(CNAME(target)) => Some(target.to_lowercase().to_ascii()),
                    _ => None,
                })?;
                if !seen.insert(target.clone()) {
                    return Some(format!("{target} is an alias of itself"));
                }
                at = target;
            }
            Some(format!("more than {ALIASES} aliases"))
        };
        timeout(self.servers.timeout, follow).await.ok().flatten()
    }

    async fn records(&self, name: &str, kind: RecordType) -> Result<Records, NoAnswer> {
        let servers = &self.servers;
        servers.records(name, kind, &self.asker).await
    }

    /// What the hosts file says of a name as it is written: then nobody else is asked about it.
    fn of_hosts_file(&self, name: &str) -> Option<Vec<IpAddr>> {
        if !self.servers.hosts {
            return None;
        }
        let name = Name::from_ascii(name).ok()?;
        let of_kind = |kind| {
            let found = self
                .servers
                .system
                .hosts
                .lookup_static_host(&Query::query(name.clone(), kind));
            let records = found.as_ref().map_or(&[][..], |found| found.answers());
            records
                .iter()
                .filter_map(|record| record.data.ip_addr())
                .collect::<Vec<_>>()
        };
        let mut addresses = of_kind(RecordType::A);
        let ipv6 = of_kind(RecordType::AAAA);
        let is_there = !addresses.is_empty() || !ipv6.is_empty();
        if self.servers.ipv6 {
            addresses.extend(ipv6);
        }
        is_there.then_some(addresses)
    }
}

/// What is left of an answer; none if it does not come. `until`: where some of the answer is there,
/// requests wait for that.
async fn rest<T>(until: Option<Instant>, rest: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => timeout_at(until, rest).await.ok(),
        None => Some(rest.await),
    }
}

fn located(addresses: &[IpAddr], port: u16, service: Option<OfService>) -> Vec<Located> {
    let at = |ip: &IpAddr| Located {
        address: Address::Tcp(SocketAddr::new(*ip, port)),
        service: service.clone(),
    };
    addresses.iter().map(at).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::sync::Arc;

    use super::super::paces::Paces;
    use super::super::system::tests_system;
    use super::*;
    use crate::config::model::{Resolver, tests_resolver};
    use tokio::sync::watch;

    /// Nobody is asked: nobody would answer.
    #[tokio::test]
    async fn a_name_in_the_hosts_file_is_looked_for_nowhere_else() {
        let resolver = |ipv6| Resolver {
            ipv6,
            ..tests_resolver()
        };
        let resolv_conf = "nameserver 127.0.0.1\nsearch corp.test\n";
        let hosts = "10.0.0.4 api\nfd00::4 api\n10.0.0.5 api.corp.test\n";
        for (ipv6, expected) in [(true, 2), (false, 1)] {
            let system = Rc::new(tests_system(resolv_conf, hosts));
            let servers = Rc::new(NameServers::new(&resolver(ipv6), &system).unwrap());
            let name = ServerName {
                host: "api".to_owned(),
                lookup: Lookup::Addresses(8000),
                resolver: Arc::new(resolver(ipv6)),
            };
            let (_, by_pattern) = watch::channel(false);
            let paces = Rc::new(Paces::of_a_name());
            let asker = Asker { by_pattern, paces };
            let question = Question { servers, asker };
            let Outcome::Found { located, .. } = question.ask(&name, None).await else {
                panic!("it is there");
            };
            assert_eq!(located.len(), expected);
            assert_eq!(located[0].address.to_string(), "10.0.0.4:8000");
        }
    }
}

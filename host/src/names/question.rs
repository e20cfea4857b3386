//! One question about a name, and what name servers, or the hosts file, say.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hickory_resolver::Resolver as DnsResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup as Answers;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

use super::known::{Missing, Outcome, Part};
use super::resolution::{Located, OfService};
use super::runtime::EventLoop;
use super::system::{System, candidates};
use crate::config::model::{Address, Lookup, Resolver, ServerName};

/// Attempts within the time for an answer: datagrams get lost.
const ATTEMPTS: u32 = 3;

/// Servers of one service whose addresses are asked for.
const TARGETS: usize = 128;

/// Questions of one `resolver` under way at the same time: each needs a socket or two.
const AT_ONCE: usize = 64;

/// Names that requests have made by patterns and that are asked about at the same time. Each has two
/// questions, for IPv4 and IPv6: half of the room stays for all other names, whatever those do.
const BY_PATTERN: usize = AT_ONCE / 4;

/// Names without an answer so far, or the last time, that are asked about at the same time: those that
/// have one are not held up by a thousand that nobody answers for.
const UNANSWERED: usize = AT_ONCE * 3 / 8;

/// Addresses of one host that are looked at.
const ADDRESSES: usize = 2048;

/// What holds for what needs no name server; bounds make it shorter.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// The name servers of one `resolver`, as they are to be asked now.
pub(super) struct NameServers {
    dns: DnsResolver<EventLoop>,
    /// For the one question that is not given up before the time for an answer has passed.
    patient: DnsResolver<EventLoop>,
    /// Of each name server alone, where there are several.
    alone: Vec<DnsResolver<EventLoop>>,
    system: Rc<System>,
    /// The hosts file has a say.
    hosts: bool,
    ipv6: bool,
    /// For one question.
    timeout: Duration,
    /// For questions: those to name servers that are dead wait for no others.
    room: Semaphore,
    by_pattern: Semaphore,
    unanswered: Semaphore,
}

/// What one question about one kind of records has brought.
struct Records {
    data: Vec<RData>,
    ttl: Duration,
}

/// Why there are no records.
enum NoAnswer {
    Absent(String),
    Failed(String),
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

impl NameServers {
    /// # Errors
    /// What the library has against it.
    pub(super) fn new(resolver: &Resolver, system: &Rc<System>) -> Result<NameServers, String> {
        let own = !resolver.addresses.is_empty();
        let servers = match own {
            true => &resolver.addresses,
            false => &system.servers,
        };
        let servers = servers.iter().map(|address| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            server
        });
        let servers: Vec<_> = servers.collect();
        let dns = |servers: &[NameServerConfig], attempt, attempts| {
            let config = ResolverConfig::from_name_servers(servers.to_vec());
            let mut builder = DnsResolver::builder_with_config(config, EventLoop);
            let options = builder.options_mut();
            options.use_hosts_file = ResolveHosts::Never;
            options.timeout = attempt;
            options.attempts = attempts - 1;
            options.cache_size = 1;
            builder.build().map_err(|error| error.to_string())
        };
        let attempt = resolver.timeout / ATTEMPTS;
        let alone = match &servers[..] {
            [_] => Vec::new(),
            several => {
                let alone = several.iter().map(|server| {
                    let server = std::slice::from_ref(server);
                    dns(server, resolver.timeout, 1)
                });
                alone.collect::<Result<_, _>>()?
            }
        };
        let patient = dns(&servers, resolver.timeout - attempt, 1)?;
        let dns = dns(&servers, attempt, ATTEMPTS as usize)?;
        Ok(NameServers {
            dns,
            patient,
            alone,
            system: system.clone(),
            hosts: !own,
            ipv6: resolver.ipv6,
            timeout: resolver.timeout,
            room: Semaphore::new(AT_ONCE),
            by_pattern: Semaphore::new(BY_PATTERN),
            unanswered: Semaphore::new(UNANSWERED),
        })
    }

    /// Waits until one more name by a pattern may be asked about; for as long as it is kept.
    pub(super) async fn share_of_patterns(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.by_pattern.acquire().await.ok()
    }

    /// The same for one more name that was not answered for.
    pub(super) async fn share_of_unanswered(&self) -> Option<SemaphorePermit<'_>> {
        self.unanswered.acquire().await.ok()
    }

    /// Asks about a name; `meant`: which of the names that it may stand for had the last answer. What
    /// comes behind that is not asked about, or a name server that fails for a moment would lead
    /// requests to another host; it counts once there is nothing left that was meant.
    pub(super) async fn ask(self: &Rc<Self>, name: &ServerName, meant: Option<&str>) -> Outcome {
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
                    Err(NoAnswer::Absent(why)) => Outcome::Absent(why),
                    Err(NoAnswer::Failed(why)) => Outcome::Failed(why),
                }
            }
            Lookup::Service(_) => self.service(&name.question(), meant).await,
        }
    }

    /// The servers of a service (RFC 2782): those with the lowest priority number, and the others
    /// as backups, as nginx has it.
    async fn service(self: &Rc<Self>, question: &str, meant: Option<&str>) -> Outcome {
        let ask = async |name: String| self.records(&name, RecordType::SRV).await;
        let (records, meant) = match self.first_known(question, meant, ask).await {
            Ok(Meant { name, answer }) => (answer, name),
            Err(NoAnswer::Absent(why)) => return Outcome::Absent(why),
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
            let (servers, target) = (self.clone(), service.target.to_ascii());
            asked.spawn_local(async move { (number, servers.host(&target).await) });
        }
        let mut hosts: Vec<Option<Result<Host, NoAnswer>>> = Vec::new();
        hosts.resize_with(services.len(), || None);
        while let Some(answer) = asked.join_next().await {
            if let Ok((number, host)) = answer {
                hosts[number] = Some(host);
            }
        }
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
                Some(Err(NoAnswer::Absent(why) | NoAnswer::Failed(why))) => {
                    lost.push(target.into());
                    reason = Some(format!("{target}: {why}"));
                }
                None => lost.push(target.into()),
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
        let mut failed = None;
        for name in candidates(name, &self.system.search, self.system.ndots) {
            match ask(name.clone()).await {
                Ok(answer) => return Ok(Meant { name, answer }),
                Err(no_answer) if meant == Some(&name) => return Err(no_answer),
                Err(NoAnswer::Absent(_)) => {}
                Err(NoAnswer::Failed(why)) => failed = failed.or(Some(why)),
            }
        }
        Err(match failed {
            Some(why) => NoAnswer::Failed(why),
            None => NoAnswer::Absent(HOST_NOT_FOUND.to_owned()),
        })
    }

    /// The addresses of one name in full.
    async fn addresses(&self, name: &str) -> Result<Host, NoAnswer> {
        let ipv6 = async {
            match self.ipv6 {
                true => Some(self.records(name, RecordType::AAAA).await),
                false => None,
            }
        };
        let (ipv4, ipv6) = tokio::join!(self.records(name, RecordType::A), ipv6);
        let (mut addresses, mut ttl) = (Vec::new(), FOR_EVER);
        let mut missing = None;
        for (part, answer) in [(Part::Ipv4, Some(ipv4)), (Part::Ipv6, ipv6)] {
            match answer {
                Some(Ok(records)) => {
                    ttl = ttl.min(records.ttl);
                    let found = records.data.iter().filter_map(RData::ip_addr);
                    addresses.extend(found.take(ADDRESSES));
                }
                Some(Err(NoAnswer::Failed(why))) => missing = Some((part, why)),
                Some(Err(NoAnswer::Absent(_))) | None => {}
            }
        }
        match (addresses.is_empty(), missing) {
            (false, missing) => Ok(Host {
                addresses,
                ttl,
                missing,
            }),
            (true, Some((_, why))) => Err(NoAnswer::Failed(why)),
            (true, None) => Err(NoAnswer::Absent(HOST_NOT_FOUND.to_owned())),
        }
    }

    /// What the hosts file says of a name as it is written: then nobody else is asked about it.
    fn of_hosts_file(&self, name: &str) -> Option<Vec<IpAddr>> {
        if !self.hosts {
            return None;
        }
        let name = Name::from_ascii(name).ok()?;
        let of_kind = |kind| {
            let found = self
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
        if self.ipv6 {
            addresses.extend(ipv6);
        }
        is_there.then_some(addresses)
    }

    /// Asks in several attempts, since datagrams get lost. The library does not hear an answer to an
    /// attempt that it has given up. So another question begins with the second attempt, and is given up
    /// with the last one: it hears name servers that are slow.
    async fn lookup(&self, name: Name, kind: RecordType) -> Result<Answers, NetError> {
        let patient = async {
            tokio::time::sleep(self.timeout / ATTEMPTS).await;
            match self.patient.lookup(name.clone(), kind).await {
                Err(error) if !error.is_no_records_found() => std::future::pending().await,
                answer => answer,
            }
        };
        let answer = tokio::select! {
            answer = self.dns.lookup(name.clone(), kind) => answer,
            answer = patient => answer,
        };
        match answer {
            Err(NetError::Dns(DnsError::ResponseCode(_))) => match self.ask_each(&name, kind).await
            {
                Some(better) => Ok(better),
                None => answer,
            },
            answer => answer,
        }
    }

    /// Asks each name server alone: the library takes the first answer of any, be it that a server
    /// cannot or does not want to tell (SERVFAIL, REFUSED), and does not hear the others.
    async fn ask_each(&self, name: &Name, kind: RecordType) -> Option<Answers> {
        let mut asked = JoinSet::new();
        for server in &self.alone {
            server.clear_cache();
            let (server, name) = (server.clone(), name.clone());
            asked.spawn_local(async move { server.lookup(name, kind).await });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok(Ok(answer)) = answer {
                return Some(answer);
            }
        }
        None
    }

    /// The records of one name in full, those of its aliases included.
    async fn records(&self, name: &str, kind: RecordType) -> Result<Records, NoAnswer> {
        let name = Name::from_ascii(name).map_err(|_| NoAnswer::Failed(FORMAT_ERROR.to_owned()))?;
        let timed_out = || NoAnswer::Failed(TIMED_OUT.to_owned());
        let _room = self.room.acquire().await.map_err(|_| timed_out())?;
        // What is kept is kept by us, for as long as bounds say.
        self.dns.clear_cache();
        self.patient.clear_cache();
        let asked = tokio::time::timeout(self.timeout, self.lookup(name, kind)).await;
        let found = asked.map_err(|_| timed_out())?.map_err(no_answer)?;
        let records = found.answers().iter();
        let ttl = records.clone().map(|record| record.ttl).min();
        let data: Vec<RData> = records
            .filter(|record| record.record_type() == kind)
            .map(|record| record.data.clone())
            .collect();
        match data.is_empty() {
            true => Err(NoAnswer::Absent(HOST_NOT_FOUND.to_owned())),
            false => Ok(Records {
                data,
                ttl: Duration::from_secs(ttl.unwrap_or(0).into()),
            }),
        }
    }
}

fn located(addresses: &[IpAddr], port: u16, service: Option<OfService>) -> Vec<Located> {
    let at = |ip: &IpAddr| Located {
        address: Address::Tcp(SocketAddr::new(*ip, port)),
        service: service.clone(),
    };
    addresses.iter().map(at).collect()
}

// nginx's words (`ngx_resolver_strerror`), which people alert on.
const FORMAT_ERROR: &str = "1: Format error";
const HOST_NOT_FOUND: &str = "3: Host not found";
pub(super) const TIMED_OUT: &str = "110: Operation timed out";

/// Bytes of a reason that is the library's own.
const REASON: usize = 200;

fn no_answer(error: NetError) -> NoAnswer {
    if error.is_no_records_found() {
        return NoAnswer::Absent(HOST_NOT_FOUND.to_owned());
    }
    NoAnswer::Failed(match &error {
        NetError::Timeout => TIMED_OUT.to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => match code {
            ResponseCode::FormErr => FORMAT_ERROR.to_owned(),
            ResponseCode::ServFail => "2: Server failure".to_owned(),
            ResponseCode::NotImp => "4: Unimplemented".to_owned(),
            ResponseCode::Refused => "5: Operation refused".to_owned(),
            other => format!("{}: {other}", u16::from(*other)),
        },
        other => {
            let mut text = other.to_string();
            text.truncate(text.floor_char_boundary(REASON));
            text
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::sync::Arc;

    use super::super::system::tests_system;
    use super::*;
    use crate::config::model::tests_resolver;

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
            let Outcome::Found { located, .. } = servers.ask(&name, None).await else {
                panic!("it is there");
            };
            assert_eq!(located.len(), expected);
            assert_eq!(located[0].address.to_string(), "10.0.0.4:8000");
        }
    }
}

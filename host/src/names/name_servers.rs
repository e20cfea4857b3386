//! The name servers of one `resolver`: one question about one kind of records, in its place.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hickory_resolver::Resolver as DnsResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup as Answers;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::paces::{Asked, Pace, Paces};
use super::places::{Place, Places};
use super::runtime::EventLoop;
use super::system::System;
use crate::config::model::Resolver;

/// Attempts within the time for an answer: datagrams get lost.
const ATTEMPTS: u32 = 3;

/// How long a question has its quick place: for nearly all answers, those of name servers far away
/// included.
const QUICK: Duration = Duration::from_millis(250);

/// How long one that was not answered the last time has its place: for nearly all answers of name
/// servers that have to ask others first.
const BRIEF: Duration = Duration::from_millis(500);

/// Names that requests have made by patterns have places of their own, so many times fewer than all
/// others: those wait for none of them, whatever strangers do.
const OF_PATTERNS: usize = 4;

/// The name servers of one `resolver`, as they are to be asked now.
pub(super) struct NameServers {
    dns: DnsResolver<EventLoop>,
    /// For the one question that is not given up before the time for an answer has passed.
    patient: DnsResolver<EventLoop>,
    /// Of each name server alone, where there are several.
    alone: Vec<DnsResolver<EventLoop>>,
    pub(super) system: Rc<System>,
    /// The hosts file has a say.
    pub(super) hosts: bool,
    pub(super) ipv6: bool,
    /// For one question.
    pub(super) timeout: Duration,
    own: Places,
    by_pattern: Places,
    /// For how long a question has its quick place.
    moment: Duration,
    /// For how long one that was not answered the last time has its place.
    brief: Duration,
    /// Of names by pattern, beyond the time that each is followed.
    paces: Paces,
}

/// For whom a question is asked.
#[derive(Clone)]
pub(super) struct Asker {
    /// See [`Names::try_out`](super::Names::try_out): it takes the places of such names, as long as
    /// that is so.
    pub(super) by_pattern: watch::Receiver<bool>,
    /// Of the questions about its name.
    pub(super) paces: Rc<Paces>,
}

/// What one question about one kind of records has brought.
pub(super) struct Records {
    pub(super) data: Vec<RData>,
    pub(super) ttl: Duration,
}

/// Why there are no records.
pub(super) enum NoAnswer {
    Absent(Absent),
    Failed(String),
}

/// What a name server says there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// The name (NXDOMAIN).
    Name,
    /// Records of this kind.
    Records,
}

impl NoAnswer {
    pub(super) fn timed_out() -> NoAnswer {
        NoAnswer::Failed(TIMED_OUT.to_owned())
    }
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
            own: Places::one_of(1),
            by_pattern: Places::one_of(OF_PATTERNS),
            moment: QUICK.min(attempt),
            brief: BRIEF.min(attempt),
            paces: Paces::of_patterns(),
        })
    }

    /// The records of one name in full, those of its aliases included.
    pub(super) async fn records(
        &self,
        name: &str,
        kind: RecordType,
        asker: &Asker,
    ) -> Result<Records, NoAnswer> {
        let name = Name::from_ascii(name).map_err(|_| NoAnswer::Failed(FORMAT_ERROR.to_owned()))?;
        let found = self.answer(&(name, kind), asker).await?;
        let records = found.answers().iter();
        let ttl = records.clone().map(|record| record.ttl).min();
        let data: Vec<RData> = records
            .filter(|record| record.record_type() == kind)
            .map(|record| record.data.clone())
            .collect();
        match data.is_empty() {
            true => Err(NoAnswer::Absent(Absent::Records)),
            false => Ok(Records {
                data,
                ttl: Duration::from_secs(ttl.unwrap_or(0).into()),
            }),
        }
    }

    /// Asks in a place of the kind that there is for it.
    async fn answer(&self, question: &Asked, asker: &Asker) -> Result<Answers, NoAnswer> {
        let pace = self.known(question, asker);
        if matches!(pace, None | Some(Pace::Quick))
            && let Some(answer) = self.quickly(question, pace.is_none(), asker).await
        {
            return answer;
        }
        if let Some(Pace::Slow) = pace {
            let _place = self.place(asker, Places::slow).await;
            return self.to_its_end(question, asker).await;
        }
        // It was noted by the quick place that it had.
        let last = match self.known(question, asker) {
            Some(Pace::Unanswered(last)) => last,
            _ => Instant::now(),
        };
        self.briefly(question, last, asker).await
    }

    /// Asks for as long as it takes.
    async fn to_its_end(&self, question: &Asked, asker: &Asker) -> Result<Answers, NoAnswer> {
        let since = Instant::now();
        // Whoever asks may give it up.
        self.note(question, asker, Pace::Unanswered(since));
        let answer = self.ask(question).await;
        self.note(question, asker, self.pace(since, &answer));
        answer
    }

    /// Asks what was not answered the last time, at `last`, in a place that others wait for as well:
    /// its answer is listened for behind that where there is room.
    async fn briefly(
        &self,
        question: &Asked,
        last: Instant,
        asker: &Asker,
    ) -> Result<Answers, NoAnswer> {
        let turn = self.place(asker, async |places| places.unanswered(last).await);
        let place = timeout(self.timeout, turn).await.ok().flatten();
        let place = place.ok_or_else(NoAnswer::timed_out)?;
        let mut asked = pin!(self.to_its_end(question, asker));
        if let Ok(answer) = timeout(self.brief, &mut asked).await {
            return answer;
        }
        let places = self.places_now(asker);
        let _listened = places.listened_at_once().ok_or_else(NoAnswer::timed_out)?;
        drop(place);
        asked.await
    }

    /// Asks in a quick place for a moment, and goes on in a slow one where one is free. None where
    /// there is none: others wait for the place. `is_fresh`: it was not asked yet.
    async fn quickly(
        &self,
        question: &Asked,
        is_fresh: bool,
        asker: &Asker,
    ) -> Option<Result<Answers, NoAnswer>> {
        let fresh = match is_fresh {
            true => self.place(asker, Places::fresh).await,
            false => None,
        };
        let place = self.place(asker, Places::quick).await;
        let since = Instant::now();
        let mut asked = pin!(self.ask(question));
        if let Ok(answer) = timeout(self.moment, &mut asked).await {
            self.note(question, asker, Pace::Quick);
            return Some(answer);
        }
        self.note(question, asker, Pace::Unanswered(since));
        let _slow = self.places_now(asker).slow_at_once()?;
        drop((fresh, place));
        let answer = asked.await;
        self.note(question, asker, self.pace(since, &answer));
        Some(answer)
    }

    /// The places of a name as it is wanted now.
    fn places_now(&self, asker: &Asker) -> &Places {
        match *asker.by_pattern.borrow() {
            true => &self.by_pattern,
            false => &self.own,
        }
    }

    /// Waits for a place. One that is wanted by a pattern may become one of all others meanwhile.
    async fn place<'p>(
        &'p self,
        asker: &Asker,
        wait: impl AsyncFn(&'p Places) -> Option<Place<'p>>,
    ) -> Option<Place<'p>> {
        let mut by_pattern = asker.by_pattern.clone();
        // What the wait returns locks the value.
        let is_own = async move { drop(by_pattern.wait_for(|is| !is).await) };
        tokio::select! {
            biased;
            () = is_own => wait(&self.own).await,
            place = wait(&self.by_pattern) => place,
        }
    }

    /// How a question went that was asked at `since`.
    fn pace(&self, since: Instant, answer: &Result<Answers, NoAnswer>) -> Pace {
        match answer {
            _ if since.elapsed() < self.moment => Pace::Quick,
            Ok(_) | Err(NoAnswer::Absent(_)) => Pace::Slow,
            Err(NoAnswer::Failed(_)) => Pace::Unanswered(since),
        }
    }

    /// How it went the last time. A name that is wanted by a pattern may be wanted otherwise by now.
    fn known(&self, question: &Asked, asker: &Asker) -> Option<Pace> {
        let of_name = asker.paces.of(question);
        of_name.or_else(|| self.paces.of(question))
    }

    fn note(&self, question: &Asked, asker: &Asker, pace: Pace) {
        asker.paces.note(question, pace);
        if *asker.by_pattern.borrow() {
            self.paces.note(question, pace);
        }
    }

    async fn ask(&self, (name, kind): &Asked) -> Result<Answers, NoAnswer> {
        // What is kept is kept by us, for as long as bounds say.
        self.dns.clear_cache();
        self.patient.clear_cache();
        let asked = timeout(self.timeout, self.lookup(name.clone(), *kind)).await;
        asked.map_err(|_| NoAnswer::timed_out())?.map_err(no_answer)
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
}

// nginx's words (`ngx_resolver_strerror`), which people alert on.
const FORMAT_ERROR: &str = "1: Format error";
pub(super) const HOST_NOT_FOUND: &str = "3: Host not found";
pub(super) const TIMED_OUT: &str = "110: Operation timed out";

/// Bytes of a reason that is the library's own.
const REASON: usize = 200;

fn no_answer(error: NetError) -> NoAnswer {
    if let NetError::Dns(DnsError::NoRecordsFound(none)) = &error {
        return NoAnswer::Absent(match none.response_code {
            ResponseCode::NXDomain => Absent::Name,
            _ => Absent::Records,
        });
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
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use tokio::net::UdpSocket;
    use tokio::task::LocalSet;

    use super::super::system::tests_system;
    use super::*;
    use crate::config::model::tests_resolver;

    fn asker(by_pattern: bool) -> (watch::Sender<bool>, Asker) {
        let (wanted, by_pattern) = watch::channel(by_pattern);
        let paces = Rc::new(Paces::of_a_name());
        (wanted, Asker { by_pattern, paces })
    }

    /// Else each would be as one that was never asked about, and all others would queue behind it.
    #[tokio::test]
    async fn what_is_known_of_a_name_stays_however_many_names_strangers_make() {
        let resolver = tests_resolver();
        let servers = NameServers::new(&resolver, &Rc::new(tests_system("", ""))).unwrap();
        let ((_own, own), (_pattern, pattern)) = (asker(false), asker(true));
        let question = |name: String| (Name::from_ascii(name).unwrap(), RecordType::A);
        let dead = question("dead.test.".to_owned());
        servers.note(&dead, &own, Pace::Unanswered(Instant::now()));
        for number in 0..40_000 {
            let (_stranger, stranger) = asker(true);
            let name = question(format!("n{number}.test."));
            servers.note(&name, &stranger, Pace::Unanswered(Instant::now()));
        }
        let is_dead = |pace| matches!(pace, Some(Pace::Unanswered(_)));
        assert!(is_dead(servers.known(&dead, &own)));
        let last = question("n39999.test.".to_owned());
        assert!(is_dead(servers.known(&last, &pattern)), "made again");
    }

    /// As of five hundred names, of two kinds each. A question that kept its place would keep it for
    /// longer than the test takes.
    #[tokio::test]
    async fn each_of_a_thousand_questions_that_nobody_answers_is_asked_soon() {
        const QUESTIONS: usize = 1000;
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let resolver = Resolver {
            addresses: vec![silent.local_addr().unwrap()],
            timeout: Duration::from_secs(300),
            ..tests_resolver()
        };
        let system = Rc::new(tests_system("", ""));
        let servers = Rc::new(NameServers::new(&resolver, &system).unwrap());
        let (_wanted, asker) = asker(false);
        let tasks = LocalSet::new();
        for number in 0..QUESTIONS {
            let name = Name::from_ascii(format!("n{number}.test.")).unwrap();
            let question = (name, RecordType::A);
            servers.note(&question, &asker, Pace::Unanswered(Instant::now()));
            let (servers, asker) = (servers.clone(), asker.clone());
            tasks.spawn_local(async move {
                let _ = servers.answer(&question, &asker).await;
            });
        }
        let all_are_asked = async {
            let (mut asked, mut message) = (HashSet::new(), [0; 512]);
            while asked.len() < QUESTIONS {
                let length = silent.recv(&mut message).await.unwrap();
                // Behind the header, up to the end of the name.
                let name = message[12..length].split(|byte| *byte == 0);
                asked.insert(name.into_iter().next().unwrap().to_vec());
            }
        };
        let asked = timeout(Duration::from_secs(60), tasks.run_until(all_are_asked)).await;
        assert!(asked.is_ok(), "some wait for those that were asked first");
    }
}

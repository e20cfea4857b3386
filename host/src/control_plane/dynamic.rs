//! Upstreams that requests have named by variables in `proxy`: made when the first request asks for
//! one, and dropped when none does any more.
//!
//! A name is asked about first; only one that has an address becomes an upstream, by a change like
//! any other. What a stranger may bring about by random names and addresses is bounded in each of
//! its steps: questions under way, names that wait for theirs, names remembered as unknown, changes
//! (one at a time, for all that are ready, with pauses), and upstreams. A name that is listed by
//! itself waits for none of those that a pattern allows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::operator::{Change, ChangeRequest, ChangeResult, Published};
use super::resolve;
use super::workers::WorkerCounts;
use crate::config::model::{Config, DynamicHost, ServerName, UpstreamConfig};
use crate::data_plane::upstream::Upstream;
use crate::data_plane::wanted::{NotMade, Wanted};
use crate::names::{Names, Resolution, ServerAddresses, Tried};

/// Questions under way about names that patterns allow: fewer than one `resolver` has room for, so
/// that other names are asked about meanwhile.
const ASKED: usize = 16;
/// Names that wait until they are asked about, and those of them and of addresses that wait for a
/// change. Those that are listed by themselves count for neither: their list is their bound.
const QUEUED: usize = 512;
/// Names that are remembered as unknown, and for how long.
const UNKNOWN: usize = 4096;
const REMEMBERED: Duration = Duration::from_secs(2);
/// Between two changes: each costs all workers some work.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked for what is idle.
const LOOK: Duration = Duration::from_secs(1);

/// Upstreams that are to be served; those that are idle go with it.
#[derive(Debug)]
pub(super) struct DynamicChange {
    added: Vec<NewUpstream>,
}

/// An upstream that is to be.
#[derive(Debug, Clone)]
struct NewUpstream {
    config: UpstreamConfig,
    /// What its name stands for; none for an address.
    known: Option<ServerAddresses>,
}

impl NewUpstream {
    /// What a configuration makes of its name, if it still does: a reload may have come in between.
    fn within(&self, config: &Config) -> Option<UpstreamConfig> {
        let name = self.config.dynamic.as_ref()?;
        config.dynamic_upstream(&self.config.name, name)
    }
}

/// Hears of the names that requests have.
pub(super) struct DynamicUpstreams {
    published: Arc<ArcSwap<Published>>,
    workers: WorkerCounts,
    names: Names,
    changes: UnboundedSender<ChangeRequest>,
    /// By the upstream's name, whatever state they are in.
    under_way: HashMap<String, UnderWay>,
    /// Those that are to be asked about.
    queue: VecDeque<String>,
    asked: JoinSet<(String, Tried)>,
    /// Of those asked about, those that patterns allow.
    asked_by_pattern: HashSet<String>,
    /// Those that wait for a change, in the order in which they came.
    ready: VecDeque<NewUpstream>,
    unknown: HashMap<String, (Instant, NotMade)>,
}

struct UnderWay {
    config: UpstreamConfig,
    waiting: Vec<oneshot::Sender<Result<(), NotMade>>>,
}

/// A change that is under way, and what it adds.
type Changing = (Vec<NewUpstream>, oneshot::Receiver<ChangeResult>);

impl DynamicUpstreams {
    pub(super) fn new(
        published: Arc<ArcSwap<Published>>,
        workers: WorkerCounts,
        names: Names,
        changes: UnboundedSender<ChangeRequest>,
    ) -> DynamicUpstreams {
        DynamicUpstreams {
            published,
            workers,
            names,
            changes,
            under_way: HashMap::new(),
            queue: VecDeque::new(),
            asked: JoinSet::new(),
            asked_by_pattern: HashSet::new(),
            ready: VecDeque::new(),
            unknown: HashMap::new(),
        }
    }

    /// Makes upstreams for as long as anybody could ask for one.
    pub(super) async fn heed(mut self, mut wanted: UnboundedReceiver<Wanted>) {
        let mut changing: Option<Changing> = None;
        let mut look = tokio::time::interval(LOOK);
        let mut earliest = tokio::time::Instant::now();
        loop {
            let is_free = changing.is_none();
            let may_change = is_free && !self.ready.is_empty();
            let changed = async {
                match &mut changing {
                    Some((_, outcome)) => outcome.await.is_ok_and(|outcome| outcome.is_ok()),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = wanted.recv() => match asked {
                    Some(asked) => self.hear(asked),
                    None => return,
                },
                Some(Ok((upstream, tried))) = self.asked.join_next() => self.tried(upstream, tried),
                is_served = changed => {
                    let added = changing.take().map(|(added, _)| added).unwrap_or_default();
                    self.changed(added, is_served);
                }
                () = tokio::time::sleep_until(earliest), if may_change => {
                    changing = self.change();
                    earliest = tokio::time::Instant::now() + PAUSE;
                }
                _ = look.tick() => {
                    let now = Instant::now();
                    self.unknown.retain(|_, (until, _)| *until > now);
                    if is_free && self.has_idle() {
                        changing = self.change();
                    }
                }
            }
            self.ask_next();
        }
    }

    fn hear(&mut self, wanted: Wanted) {
        let Wanted {
            proxy,
            name,
            is_listed,
            answer,
        } = wanted;
        let upstream = proxy.upstream_name(&name);
        if let Some(under_way) = self.under_way.get_mut(&upstream) {
            let waiting = &mut under_way.waiting;
            // Now and then those that have left make room.
            if waiting.len().is_power_of_two() {
                waiting.retain(|answer| !answer.is_closed());
            }
            waiting.push(answer);
            let is_sooner = is_listed && !under_way.config.is_listed;
            under_way.config.is_listed |= is_listed;
            if is_sooner {
                self.hurry(upstream);
            }
            return;
        }
        let known = match self.unknown.get(&upstream) {
            Some((until, why)) if *until > Instant::now() => Some(Err(why.clone())),
            _ => {
                let is_served = self.published.load().snapshot.upstream(&upstream).is_some();
                is_served.then_some(Ok(()))
            }
        };
        let needs_name = matches!(name.host, DynamicHost::Name(_));
        let ahead = if needs_name {
            self.queue.len()
        } else {
            self.ready.len()
        };
        let is_full = !is_listed && ahead >= QUEUED;
        let too_many = is_full.then_some(Err(NotMade::Refused("too many other names are new")));
        if let Some(known) = known.or(too_many) {
            // Whoever asked may have left.
            let _ = answer.send(known);
            return;
        }
        let config = proxy.upstream(&name);
        let waiting = vec![answer];
        let under_way = UnderWay { config, waiting };
        self.under_way.insert(upstream.clone(), under_way);
        match (needs_name, is_listed) {
            (false, _) => self.is_ready(&upstream, None),
            (true, true) => self.ask(upstream),
            (true, false) => self.queue.push_back(upstream),
        }
    }

    /// One that a pattern has brought is wanted where it is listed as well: it waits for no other one.
    fn hurry(&mut self, upstream: String) {
        if self.asked_by_pattern.remove(&upstream) {
            if let Some(name) = self.name(&upstream) {
                self.names.hurry(name);
            }
        } else if let Some(place) = self.queue.iter().position(|queued| *queued == upstream) {
            self.queue.remove(place);
            self.ask(upstream);
        }
    }

    /// Asks about those that have waited longest, as far as there is room.
    fn ask_next(&mut self) {
        while self.asked_by_pattern.len() < ASKED
            && self.ready.len() < QUEUED
            && let Some(upstream) = self.queue.pop_front()
        {
            let Some(under_way) = self.under_way.get_mut(&upstream) else {
                continue;
            };
            under_way.waiting.retain(|answer| !answer.is_closed());
            if under_way.waiting.is_empty() {
                self.under_way.remove(&upstream);
                continue;
            }
            self.asked_by_pattern.insert(upstream.clone());
            self.ask(upstream);
        }
    }

    fn ask(&mut self, upstream: String) {
        let Some(name) = self.name(&upstream) else {
            return;
        };
        let by_pattern = self.asked_by_pattern.contains(&upstream);
        let tried = self.names.try_out(name, by_pattern);
        self.asked
            .spawn_local(async move { (upstream, tried.await) });
    }

    /// The name of an upstream that is under way.
    fn name(&self, upstream: &str) -> Option<ServerName> {
        let server = self.under_way.get(upstream)?.config.servers.first()?;
        resolve::name(server).cloned()
    }

    fn tried(&mut self, upstream: String, tried: Tried) {
        self.asked_by_pattern.remove(&upstream);
        let rule = self.under_way.get(&upstream).and_then(|under_way| {
            let server = under_way.config.servers.first()?;
            server.rule.clone()
        });
        let why = match (tried, rule) {
            (Ok(known), Some(rule)) if !known.permitted(&rule).located.is_empty() => {
                return self.is_ready(&upstream, Some(known));
            }
            (Ok(known), _) => {
                let address = known.iter().next().map(ToString::to_string);
                NotMade::AddressNotAllowed(address.unwrap_or_default().into())
            }
            (Err(why), _) => NotMade::NotResolved(why.into()),
        };
        if let Some(name) = self.name(&upstream) {
            self.names.release(name);
        }
        if self.unknown.len() < UNKNOWN {
            let until = Instant::now() + REMEMBERED;
            self.unknown.insert(upstream.clone(), (until, why.clone()));
        }
        self.answer(&upstream, &Err(why));
    }

    fn is_ready(&mut self, upstream: &str, known: Option<ServerAddresses>) {
        let Some(under_way) = self.under_way.get(upstream) else {
            return;
        };
        self.ready.push_back(NewUpstream {
            config: under_way.config.clone(),
            known,
        });
    }

    /// Has what is ready served, and what is idle served no longer.
    fn change(&mut self) -> Option<Changing> {
        let mut added: Vec<_> = std::mem::take(&mut self.ready).into();
        // There may be no room for all of them. One may have been asked for where it is listed since it
        // was ready.
        let is_listed = |name: &str| {
            let under_way = self.under_way.get(name);
            under_way.is_some_and(|under_way| under_way.config.is_listed)
        };
        added.sort_by_key(|upstream| !is_listed(&upstream.config.name));
        let change = DynamicChange {
            added: added.clone(),
        };
        let (done, outcome) = oneshot::channel();
        let request = (Change::Dynamic(change), Some(done));
        // Without an operator nothing is changed any more.
        self.changes.send(request).ok()?;
        Some((added, outcome))
    }

    fn has_idle(&self) -> bool {
        let published = self.published.load();
        let (snapshot, now) = (&published.snapshot, self.workers.clock().seconds());
        let idle = snapshot.config.server.dynamic_idle_timeout;
        let mut dynamic = dynamic(snapshot.upstreams.iter());
        dynamic.any(|upstream| is_idle(upstream, idle, now))
    }

    /// A change with these upstreams is over. Those that it had no room for wait for the next one.
    fn changed(&mut self, added: Vec<NewUpstream>, is_served: bool) {
        let published = self.published.load_full();
        for upstream in added.into_iter().rev() {
            let name = &upstream.config.name;
            let made = match is_served {
                true if published.snapshot.upstream(name).is_some() => Ok(()),
                true if self.is_waited_for(name)
                    && upstream.within(&published.snapshot.config).is_some() =>
                {
                    self.ready.push_front(upstream);
                    continue;
                }
                _ => Err(NotMade::Refused("it cannot be made")),
            };
            // From here on it is looked after because it is served, or not at all.
            if let Some(name) = self.name(name) {
                self.names.release(name);
            }
            self.answer(name, &made);
        }
    }

    fn is_waited_for(&self, upstream: &str) -> bool {
        let under_way = self.under_way.get(upstream);
        under_way
            .is_some_and(|under_way| under_way.waiting.iter().any(|answer| !answer.is_closed()))
    }

    /// Tells all that wait for an upstream.
    fn answer(&mut self, upstream: &str, made: &Result<(), NotMade>) {
        let under_way = self.under_way.remove(upstream);
        for answer in under_way
            .into_iter()
            .flat_map(|under_way| under_way.waiting)
        {
            // Whoever asked may have left.
            let _ = answer.send(made.clone());
        }
    }
}

/// The configuration that a change makes, and what its names stand for. `now`: seconds of the
/// process's clock.
pub(super) fn changed(
    present: &Published,
    change: DynamicChange,
    now: u64,
) -> (Config, Resolution) {
    let snapshot = &present.snapshot;
    let mut config = snapshot.config.clone();
    let server = &config.server;
    let (most, idle) = (server.max_dynamic_upstreams, server.dynamic_idle_timeout);
    let stay = dynamic(snapshot.upstreams.iter());
    let mut stay: Vec<_> = stay
        .filter(|upstream| !is_idle(upstream, idle, now))
        .collect();
    // Those that were asked for in one moment alone go first, since random names are; else those
    // that were not for longest, and at last those that are listed by themselves. Of all but the
    // first no more than a quarter goes at a time.
    let rank = |upstream: &Upstream| {
        let (first, last) = upstream.used();
        match upstream.config.is_listed {
            true => 2,
            false => u8::from(last >= first + 2),
        }
    };
    let lasting = stay.iter().filter(|upstream| rank(upstream) > 0).count();
    let room = most.saturating_sub(lasting).max(most / 4).max(1).min(most);
    let mut added = Vec::new();
    let mut resolution = present.resolution.clone();
    for new in change.added {
        if added.len() == room {
            break;
        }
        let made = new.within(&config);
        let made = made.filter(|made| snapshot.upstream_index(&made.name).is_none());
        let Some(made) = made else {
            continue;
        };
        let known = new.known;
        if let (Some(known), Some(name)) = (known, made.servers.first().and_then(resolve::name)) {
            resolution = resolution.with(name.clone(), known);
        }
        added.push(Arc::new(made));
    }
    stay.sort_by_key(|upstream| {
        let (_, last) = upstream.used();
        std::cmp::Reverse((rank(upstream), last))
    });
    stay.truncate(most - added.len());
    let stay: HashSet<&str> = stay.iter().map(|stays| &*stays.config.name).collect();
    config
        .upstreams
        .retain(|upstream| upstream.dynamic.is_none() || stay.contains(&*upstream.name));
    config.upstreams.extend(added);
    let resolution = resolution.only(&resolve::names(&config));
    (config, resolution)
}

/// Those of a list of upstreams that requests have named: they stand at its end.
fn dynamic<'a>(
    upstreams: impl DoubleEndedIterator<Item = &'a Arc<Upstream>>,
) -> impl Iterator<Item = &'a Arc<Upstream>> {
    upstreams
        .rev()
        .take_while(|upstream| upstream.config.dynamic.is_some())
}

fn is_idle(upstream: &Upstream, idle: Duration, now: u64) -> bool {
    let (_, last) = upstream.used();
    now.saturating_sub(last) >= idle.as_secs().max(1)
}

/// Has a configuration that was read go on with the upstreams that requests have named, as far as
/// its routes would make the same.
pub(super) fn carry_over(present: &Config, next: &mut Config) {
    for upstream in &present.upstreams {
        let Some(name) = &upstream.dynamic else {
            continue;
        };
        let before = next.upstreams.iter().rev();
        let dynamic = before.take_while(|upstream| upstream.dynamic.is_some());
        if dynamic.count() < next.server.max_dynamic_upstreams
            && let Some(same) = next.dynamic_upstream(&upstream.name, name)
        {
            next.upstreams.push(Arc::new(same));
        }
    }
}

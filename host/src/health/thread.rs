//! The thread, and what it looks after: a task for each endpoint that is probed, and one for each
//! upstream whose outliers are ejected.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::probing::{Asked, Probed};
use super::sweeping::sweep;
use crate::config::model::HealthCheck;
use crate::data_plane::process::{Clock, Process};
use crate::data_plane::upstream::{EndpointId, Probe, ProbeTools, Unfit, Upstream};
use crate::event_loop;
use crate::fault_injection;

/// After a panic, or where there is no event loop to be had.
const BREATH: Duration = Duration::from_secs(1);
/// Between two first probes: a thousand in a second are no burst for us, and none for a network.
const PACE: Duration = Duration::from_millis(1);

/// Probes that are due so soon after each other begin together, a two hundredth of their interval
/// at most: thousands of them then share the wakings of the thread, which cost more than the probes.
const TOGETHER: Duration = Duration::from_millis(25);

/// Between two lines about probes that are left out.
const QUIET: Duration = Duration::from_secs(60);

/// Looks after the health of endpoints. Its thread ends when this is dropped.
pub(crate) struct HealthThread {
    upstreams: UnboundedSender<Vec<Arc<Upstream>>>,
}

impl HealthThread {
    /// Starts the thread, which has nothing to do yet.
    ///
    /// # Errors
    /// The kernel has none.
    pub(crate) fn start(process: Arc<Process>) -> std::io::Result<HealthThread> {
        let (upstreams, followed) = unbounded_channel();
        let thread = std::thread::Builder::new().name("health".to_owned());
        thread.spawn(move || run(&process, followed))?;
        Ok(HealthThread { upstreams })
    }

    /// Looks after the endpoints of these upstreams from now on, and of no others.
    pub(crate) fn follow(&self, upstreams: &[Arc<Upstream>]) {
        // Without its thread, which only ends with the process, there is nothing to be done.
        let _ = self.upstreams.send(upstreams.to_vec());
    }
}

/// What all tasks use.
pub(super) struct Tools {
    pub(super) probes: ProbeTools,
    clock: Clock,
    started: Instant,
    /// When the log told of probes without a descriptor.
    told: Cell<Option<Instant>>,
}

impl Tools {
    /// A moment as endpoints have it.
    pub(super) fn micros(&self, moment: Instant) -> u64 {
        self.clock.micros(moment.into_std())
    }

    /// When a probe begins that is due at a moment, of a check with this interval.
    pub(super) fn together(&self, due: Instant, interval: Duration) -> Instant {
        let step = (interval / 200).min(TOGETHER).as_micros().max(1);
        let since = due.saturating_duration_since(self.started).as_micros();
        let rounded = since.div_ceil(step).saturating_mul(step);
        self.started + Duration::from_micros(u64::try_from(rounded).unwrap_or(u64::MAX))
    }

    /// Whether the log may tell once more of what is wrong with many probes at a time.
    pub(super) fn may_tell(&self, now: Instant) -> bool {
        let is_due = self.told.get().is_none_or(|told| now - told >= QUIET);
        if is_due {
            self.told.set(Some(now));
        }
        is_due
    }
}

const LOGGED: event_loop::Names = event_loop::Names {
    cannot: "health cannot be checked",
    doing: "checking health",
};

/// The thread. A panic of ours costs the probes that were under way.
fn run(process: &Arc<Process>, mut followed: UnboundedReceiver<Vec<Arc<Upstream>>>) {
    let mut last = Vec::new();
    event_loop::run(&LOGGED, BREATH, async || {
        let looked_after = LookedAfter {
            tools: Rc::new(Tools {
                probes: ProbeTools::new(process.clone()),
                clock: process.clock,
                started: Instant::now(),
                told: Cell::new(None),
            }),
            running: JoinSet::new(),
            upstreams: HashMap::new(),
            tasks: HashMap::new(),
        };
        looked_after.heed(&mut last, &mut followed).await;
    });
}

/// The upstreams that are looked after, by name.
struct LookedAfter {
    tools: Rc<Tools>,
    running: JoinSet<()>,
    upstreams: HashMap<String, Watched>,
    tasks: HashMap<Id, Task>,
}

/// Whose task it is.
#[derive(Clone)]
struct Task {
    upstream: String,
    /// None: that which looks for outliers.
    endpoint: Option<EndpointId>,
}

/// One of them.
struct Watched {
    current: Rc<RefCell<Arc<Upstream>>>,
    check: Option<Arc<HealthCheck>>,
    probed: HashMap<EndpointId, (Rc<Probed>, AbortHandle)>,
    sweeping: Option<AbortHandle>,
}

impl LookedAfter {
    /// Until nobody is left who could ask for anything.
    async fn heed(
        mut self,
        last: &mut Vec<Arc<Upstream>>,
        followed: &mut UnboundedReceiver<Vec<Arc<Upstream>>>,
    ) {
        self.follow(last);
        loop {
            tokio::select! {
                upstreams = followed.recv() => {
                    let Some(mut upstreams) = upstreams else { return };
                    // Only the last of several is served.
                    while let Ok(newer) = followed.try_recv() {
                        upstreams = newer;
                    }
                    self.follow(&upstreams);
                    upstreams.retain(|upstream| is_looked_after(upstream));
                    *last = upstreams;
                }
                Some(ended) = self.running.join_next_with_id() => match ended {
                    Ok((id, ())) => drop(self.tasks.remove(&id)),
                    Err(ended) => self.ended(&ended),
                },
            }
            fault_injection::panics("health");
        }
    }

    /// A task has ended: it was not wanted any more, or has panicked.
    fn ended(&mut self, ended: &JoinError) {
        let Some(task) = self.tasks.remove(&ended.id()) else {
            return;
        };
        if !ended.is_panic() {
            return;
        }
        tracing::error!(
            "checking health of upstream `{}` begins anew after an internal error",
            task.upstream
        );
        let Some(watched) = self.upstreams.get_mut(&task.upstream) else {
            return;
        };
        match task.endpoint {
            Some(endpoint) => drop(watched.probed.remove(&endpoint)),
            None => watched.sweeping = None,
        }
        let upstream = watched.current.borrow().clone();
        let mut pace = Pace {
            next: BREATH,
            step: PACE,
        };
        self.look_after(&upstream, &mut pace);
    }

    fn follow(&mut self, upstreams: &[Arc<Upstream>]) {
        let mut pace = self.pace(upstreams);
        let mut gone = std::mem::take(&mut self.upstreams);
        for upstream in upstreams {
            let before = gone.remove(&upstream.config.name);
            if !is_looked_after(upstream) {
                if let Some(before) = before {
                    before.end(upstream, &self.tools);
                }
                continue;
            }
            let is_same = before
                .as_ref()
                .is_some_and(|before| Arc::ptr_eq(&before.current.borrow(), upstream));
            let watched = before.unwrap_or_else(|| Watched::new(upstream));
            self.upstreams.insert(upstream.config.name.clone(), watched);
            if !is_same {
                self.look_after(upstream, &mut pace);
            }
        }
        for (_, watched) in gone {
            watched.abort();
        }
    }

    /// When first probes begin, so that all of them are spread over an interval.
    fn pace(&self, upstreams: &[Arc<Upstream>]) -> Pace {
        let (mut new, mut step) = (0, PACE);
        for upstream in upstreams {
            let Some(check) = &upstream.config.health_check else {
                continue;
            };
            let watched = self.upstreams.get(&upstream.config.name);
            let is_new = |id| watched.is_none_or(|watched| !watched.probed.contains_key(id));
            let endpoints = upstream.endpoints();
            let endpoints = endpoints.filter(|(endpoint, _)| is_new(&endpoint.stats.id));
            new += u32::try_from(endpoints.count()).unwrap_or(u32::MAX);
            step = step.min(check.interval / new.max(1));
        }
        Pace {
            next: Duration::ZERO,
            step,
        }
    }

    /// Goes on with an upstream as it is now.
    fn look_after(&mut self, upstream: &Arc<Upstream>, pace: &mut Pace) {
        let name = &upstream.config.name;
        let Some(watched) = self.upstreams.get_mut(name) else {
            return;
        };
        watched.current.replace(upstream.clone());
        let mut begun = Vec::new();
        let has_changed = watched.follow_check(upstream, &self.tools);
        if let Some(check) = watched.check.clone() {
            for (endpoint, _) in upstream.endpoints() {
                let id = endpoint.stats.id;
                if endpoint.down {
                    continue;
                }
                let asked = Asked::of(endpoint, Probe::new(upstream, endpoint, &check));
                if let Some((probed, _)) = watched.probed.get(&id) {
                    probed.ask(asked);
                    continue;
                }
                let probed = Probed::new(endpoint.stats.clone(), asked);
                let (tools, current) = (self.tools.clone(), watched.current.clone());
                let work = probed.clone().run(tools, current, pace.next());
                let running = self.running.spawn_local(work);
                begun.push((running.id(), Some(id)));
                watched.probed.insert(id, (probed, running));
            }
        }
        match (&upstream.config.outliers, &watched.sweeping) {
            (Some(_), None) => {
                let work = sweep(self.tools.clone(), watched.current.clone());
                let running = self.running.spawn_local(work);
                begun.push((running.id(), None));
                watched.sweeping = Some(running);
            }
            (None, Some(_)) => watched.end_sweeping(upstream, &self.tools),
            (Some(_), Some(_)) | (None, None) => {}
        }
        for (id, endpoint) in begun {
            let upstream = name.clone();
            self.tasks.insert(id, Task { upstream, endpoint });
        }
        if has_changed {
            upstream.health_changed();
        }
    }
}

/// How first probes follow each other.
struct Pace {
    next: Duration,
    step: Duration,
}

impl Pace {
    fn next(&mut self) -> Duration {
        let next = self.next;
        self.next += self.step;
        next
    }
}

impl Watched {
    fn new(upstream: &Arc<Upstream>) -> Watched {
        Watched {
            current: Rc::new(RefCell::new(upstream.clone())),
            check: None,
            probed: HashMap::new(),
            sweeping: None,
        }
    }

    /// Takes over what is asked of endpoints, and leaves those that are not to be asked any more;
    /// true where that has brought one back.
    fn follow_check(&mut self, upstream: &Upstream, tools: &Tools) -> bool {
        let check = upstream.config.health_check.as_ref();
        if self.check.as_deref() != check {
            self.check = check.cloned().map(Arc::new);
        }
        let members = upstream.endpoints().filter(|(endpoint, _)| !endpoint.down);
        let asked: HashSet<EndpointId> = match check {
            Some(_) => members.map(|(endpoint, _)| endpoint.stats.id).collect(),
            None => HashSet::new(),
        };
        let now = tools.micros(Instant::now());
        let mut has_changed = false;
        self.probed.retain(|id, (probed, running)| {
            let stays = asked.contains(id);
            if !stays {
                running.abort();
                let health = &probed.stats.health;
                has_changed |= health.is_back(Unfit::Check, now);
                health.set_next(Unfit::Check, 0);
                health.forget_probes();
            }
            stays
        });
        has_changed
    }

    /// Nobody looks for outliers any more.
    fn end_sweeping(&mut self, upstream: &Upstream, tools: &Tools) {
        if let Some(sweeping) = self.sweeping.take() {
            sweeping.abort();
            upstream.end_ejections(tools.micros(Instant::now()));
        }
    }

    /// Its upstream goes on without anybody who looks after it.
    fn end(mut self, upstream: &Upstream, tools: &Tools) {
        if self.follow_check(upstream, tools) {
            upstream.health_changed();
        }
        self.end_sweeping(upstream, tools);
    }

    /// Its upstream is gone.
    fn abort(self) {
        let probing = self.probed.into_values().map(|(_, running)| running);
        probing.chain(self.sweeping).for_each(|task| task.abort());
    }
}

fn is_looked_after(upstream: &Upstream) -> bool {
    upstream.config.health_check.is_some() || upstream.config.outliers.is_some()
}

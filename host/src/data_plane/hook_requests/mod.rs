//! What hooks ask of upstreams while they wait: carried over the worker's own connections, by the
//! rules of the upstream that is asked.
//!
//! A request is part of the exchange that its hook is asked about: it ends with it, be it that the
//! client leaves. One that the hook has begun and left, since it wants no answer, goes on by itself.

mod asked; // one request, as policies and logs see it
mod carry; // its way to an endpoint, and its answer
mod traced; // its span
mod heeded; // work that is polled where it has asked for it alone

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use self::carry::Carrying;
use self::heeded::Heeded;
pub(crate) use self::traced::CallTrace;
use super::downstream::Client;
use super::worker::Worker;
use super::worker_config::WorkerConfig;
use crate::plugin::{HookRequest, HookRequests, RefusedRequest, RequestsUnderWay};

/// The exchange that a hook is asked about, as far as its requests have to know.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) worker: Rc<Worker>,
    pub(crate) worker_config: Rc<WorkerConfig>,
    pub(crate) client: Rc<Client>,
    /// The client's address, as it is believed.
    pub(crate) address: Option<IpAddr>,
    /// Those of the hook.
    pub(crate) under_way: Rc<RequestsUnderWay>,
    /// The longest that a request may take, all in all.
    pub(crate) longest: Duration,
    /// The trace that they belong to, if there is one.
    pub(crate) trace: Option<CallTrace>,
}

impl Origin {
    /// Says in the log that a request is not sent which its hook has left.
    fn note_unsent(&self, upstream: &str, refused: &RefusedRequest) {
        let client = match self.address {
            Some(address) => address.to_string(),
            None => self.client.address_text.to_string(),
        };
        tracing::warn!(
            "a request of a hook was not sent: {refused}, client: {client}, upstream: \"{upstream}\""
        );
    }
}

/// Carries what arrives until `asking` is over.
#[allow(clippy::disallowed_methods, reason = "asking bounds itself")]
pub(crate) async fn carry_until<T>(
    origin: &Origin,
    mut requests: HookRequests,
    asking: impl Future<Output = T>,
) -> T {
    let asking = pin!(asking);
    let mut asking = Heeded::new(asking);
    // Dropped with the exchange, it ends what is under way.
    let mut under_way = JoinSet::new();
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut asking => break answer,
            Some(request) = requests.next() => begin(&mut under_way, origin, request),
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
        }
    };
    while let Some(request) = requests.left() {
        begin(&mut under_way, origin, request);
    }
    under_way.detach_all();
    answer
}

fn begin(under_way: &mut JoinSet<()>, origin: &Origin, mut request: HookRequest) {
    let Some(counted) = RequestsUnderWay::count(&origin.under_way) else {
        if request.patience.is_of_nobody() {
            origin.note_unsent(&request.upstream, &RefusedRequest::TooMany);
        }
        return request.answer.give(Err(RefusedRequest::TooMany));
    };
    let origin = origin.clone();
    let patience = std::mem::take(&mut request.patience);
    let is_left = patience.is_of_nobody();
    under_way.spawn_local(async move {
        let longest = origin.longest;
        // Dropped, it leaves its guest without an answer.
        let carrying =
            tokio::time::timeout(longest, Carrying::run(origin, request, counted, is_left));
        #[allow(clippy::disallowed_methods, reason = "`longest` bounds it")]
        {
            tokio::select! {
                biased;
                _ = carrying => {}
                () = patience.ends() => {}
            }
        }
    });
}

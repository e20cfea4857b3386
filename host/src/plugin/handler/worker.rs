//! A handler as one worker asks it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::super::budget::Account;
use super::super::instance::Instance;
use super::super::pool::{InstancePool, Taken};
use super::super::waiting::{CallWatch, HookRequestSender, RequestsUnderWay};
use super::super::worker_role::{CALL_FAILED, FAILED};
use super::answer::{AnswerBody, Answered, CallEnd, Ended, NoAnswer, Set};
use super::request::ClientBody;
use super::shared::SharedHandler;
use super::slot::HandlerSpec;
use super::world::Handler;

/// One worker's way to a [`SharedHandler`]. Stays on its thread.
pub struct WorkerHandler {
    handler: Arc<SharedHandler>,
    pool: Rc<InstancePool<HandlerSpec>>,
    account: Rc<Account>,
    requests_under_way: Rc<RequestsUnderWay>,
}

/// A call under way, until its answer begins.
pub struct Handling {
    /// None once it has come, or will not.
    answer: Option<oneshot::Receiver<Set>>,
    /// None once the answer has it.
    call: Option<CallEnd>,
    /// What measures the call, once an instance is called.
    watch: oneshot::Receiver<CallWatch>,
}

const IN_DEBT: &str = "its budget of the worker's time is used up";
const QUARANTINED: &str = "its plugin is in quarantine";

impl WorkerHandler {
    /// On the worker's thread.
    pub fn attach(handler: &Arc<SharedHandler>) -> Rc<WorkerHandler> {
        wasmtime::Engine::tls_eager_initialize();
        Rc::new(WorkerHandler {
            handler: handler.clone(),
            pool: InstancePool::new(&handler.spec),
            account: Account::of(handler.plugin()),
            requests_under_way: Rc::default(),
        })
    }

    /// What all workers share of it.
    pub fn shared(&self) -> &Arc<SharedHandler> {
        &self.handler
    }

    /// How long it may take until its answer begins, and for each further part of it.
    pub fn longest_wait(&self) -> Duration {
        self.handler.plugin().inner().longest_wait
    }

    /// As [`requests_under_way`](super::super::hook::WorkerHook::requests_under_way).
    pub fn requests_under_way(&self) -> &Rc<RequestsUnderWay> {
        &self.requests_under_way
    }

    /// Has it answer a request. What comes back first tells of the answer while the future is polled,
    /// which is the call itself: to be dropped where nobody wants the answer any more. Requests that
    /// it makes arrive by `requests`.
    pub fn handle(
        self: &Rc<Self>,
        request: http::Request<ClientBody>,
        requests: HookRequestSender,
    ) -> (Handling, impl Future<Output = ()> + use<>) {
        let (answering, answer) = oneshot::channel();
        let (ending, end) = oneshot::channel();
        let (watching, watch) = oneshot::channel();
        let (reading, read) = oneshot::channel();
        let handling = Handling {
            answer: Some(answer),
            call: Some(CallEnd::new(end, reading)),
            watch,
        };
        let this = self.clone();
        let call = async move {
            let called = this.called(request, answering, requests, watching);
            match called.await {
                Ok(left) => {
                    let _ = ending.send(Ended::Returned);
                    if let Some(taken) = left {
                        // Its end would be taken for the end of the answer.
                        let _ = read.await;
                        drop(taken);
                    }
                }
                Err(why) => _ = ending.send(Ended::Failed(why)),
            }
        };
        (handling, call)
    }

    /// The instance, where it has to stay for what it has left open.
    async fn called(
        &self,
        request: http::Request<ClientBody>,
        answer: oneshot::Sender<Set>,
        requests: HookRequestSender,
        watch: oneshot::Sender<CallWatch>,
    ) -> Result<Option<Taken<HandlerSpec>>, &'static str> {
        if self.account.is_in_debt() {
            return Err(IN_DEBT);
        }
        if self.handler.plugin().is_quarantined() {
            return Err(QUARANTINED);
        }
        let mut taken = self.pool.take().await.ok_or(FAILED)?;
        let slot = taken.slot().ok_or(FAILED)?;
        let handled = slot.call_waiting("handle", async |instance: &mut Instance<Handler>| {
            let _ = watch.send(instance.state().call_watch.clone());
            instance.handle(request, answer, requests).await
        });
        let handled = handled.await;
        self.account.pay(slot.take_charge());
        match handled {
            Some(true) => {
                slot.let_go_when_left();
                Ok(Some(taken))
            }
            Some(false) if self.handler.spec.reuse => Ok(None),
            Some(false) => {
                slot.make_another();
                Ok(None)
            }
            None => Err(CALL_FAILED),
        }
    }

    /// To be called from time to time.
    pub fn trim(&self) {
        self.pool.trim();
    }
}

impl Handling {
    /// What it answers, once that has begun.
    ///
    /// # Errors
    /// It does not. To be called no more then.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answered, NoAnswer>> {
        if let Some(answer) = &mut self.answer {
            let set = ready!(Pin::new(answer).poll(cx));
            self.answer = None;
            match set {
                Ok(Ok(response)) => return Poll::Ready(self.answered(response)),
                Ok(Err(error)) => return Poll::Ready(Err(NoAnswer::Error(format!("{error:?}")))),
                // The guest has dropped it, or is gone: its end tells which.
                Err(_) => {}
            }
        }
        let Some(call) = &mut self.call else {
            return Poll::Ready(Err(NoAnswer::Failed));
        };
        let ended = ready!(call.poll(cx));
        Poll::Ready(Err(match (ended, self.watch.try_recv()) {
            (Ended::Returned, _) => NoAnswer::Returned,
            (Ended::Failed(_), Ok(_)) => NoAnswer::Failed,
            (Ended::Failed(why), Err(_)) => NoAnswer::Unasked(why),
        }))
    }

    fn answered(
        &mut self,
        response: http::Response<HyperOutgoingBody>,
    ) -> Result<Answered, NoAnswer> {
        let watch = self.watch.try_recv().map_err(|_| NoAnswer::Failed)?;
        let call = self.call.take().ok_or(NoAnswer::Failed)?;
        watch.renew();
        let (head, body) = response.into_parts();
        Ok(Answered {
            status: head.status,
            headers: head.headers,
            body: AnswerBody::new(body, call, watch),
        })
    }
}

/// As log lines name it.
impl fmt::Display for WorkerHandler {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "component `{}`", self.handler.plugin().name())
    }
}

//! When another endpoint is asked (nginx: `ngx_http_upstream_next` and
//! `ngx_http_upstream_test_next`).

use std::time::{Duration, Instant};

use super::failure::{AttemptError, Failure};
use super::load::Load;
use super::overload::Overload;
use super::retry_budget::RetryBudget;
use crate::config::model::{NextConditions, NextUpstream, RetryBudgetConfig};
use crate::data_plane::process::Clock;
use crate::plugin::Ending;

/// How many attempts an exchange has left, and on what terms.
pub(crate) struct Retry<'a> {
    rules: &'a NextUpstream,
    tries_left: u32,
    began: Instant,
    /// POST, LOCK and PATCH, which are not sent twice unless the configuration says so.
    non_idempotent: bool,
    /// The body is passed on as it arrives, and cannot be sent again.
    streamed: bool,
    /// None where retries are not counted.
    budget: Option<Spending<'a>>,
    /// Why another endpoint is not asked although the rules would have it.
    refusal: Option<Overload>,
}

/// A share of a worker's budget for retries that a request may use.
pub(crate) struct Spending<'a> {
    pub(super) budget: &'a RetryBudget,
    pub(super) config: RetryBudgetConfig,
    pub(super) load: &'a Load,
    pub(super) clock: Clock,
}

/// What a failed attempt means for the endpoint, and whether the next one is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryVerdict {
    pub(crate) ending: Ending,
    pub(crate) again: bool,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(
        rules: &'a NextUpstream,
        tries: u32,
        method: &[u8],
        streamed: bool,
        began: Instant,
        budget: Option<Spending<'a>>,
    ) -> Retry<'a> {
        let non_idempotent = matches!(method, b"POST" | b"LOCK" | b"PATCH");
        Retry {
            rules,
            tries_left: tries,
            began,
            non_idempotent,
            streamed,
            budget,
            refusal: None,
        }
    }

    /// Why no other endpoint is asked, where that is for the budget of retries alone; told once.
    pub(crate) fn take_refusal(&mut self) -> Option<Overload> {
        self.refusal.take()
    }

    /// After an attempt without a usable answer.
    pub(crate) fn after_error(&mut self, error: &AttemptError) -> RetryVerdict {
        use Failure::*;
        let conditions = &self.rules.conditions;
        let (ending, listed) = match &error.failure {
            Connect(_) | Handshake(_) | Send(_) | Closed | Read(_) | Refused => {
                (Ending::Failed, conditions.error)
            }
            ConnectTimeout | HandshakeTimeout | SendTimeout | ReadTimeout => {
                (Ending::Failed, conditions.timeout)
            }
            HeaderTooLarge | InvalidHeader(_) | InvalidFraming(_) | TooManyInterim
            | InvalidBody | InvalidContent(_) | UnaskedUpgrade | WrongWebSocketKey | Http2(_) => {
                (Ending::Failed, conditions.invalid_header)
            }
            // A healthy endpoint may lack the protocol that the client asks for, and another may
            // have it.
            NoExtendedConnect | UpgradeIgnored(_) => {
                (Ending::PassedOver, conditions.invalid_header)
            }
            NoDescriptor(_)
            | TooManyConnections(_)
            | Overload(_)
            | Inexpressible(_)
            | Stopped(_)
            | Request(_)
            | ClientGone => {
                return RetryVerdict {
                    ending: Ending::Abandoned,
                    again: false,
                };
            }
        };
        self.tries_left = self.tries_left.saturating_sub(1);
        let stale = error.cached && matches!(error.failure, Send(_) | Closed | Read(_));
        if stale {
            // An idle connection that its endpoint closed gives the try back.
            self.tries_left += 1;
        }
        let again = listed && self.tries_left > 0 && self.may_send_again(error.request_sent);
        // One that gives the try back is no retry: the endpoint has seen nothing of the request.
        let again = again && (stale || self.spend());
        RetryVerdict { ending, again }
    }

    /// After a response header: what its status means, if anything, where another endpoint can
    /// still be asked. The answer of the last endpoint is passed on whatever it is, and does not
    /// count against it.
    pub(crate) fn after_status(&mut self, status: u16) -> Option<Ending> {
        let (ending, listed) = match (status, &self.rules.conditions) {
            (
                500,
                NextConditions {
                    http_500: listed, ..
                },
            )
            | (
                502,
                NextConditions {
                    http_502: listed, ..
                },
            )
            | (
                503,
                NextConditions {
                    http_503: listed, ..
                },
            )
            | (
                504,
                NextConditions {
                    http_504: listed, ..
                },
            )
            | (
                429,
                NextConditions {
                    http_429: listed, ..
                },
            ) => (Ending::Failed, *listed),
            (
                403,
                NextConditions {
                    http_403: listed, ..
                },
            )
            | (
                404,
                NextConditions {
                    http_404: listed, ..
                },
            ) => (Ending::PassedOver, *listed),
            _ => return None,
        };
        if !listed || self.tries_left <= 1 || !self.may_send_again(true) {
            return None;
        }
        if !self.spend() {
            return None;
        }
        self.tries_left -= 1;
        Some(ending)
    }

    /// Takes a retry out of the budget, if there is one.
    fn spend(&mut self) -> bool {
        let Some(spending) = &self.budget else {
            return true;
        };
        let now = spending.clock.seconds();
        let allowed = spending.budget.retry(&spending.config, now);
        if !allowed {
            let why = Overload::RetryBudget(spending.config.ratio);
            self.refusal = Some(spending.load.refused(why));
        }
        allowed
    }

    fn may_send_again(&self, sent: bool) -> bool {
        let once = self.streamed || (self.non_idempotent && !self.rules.conditions.non_idempotent);
        !(sent && once) && self.time_left() != Some(Duration::ZERO)
    }

    /// In which a new attempt may begin; none where nothing bounds that.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let bound = Some(self.rules.timeout).filter(|timeout| !timeout.is_zero());
        bound.map(|timeout| timeout.saturating_sub(self.began.elapsed()))
    }
}

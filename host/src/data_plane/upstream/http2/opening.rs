//! A new connection of HTTP/2, opened by a task of its own: it belongs to its endpoint, not to the
//! exchange that needed it first, and outlives a client that leaves meanwhile.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::descriptor::DescriptorSource;
use super::super::dial::dial;
use super::super::endpoint::EndpointId;
use super::super::failure::Failure;
use super::super::target::Target;
use super::Http2Connections;
use super::connection::{Driver, Http2Connection, StreamSlot};
use crate::data_plane::stream::{Alarm, StreamError};

/// The duty to open a connection. Those that wait for it are woken when this is dropped.
pub(crate) struct OpeningGuard {
    connections: Rc<RefCell<Http2Connections>>,
    endpoint: EndpointId,
    opening: Rc<Notify>,
}

/// Where the first slot on a new connection is handed over.
type FirstSlot = oneshot::Sender<Result<StreamSlot, Failure>>;

impl OpeningGuard {
    pub(super) fn new(
        connections: Rc<RefCell<Http2Connections>>,
        endpoint: EndpointId,
        opening: Rc<Notify>,
    ) -> OpeningGuard {
        OpeningGuard {
            connections,
            endpoint,
            opening,
        }
    }

    /// Opens the connection, within the target's `connect_timeout`. Answers with the first slot on
    /// it: as soon as a request may be sent (RFC 9113 section 3.4), or, if it has to be `settled`,
    /// once the endpoint has said what it allows. Other exchanges wait for that in any case: more
    /// streams than an endpoint allows are refused.
    ///
    /// # Errors
    /// Those of [`dial`], and [`Failure::Http2`] and [`Failure::Closed`]: it speaks something else.
    pub(crate) async fn open(
        self,
        target: Target,
        descriptors: Rc<dyn DescriptorSource>,
        settled: bool,
    ) -> Result<StreamSlot, Failure> {
        let (first, slot) = oneshot::channel();
        tokio::task::spawn_local(self.run(target, descriptors, settled, first));
        // Without an answer only where the worker ends.
        slot.await.unwrap_or(Err(Failure::Closed))
    }

    async fn run(
        self,
        target: Target,
        descriptors: Rc<dyn DescriptorSource>,
        settled: bool,
        first: FirstSlot,
    ) {
        let due = Instant::now() + target.connect_timeout;
        // The exchange may have left: then it has no use for an answer.
        let (connection, driver) = match self.begin(&target, &*descriptors).await {
            Ok(begun) => begun,
            Err(failure) => return drop(first.send(Err(failure))),
        };
        let first = if settled {
            Some(first)
        } else {
            let slot = StreamSlot::on(&connection, false).ok_or(Failure::Closed);
            drop(first.send(slot));
            None
        };
        let mut alarm = Alarm::default();
        {
            let mut settled = pin!(connection.settled());
            let waited = alarm.poll_until(due, |cx| settled.as_mut().poll(cx));
            if waited.await.is_err() {
                connection.give_up();
            }
        }
        let usable = !connection.is_retired();
        if let Some(first) = first {
            let slot = match usable {
                true => StreamSlot::on(&connection, false).ok_or(Failure::Closed),
                false => Err(why(driver, connection.was_late()).await),
            };
            drop(first.send(slot));
        }
        if usable {
            let mut connections = self.connections.borrow_mut();
            connections.add(self.endpoint, connection);
        }
    }

    async fn begin(
        &self,
        target: &Target,
        descriptors: &dyn DescriptorSource,
    ) -> Result<(Rc<Http2Connection>, Driver), Failure> {
        let dialed = dial(target, descriptors).await?;
        let kept = self.connections.borrow().keeps_idle();
        Http2Connection::begin(dialed, target, kept).await
    }
}

/// Why a connection is of no use.
async fn why(driver: Driver, late: bool) -> Failure {
    if late {
        return Failure::ConnectTimeout;
    }
    match driver.await {
        Ok(Err(error)) => Failure::from(StreamError::from(error)),
        Ok(Ok(())) | Err(_) => Failure::Closed,
    }
}

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        self.connections.borrow_mut().opened(self.endpoint);
        self.opening.notify_waiters();
    }
}

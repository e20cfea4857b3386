//! What plugins share, on a server that speaks the protocol of Redis.
//!
//! One connection for the process, on a thread of its own: whoever asks hands over a command and
//! waits for the answer, each for no longer than `timeout`. While there is no connection nobody waits
//! at all. What was asked and not answered is not asked again: it may have been done.

mod commands; // what is sent, and what the answers mean
mod connect; // a connection that can be used
mod serve; // the thread
mod stream; // its bytes, within a bound

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use redis::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use self::commands::Command;
use super::StoreError;
use super::bucket::Pour;
use crate::config::model::RemoteStore;
use crate::names::Names;

/// Commands that wait for the thread, and those that wait for an answer.
const QUEUE: usize = 1024;

/// A server elsewhere.
pub struct Remote {
    settings: RemoteStore,
    orders: OnceLock<mpsc::Sender<Order>>,
    state: Arc<State>,
}

/// What a thread is asked for.
struct Order {
    command: Command,
    until: Instant,
    answer: oneshot::Sender<Result<Value, StoreError>>,
}

/// How it goes.
#[derive(Default)]
struct State {
    is_connected: AtomicBool,
    asked: AtomicU64,
    failed: AtomicU64,
    error: Mutex<Option<String>>,
}

/// How a server elsewhere does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFigures {
    /// Without its password.
    pub url: String,
    pub is_connected: bool,
    pub asked: u64,
    /// What was not answered, or not in time.
    pub failed: u64,
    /// Why it could not be reached the last time, or what it has refused.
    pub error: Option<String>,
}

impl Remote {
    pub(super) fn new(settings: RemoteStore) -> Remote {
        Remote {
            settings,
            orders: OnceLock::new(),
            state: Arc::default(),
        }
    }

    /// Starts the thread; it ends with the process. Nothing is answered before.
    ///
    /// # Errors
    /// The kernel has none.
    pub(super) fn start(&self, names: Option<Names>) -> std::io::Result<()> {
        let (orders, received) = mpsc::channel(QUEUE);
        let connector = connect::Connector::new(self.settings.clone(), names);
        serve::start(connector, received, self.state.clone())?;
        let _ = self.orders.set(orders);
        Ok(())
    }

    pub(super) fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    pub(super) fn figures(&self) -> RemoteFigures {
        RemoteFigures {
            url: self.settings.to_string(),
            is_connected: self.state.is_connected.load(Relaxed),
            asked: self.state.asked.load(Relaxed),
            failed: self.state.failed.load(Relaxed),
            error: self.state.error.lock().clone(),
        }
    }

    async fn ask(&self, command: Command) -> Result<Value, StoreError> {
        self.state.asked.fetch_add(1, Relaxed);
        let answered = self.answer(command).await;
        if answered == Err(StoreError::Unavailable) {
            self.state.failed.fetch_add(1, Relaxed);
        }
        answered
    }

    async fn answer(&self, command: Command) -> Result<Value, StoreError> {
        let until = Instant::now() + self.settings.timeout;
        let (answer, answered) = oneshot::channel();
        let orders = self.orders.get().ok_or(StoreError::Unavailable)?;
        let order = Order {
            command,
            until,
            answer,
        };
        // A full queue is that of a server which does not keep up.
        orders
            .try_send(order)
            .map_err(|_| StoreError::Unavailable)?;
        let answered = timeout_at(until, answered).await;
        answered.map_or(Err(StoreError::Unavailable), |answered| {
            answered.unwrap_or(Err(StoreError::Unavailable))
        })
    }

    /// An answer that is not what the command has. The server is no Redis.
    fn nonsense(&self) -> StoreError {
        let why = "an answer makes no sense";
        *self.state.error.lock() = Some(why.to_owned());
        self.state.failed.fetch_add(1, Relaxed);
        StoreError::Unavailable
    }

    pub(super) async fn get(&self, name: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        match self.ask(Command::get(&name)).await? {
            Value::Nil => Ok(None),
            Value::BulkString(value) => Ok(Some(value)),
            _ => Err(self.nonsense()),
        }
    }

    pub(super) async fn set(
        &self,
        name: Vec<u8>,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> Result<(), StoreError> {
        match self.ask(Command::set(&name, &value, ttl_ms)).await? {
            Value::Okay => Ok(()),
            _ => Err(self.nonsense()),
        }
    }

    pub(super) async fn add(
        &self,
        name: Vec<u8>,
        amount: i64,
        ttl_ms: u64,
    ) -> Result<i64, StoreError> {
        let sum = self.ask(Command::add(&name, amount, ttl_ms)).await?;
        commands::number(&sum).ok_or_else(|| self.nonsense())
    }

    pub(super) async fn compare_and_swap(
        &self,
        name: Vec<u8>,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> Result<bool, StoreError> {
        let command = Command::swap(&name, expected.as_deref(), &value, ttl_ms);
        self.is_one(command).await
    }

    pub(super) async fn delete(&self, name: Vec<u8>) -> Result<bool, StoreError> {
        self.is_one(Command::delete(&name)).await
    }

    pub(super) async fn fill(&self, name: Vec<u8>, pour: Pour) -> Result<u64, StoreError> {
        let level = self.ask(Command::fill(&name, pour)).await?;
        commands::number(&level).ok_or_else(|| self.nonsense())
    }

    async fn is_one(&self, command: Command) -> Result<bool, StoreError> {
        match self.ask(command).await? {
            Value::Int(number @ (0 | 1)) => Ok(number == 1),
            _ => Err(self.nonsense()),
        }
    }
}

//! The thread: has a connection while one can be had, and answers with it.

use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::commands::{Command, Failure};
use super::connect::{Connected, Connector, PAUSES, in_one_line};
use super::{Order, QUEUE, State};
use crate::store::StoreError;

/// The log tells that there is no connection once in so long a time.
const QUIET: Duration = Duration::from_secs(10);

/// How long an answer may take that nobody waits for any more, while others come.
const SLOW: Duration = Duration::from_secs(10);

/// Starts it.
pub(super) fn start(
    connector: Connector,
    orders: Receiver<Order>,
    state: Arc<State>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name("store".to_owned());
    let mut thread_of_store = Serving {
        connector,
        orders,
        state,
        told: None,
    };
    thread.spawn(move || runtime.block_on(thread_of_store.run()))?;
    Ok(())
}

struct Serving {
    connector: Connector,
    orders: Receiver<Order>,
    state: Arc<State>,
    /// When the log was last told of a failure.
    told: Option<Instant>,
}

impl Serving {
    async fn run(&mut self) {
        // Whoever comes while the first connection is made waits for it; later nobody does.
        let mut pause = PAUSES.0;
        let mut connected = Some(self.connector.connect().await);
        loop {
            let made = match connected.take() {
                Some(made) => made,
                None => {
                    let connecting = self.connector.connect();
                    let made = refusing(&mut self.orders, connecting).await;
                    let ControlFlow::Continue(made) = made else {
                        return;
                    };
                    made
                }
            };
            let why = match made {
                Ok(made) => {
                    self.note_connected();
                    let began = Instant::now();
                    let ControlFlow::Continue(why) = self.answer(made).await else {
                        return;
                    };
                    if began.elapsed() > PAUSES.1 {
                        pause = PAUSES.0;
                    }
                    why
                }
                Err(why) => why,
            };
            self.note_failure(why);
            if refusing(&mut self.orders, sleep(pause)).await.is_break() {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn note_connected(&mut self) {
        self.state.is_connected.store(true, Relaxed);
        let settings = &self.connector.settings;
        if self.told.take().is_some() {
            tracing::info!("the store {settings} answers again");
        }
    }

    fn note_failure(&mut self, why: String) {
        self.state.is_connected.store(false, Relaxed);
        let is_told = |told: Instant| told.elapsed() < QUIET;
        if !self.told.is_some_and(is_told) {
            self.told = Some(Instant::now());
            let settings = &self.connector.settings;
            tracing::error!("the store {settings} does not answer: {why}");
        }
        *self.state.error.lock() = Some(why);
    }

    /// Answers for as long as the connection can be used: why it cannot. Breaks when nobody will ask
    /// any more.
    async fn answer(&mut self, made: Connected) -> ControlFlow<(), String> {
        let Connected {
            connection,
            mut driver,
            allowance,
            hashes,
        } = made;
        let came = Arc::new(AtomicU64::new(0));
        // Dropped with this, and with them the ways to those who wait.
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut driver => break,
                order = self.orders.recv(), if under_way.len() < QUEUE => {
                    let Some(order) = order else {
                        return ControlFlow::Break(());
                    };
                    if order.answer.is_closed() {
                        continue;
                    }
                    allowance.allow_answer();
                    let command = order.command.by_hash(&hashes);
                    let (connection, came) = (connection.clone(), came.clone());
                    under_way.spawn(one(connection, order, command, came));
                }
                Some(ended) = under_way.join_next() => {
                    allowance.allow_no_more_than(under_way.len());
                    match ended {
                        Ok(Ended::Answered) => {}
                        Ok(Ended::Refused(why)) => *self.state.error.lock() = Some(why),
                        Ok(Ended::Broken(why)) => return ControlFlow::Continue(why),
                        Err(panicked) => return ControlFlow::Continue(panicked.to_string()),
                    }
                }
            }
        }
        // Whoever still waits is told at once, and one of them why.
        while let Some(ended) = under_way.join_next().await {
            if let Ok(Ended::Broken(why)) = ended {
                return ControlFlow::Continue(why);
            }
        }
        ControlFlow::Continue("the connection broke".to_owned())
    }
}

/// What became of an order.
enum Ended {
    Answered,
    /// The server would not.
    Refused(String),
    /// The connection cannot be used any more.
    Broken(String),
}

/// Carries out one order, and stays until its answer has come. `came`: how many have.
async fn one(
    mut connection: MultiplexedConnection,
    order: Order,
    command: Cmd,
    came: Arc<AtomicU64>,
) -> Ended {
    let Order {
        command: wanted,
        until,
        answer,
    } = order;
    let before = came.load(Relaxed);
    let mut asking = pin!(ask(&mut connection, &wanted, command));
    let answered = match timeout_at(until, &mut asking).await {
        Ok(answered) => answered,
        Err(_) => {
            let _ = answer.send(Err(StoreError::Unavailable));
            // One that answers others is slow; one that answers nobody may never do so again.
            if came.load(Relaxed) == before {
                return Ended::Broken("no answer in time".to_owned());
            }
            let Ok(answered) = timeout(SLOW, asking).await else {
                return Ended::Broken("an answer is missing".to_owned());
            };
            came.fetch_add(1, Relaxed);
            return match answered {
                Ok(_) => Ended::Answered,
                Err(error) => outcome(&error, &came).1,
            };
        }
    };
    let (answered, ended) = match answered {
        Ok(value) => {
            came.fetch_add(1, Relaxed);
            (Ok(value), Ended::Answered)
        }
        Err(error) => {
            let (refusal, ended) = outcome(&error, &came);
            (Err(refusal), ended)
        }
    };
    // Who has asked may have gone.
    let _ = answer.send(answered);
    ended
}

/// Asks, and once more with its text where a script is gone: the server was told to forget all.
async fn ask(
    connection: &mut MultiplexedConnection,
    wanted: &Command,
    command: Cmd,
) -> RedisResult<Value> {
    let answered = connection.send_packed_command(&command).await;
    let answered = answered.and_then(Value::extract_error);
    match (&answered, wanted.by_text()) {
        (Err(error), Some(text)) if matches!(Failure::of(error), Failure::NoScript) => {
            let answered = connection.send_packed_command(&text).await;
            answered.and_then(Value::extract_error)
        }
        _ => answered,
    }
}

fn outcome(error: &RedisError, came: &AtomicU64) -> (StoreError, Ended) {
    let why = in_one_line(error);
    match Failure::of(error) {
        Failure::Refused(refusal) => {
            came.fetch_add(1, Relaxed);
            let ended = match refusal {
                StoreError::WrongKind => Ended::Answered,
                _ => Ended::Refused(why),
            };
            (refusal, ended)
        }
        Failure::NoScript | Failure::Broken => (StoreError::Unavailable, Ended::Broken(why)),
    }
}

/// Refuses whoever asks until something is done. Breaks when nobody will ask any more.
async fn refusing<T>(
    orders: &mut Receiver<Order>,
    work: impl Future<Output = T>,
) -> ControlFlow<(), T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return ControlFlow::Continue(done),
            order = orders.recv() => match order {
                Some(order) => {
                    let _ = order.answer.send(Err(StoreError::Unavailable));
                }
                None => return ControlFlow::Break(()),
            },
        }
    }
}

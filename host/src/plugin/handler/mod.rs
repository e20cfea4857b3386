//! Handlers: components that answer requests themselves, by the world `wasi:http/proxy` 0.2 that is
//! not ours: what toolchains make of a program that serves HTTP runs as it is.
//!
//! A call of one is as that of a hook that [waits](super::waiting): it runs on a stack of its own, in an
//! instance of the worker's pool, and may ask upstreams. It gets a request with a body that is still
//! coming in ([`ClientBody`]), and says what to answer before it is over: an [`Answered`], whose body
//! it goes on to write ([`AnswerBody`]). Whoever makes the call frames the answer.

mod world; // what makes a plugin one
mod request; // what it is asked
mod answer; // what it answers
mod slot; // an instance that comes back after faults
mod shared; // a handler as all workers share it
mod worker; // and as one worker asks it: start here

pub use self::answer::{AnswerBody, AnswerPart, Answered, NoAnswer, Unfinished};
pub use self::request::{ClientBody, ClientBodyGone, ClientBodySender, client_body};
pub use self::shared::SharedHandler;
pub use self::worker::{Handling, WorkerHandler};

pub(super) use self::world::{Handler, HandlerExports};

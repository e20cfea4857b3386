//! Upstreams that a hook under test asks: a function of the test answers.

use std::cell::RefCell;

use crate::http::{Error, Request, Response};

/// The body of an answer that was not read yet.
pub(crate) type Body = Vec<u8>;

/// What answers a request.
type Upstreams = Box<dyn FnMut(&Request) -> Result<Answer, Error>>;

/// An answer of an upstream that a test makes up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        let name = name.to_ascii_lowercase();
        self.headers.push((name, value.as_bytes().to_vec()));
        self
    }

    pub fn body(mut self, body: &str) -> Answer {
        self.body = body.into();
        self
    }
}

thread_local! {
    static UPSTREAMS: RefCell<Option<Upstreams>> = const { RefCell::new(None) };
}

/// Answers all requests that hooks make on this thread from now on.
pub fn answer_with(upstreams: impl FnMut(&Request) -> Result<Answer, Error> + 'static) {
    UPSTREAMS.set(Some(Box::new(upstreams)));
}

pub(crate) fn send(request: Request) -> Result<Response, Error> {
    let answered = UPSTREAMS.with_borrow_mut(|upstreams| match upstreams {
        Some(upstreams) => upstreams(&request),
        None => Err(Error("there is no such upstream".to_owned())),
    });
    answered.map(|answer| Response {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
    })
}

pub(crate) fn send_and_leave(request: Request) -> Result<(), Error> {
    let _ = send(request);
    Ok(())
}

pub(crate) fn read(body: Body, most: usize) -> Result<Vec<u8>, Error> {
    match body.len() <= most {
        true => Ok(body),
        false => Err(Error("its body is too large".to_owned())),
    }
}

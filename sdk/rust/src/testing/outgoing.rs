//! Upstreams that a hook under test asks: a function of the test answers.

use std::cell::RefCell;

use crate::http::{Error, Request, Response};

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
    let is_wanted = |(name, _): &(String, Vec<u8>)| {
        let wanted = request.wanted_headers.as_ref();
        wanted.is_none_or(|wanted| {
            wanted
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(name))
        })
    };
    let most = usize::try_from(request.wanted_body).unwrap_or(usize::MAX);
    answered.map(|mut answer| Response {
        status: answer.status,
        headers: answer.headers.into_iter().filter(is_wanted).collect(),
        is_whole: answer.body.len() <= most,
        body: answer.body.drain(..answer.body.len().min(most)).collect(),
    })
}

pub(crate) fn send_and_leave(request: Request) -> Result<(), Error> {
    let _ = send(request);
    Ok(())
}

//! One call of a hook: the exchange that it is about, and what the hook can have done about it.

use std::marker::PhantomData;

use crate::exchange::AtHand;
use crate::host::{bodies, changes, checks, variables};
use crate::{Connection, Draws, Exchange, Form, Manner, Request, Response};

/// A phase of an exchange that a hook is asked about.
pub struct Call<'a> {
    /// Names the exchange: no other one under way has this number. The same in all its phases.
    pub exchange: u64,
    /// Which of the places that use the hook: see [`Hook::attach`](crate::Hook::attach).
    pub place: usize,
    /// A monotonic clock in microseconds.
    pub now_us: u64,
    /// In `on_request` a fresh random number, uniform over all 64 bits; 0 in other phases. For more
    /// of them see [`Call::draws`].
    pub random: u64,
    at_hand: AtHand<'a>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(exchange: u64, place: u32, now_us: u64, random: u64) -> Self {
        Call {
            exchange,
            place: place as usize,
            now_us,
            random,
            at_hand: PhantomData,
        }
    }

    /// The request, as hooks before this call have changed it.
    pub fn request(&self) -> Request<'a> {
        Request(self.at_hand)
    }

    /// The response, in `on_response` and `on_end`.
    pub fn response(&self) -> Response<'a> {
        Response(self.at_hand)
    }

    /// The client's connection.
    pub fn connection(&self) -> Connection<'a> {
        Connection(self.at_hand)
    }

    /// What belongs to the exchange: attributes, the hook's key, notes.
    pub fn exchange(&self) -> Exchange<'a> {
        Exchange(self.at_hand)
    }

    /// What the hook may change.
    pub fn changes(&self) -> Changes<'a> {
        Changes(self.at_hand)
    }

    /// Bodies: that the hook wants to see one, and what it makes of it.
    pub fn bodies(&self) -> Bodies<'a> {
        Bodies(self.at_hand)
    }

    /// Work that is too slow for a call, and is answered by [`OnCheck`](crate::OnCheck).
    pub fn checks(&self) -> Checks<'a> {
        Checks(self.at_hand)
    }

    /// Any of nginx's variables by name, without the `$`. `None` where the name is unknown or has
    /// no value for this exchange.
    pub fn variable(&self, name: &str) -> Option<Vec<u8>> {
        variables::variable(name)
    }

    /// As many random numbers as needed, all derived from [`Call::random`].
    pub fn draws(&self) -> Draws {
        Draws::from_seed(self.random)
    }
}

/// Changes of the call at hand. They are made when it has returned: until then the request, the
/// response and attributes are as they were.
///
/// Each function answers whether the change is accepted; if not, the log says why. How messages are
/// framed is the host's: names such as `Content-Length`, `Transfer-Encoding` and `Connection`
/// cannot be changed. Of several calls of `set_method`, `set_path`, `set_query`, `answer`, `delay`,
/// `take_route` or `take_upstream`, the last one that was accepted counts.
///
/// Changes of the request, changes of the response, and attributes may have 64 KiB each, counted
/// over all hooks of an exchange. Each change of a header counts its name, its value and 32 bytes.
/// What is too much for one call is not accepted. What goes beyond only together with changes of
/// earlier calls is accepted, and fails the call: the exchange goes on as if the hook had failed.
/// After `on_response` it is dropped, and the log says so.
#[derive(Clone, Copy)]
pub struct Changes<'a>(AtHand<'a>);

impl Changes<'_> {
    /// In `on_request`: another method (a token, as HTTP has it): not `CONNECT` or `TRACE`, and
    /// neither from nor to `HEAD`.
    pub fn set_method(&self, method: &str) -> bool {
        changes::set_method(method)
    }

    /// In `on_request`: another path, from its slash on, percent-encoded as in a request.
    ///
    /// Behind the hooks of a listener, the route is found by it. A hook of a route answers
    /// [`Verdict::Reroute`](crate::Verdict) to have the route found anew. Else the route stays, and
    /// its server gets the path as it is set, whatever path the route's `proxy` has.
    pub fn set_path(&self, path: &str) -> bool {
        changes::set_path(path)
    }

    /// In `on_request`: another query, without the `?`; an empty one removes it.
    pub fn set_query(&self, query: &str) -> bool {
        changes::set_query(query)
    }

    /// In `on_request`: replaces all values of a request header by one. `Host` is what the server
    /// gets as its authority.
    pub fn set_request_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        changes::set_request_header(name, value.as_ref())
    }

    /// In `on_request`: adds a value beside those there.
    pub fn add_request_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        changes::add_request_header(name, value.as_ref())
    }

    /// In `on_request`: removes all values of a request header.
    pub fn remove_request_header(&self, name: &str) -> bool {
        changes::remove_request_header(name)
    }

    /// Replaces all values of a header of the answer, whichever answer it will be. In `on_request`
    /// as well.
    pub fn set_response_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        changes::set_response_header(name, value.as_ref())
    }

    /// Adds a value to a header of the answer. In `on_request` as well.
    pub fn add_response_header(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        changes::add_response_header(name, value.as_ref())
    }

    /// Removes all values of a header of the answer. In `on_request` as well.
    pub fn remove_response_header(&self, name: &str) -> bool {
        changes::remove_response_header(name)
    }

    /// Sets a named value of the exchange, which the configuration knows as `$hook_NAME` and other
    /// plugins by [`Exchange::attribute`]. Names are of `a-z`, `0-9` and `_`, 64 bytes at most. An
    /// exchange has 32 attributes, and 64 KiB for all names and values; those that were replaced
    /// count as well.
    pub fn set_attribute(&self, name: &str, value: impl AsRef<[u8]>) -> bool {
        changes::set_attribute(name, value.as_ref())
    }

    /// What [`Verdict::Answer`](crate::Verdict) says: a status of 200 to 599, and a body of 65,536
    /// bytes at most, in `text/plain` unless `Content-Type` is set. With an empty body, a status of
    /// 400 or more is answered as an error of the host's own. 444 closes the connection without an
    /// answer.
    pub fn answer(&self, status: u16, body: impl AsRef<[u8]>) -> bool {
        changes::answer(status, body.as_ref())
    }

    /// In `on_request`: go on no sooner than in so many microseconds; an hour at most.
    pub fn delay(&self, us: u64) -> bool {
        changes::delay(us)
    }

    /// The route that [`Verdict::Reroute`](crate::Verdict) leads to, by its `name`. False where
    /// there is none on this listener.
    pub fn take_route(&self, name: &str) -> bool {
        changes::take_route(name)
    }

    /// In `on_request`: the upstream that a route's `proxy` leads to, in place of the one that it
    /// names. False where there is none.
    pub fn take_upstream(&self, name: &str) -> bool {
        changes::take_upstream(name)
    }
}

/// A body that a hook has asked for, or a piece of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// What there is of it: all, where it was wanted as a whole.
    pub bytes: Vec<u8>,
    /// Nothing follows.
    pub last: bool,
}

/// Bodies. A hook asks for one in each exchange whose body it wants to see: what is not asked for
/// costs nothing.
///
/// Framing is the host's: of a message whose body may be another one, it drops or replaces what the
/// headers say of its bytes.
#[derive(Clone, Copy)]
pub struct Bodies<'a>(AtHand<'a>);

impl Bodies<'_> {
    /// In `on_request` and `on_check`: the body of this request, for
    /// [`OnRequestBody`](crate::OnRequestBody). False where the hook does not export that. The last
    /// one that was accepted counts.
    pub fn want_request(&self, manner: Manner) -> bool {
        bodies::want_request_body(manner)
    }

    /// In `on_response`: the body of this answer, for [`OnResponseBody`](crate::OnResponseBody). False
    /// where the hook does not export that. The last one that was accepted counts.
    pub fn want_response(&self, manner: Manner, form: Form) -> bool {
        bodies::want_response_body(manner, form)
    }

    /// What goes on in place of the bytes at hand. None hold them back: what is held back is the
    /// hook's to keep and to give later, with the last piece at the latest. What it gives for one body
    /// may be 64 KiB and 32 times what it was given so far, and 16 MiB at once; it has failed with
    /// more. False with [`Manner::Watch`].
    pub fn set(&self, bytes: impl AsRef<[u8]>) -> bool {
        bodies::set_body(bytes.as_ref())
    }

    /// With the last piece of a request's body: its trailers.
    pub fn trailers(&self) -> Vec<(String, Vec<u8>)> {
        bodies::trailers()
    }
}

/// Work that the host does on threads of its own while other requests go on. One check per call,
/// which then answers [`Verdict::Wait`](crate::Verdict). If a call asks for several, the last one
/// counts. A hook may begin 10 checks for one request; it fails with the next one.
#[derive(Clone, Copy)]
pub struct Checks<'a>(AtHand<'a>);

impl Checks<'_> {
    /// Whether a password belongs to a hash:
    ///
    /// - of bcrypt (`$2a$`, `$2b$`, `$2y$`), with a cost of 4 to 14;
    /// - of argon2 (PHC string format), with a memory `m` of 131,072 KiB at most, `m` times the
    ///   passes `t` of 524,288 at most, and a parallelism `p` of 16 at most;
    /// - of SHA-crypt (`$5$`, `$6$`), with 1,000 to 1,000,000 rounds and a salt of 16 bytes at
    ///   most;
    /// - Apache's `$apr1$`, with a salt of 8 bytes at most, or `{SHA}`.
    ///
    /// Any other hash cannot be checked, and the exchange fails as if the hook had. A password of
    /// more than 512 bytes belongs to none.
    pub fn verify_password(&self, hash: &str, password: impl AsRef<[u8]>) {
        checks::verify_password(hash, password.as_ref());
    }

    /// Why no password can be verified by a hash, in one line of lower case; `None` if one can. In
    /// any call, so that it is told when settings and files are read.
    pub fn problem_of_hash(hash: &str) -> Option<String> {
        checks::check_hash(hash)
    }
}

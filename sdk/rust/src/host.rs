//! What the host answers during a call: the fleet, the request at hand, its exchange and its
//! response.
//!
//! Each question is a call out of the component, some 30 to 100 ns: ask for what you need, and ask
//! once.

/// What answers the questions. In a component the imports themselves, called directly, so that what
/// a policy never asks for is not imported.
#[cfg(target_arch = "wasm32")]
pub(crate) type AtHand<'a> = &'a crate::guest::Imports;
/// What answers the questions: in unit tests, the host that the test has set up.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type AtHand<'a> = &'a dyn Host;

/// The questions themselves. Answered by the real host ([`crate::guest`]) and by the one for unit
/// tests ([`crate::testing`]).
pub(crate) trait Host {
    fn candidates(&self, word: u32) -> u64;
    fn in_flight(&self, index: u32) -> u32;
    fn in_flight_all(&self) -> Vec<u32>;
    fn latency_us(&self, index: u32) -> u32;
    fn fail_timeout(&self, index: u32) -> u64;
    fn method(&self) -> String;
    fn path(&self) -> String;
    fn query(&self) -> String;
    fn header(&self, name: &str) -> Vec<Vec<u8>>;
    fn cookie(&self, name: &str) -> Option<Vec<u8>>;
    fn client_address(&self) -> Vec<u8>;
    fn variable(&self, name: &str) -> Option<Vec<u8>>;
    fn memo(&self) -> u64;
    fn set_memo(&self, value: u64);
    fn add_response_header(&self, name: &str, value: &[u8]);
    fn response_status(&self) -> u16;
    fn response_header(&self, name: &str) -> Vec<Vec<u8>>;
}

/// Which call of a policy reads a variable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadBy {
    Pick,
    Done,
}

/// What is wrong with a variable in a setting: see `variables` in the WIT. Unit tests know no
/// variables.
pub(crate) fn check_variable(name: &str, read_by: ReadBy) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::bindings::policy::waypost::plugin::variables;
        match read_by {
            ReadBy::Pick => variables::check_for_choice(name),
            ReadBy::Done => variables::check(name),
        }
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        let _ = (name, read_by);
        None
    }
}

/// Whether the upstream has `backup` servers. None in unit tests.
pub(crate) fn has_backups() -> bool {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::policy::waypost::plugin::upstream::has_backups();
    #[cfg(not(target_arch = "wasm32"))]
    false
}

/// Whether the upstream carries streams. It does not in unit tests.
pub(crate) fn carries_streams() -> bool {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::policy::waypost::plugin::upstream::carries_streams();
    #[cfg(not(target_arch = "wasm32"))]
    false
}

/// Live figures of the endpoints.
#[derive(Clone, Copy)]
pub struct Fleet<'a>(pub(crate) AtHand<'a>);

impl Fleet<'_> {
    /// See [`Candidates::word`](crate::Candidates::word).
    pub(crate) fn candidates(&self, word: usize) -> u64 {
        self.0.candidates(word as u32)
    }

    /// Attempts in progress at an endpoint, in all workers. 0 for an index that does not exist.
    pub fn in_flight(&self, index: usize) -> u32 {
        self.0.in_flight(index as u32)
    }

    /// [`in_flight`](Fleet::in_flight) of every endpoint, in order: cheaper than single calls from
    /// about five endpoints on.
    pub fn in_flight_all(&self) -> Vec<u32> {
        self.0.in_flight_all()
    }

    /// Average time to an endpoint's response header, in microseconds; 0 until there was one.
    pub fn latency_us(&self, index: usize) -> u32 {
        self.0.latency_us(index as u32)
    }

    /// `fail_timeout` of an endpoint, in whole seconds: the same for as long as an instance lives.
    /// 0 for an index that does not exist.
    pub fn fail_timeout(&self, index: usize) -> u64 {
        self.0.fail_timeout(index as u32)
    }
}

/// The request at hand.
#[derive(Clone, Copy)]
pub struct Request<'a>(pub(crate) AtHand<'a>);

impl Request<'_> {
    /// `GET`, `POST`... as received.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// The target up to the first `?`, as received (not decoded).
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// What follows the first `?`, without it; empty where there is none.
    pub fn query(&self) -> String {
        self.0.query()
    }

    /// All values of a header, in order; the name in any case.
    pub fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.0.header(name)
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        self.0.cookie(name)
    }

    /// The client's address: 4 bytes for IPv4, 16 for IPv6, none for a unix socket.
    pub fn client_address(&self) -> Vec<u8> {
        self.0.client_address()
    }

    /// Any of nginx's variables by name, without the `$`: `request_uri`, `arg_user`,
    /// `http_x_tenant`... `None` where the name is unknown or has no value for this request.
    pub fn variable(&self, name: &str) -> Option<Vec<u8>> {
        self.0.variable(name)
    }
}

/// What belongs to the exchange at hand and lives through its retries.
#[derive(Clone, Copy)]
pub struct Exchange<'a>(pub(crate) AtHand<'a>);

impl Exchange<'_> {
    /// The value last kept during this exchange; 0 in the first attempt.
    pub fn memo(&self) -> u64 {
        self.0.memo()
    }

    /// Keeps a value for the further attempts of this exchange.
    pub fn set_memo(&self, value: u64) {
        self.0.set_memo(value);
    }

    /// Adds a header to the response, should the answer of the attempt being picked reach the
    /// client.
    pub fn add_response_header(&self, name: &str, value: &[u8]) {
        self.0.add_response_header(name, value);
    }
}

/// The response at hand.
#[derive(Clone, Copy)]
pub struct Response<'a>(pub(crate) AtHand<'a>);

impl Response<'_> {
    /// The status code; 0 where no response header arrived.
    pub fn status(&self) -> u16 {
        self.0.response_status()
    }

    /// All values of a header, in order; the name in any case.
    pub fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.0.response_header(name)
    }
}

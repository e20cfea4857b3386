//! Where a variable has a value: what an exchange knows of itself grows while it is under way.

use super::Scope;

/// What is under way when a variable is asked for, named after the place in the file that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `request_headers`: the request was read, and no server was asked yet.
    Request,
    /// A route with `return`: no server is ever asked.
    Return,
    /// `response_headers` of a route with `proxy`: a server's header was read.
    Response,
    /// `access_log`: the exchange has ended.
    Log,
    /// `access_log` of a stream: a session has ended.
    Session,
    /// The policy of a stream: a session has begun, and no server was chosen yet.
    Choice,
}

impl Phase {
    pub const ALL: [Phase; 6] = [
        Phase::Request,
        Phase::Return,
        Phase::Response,
        Phase::Log,
        Phase::Session,
        Phase::Choice,
    ];

    /// The place in the file, in Markdown.
    pub fn place(self) -> &'static str {
        match self {
            Phase::Request => "`request_headers`",
            Phase::Return => "an answer of the proxy itself, as of `return` or `error_pages`",
            Phase::Response => "`response_headers`",
            Phase::Log => "`access_log`",
            Phase::Session => "`access_log` of a stream",
            Phase::Choice => "the policy of a stream",
        }
    }
}

/// A set of phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Phases(u8);

impl Phases {
    /// What is known of every connection.
    pub const ALWAYS: Phases = Phases::of(&Phase::ALL);
    /// What is known of every request.
    pub const REQUESTS: Phases =
        Phases::of(&[Phase::Request, Phase::Return, Phase::Response, Phase::Log]);
    /// What a route with `proxy` says.
    pub(super) const PROXIED: Phases = Phases::of(&[Phase::Request, Phase::Response, Phase::Log]);
    pub(super) const STATUS: Phases =
        Phases::of(&[Phase::Return, Phase::Response, Phase::Log, Phase::Session]);
    /// What is known once a server was connected to.
    pub(super) const CONNECTED: Phases = Phases::of(&[Phase::Response, Phase::Log, Phase::Session]);
    /// What a server's response header says.
    pub(super) const ANSWERED: Phases = Phases::of(&[Phase::Response, Phase::Log]);
    /// What is known once an exchange, or a session, has ended.
    pub(super) const ENDED: Phases = Phases::of(&[Phase::Log, Phase::Session]);
    pub(super) const LOGGED: Phases = Phases::of(&[Phase::Log]);
    pub(super) const SESSIONS: Phases = Phases::of(&[Phase::Session, Phase::Choice]);
    pub(super) const ENDED_SESSIONS: Phases = Phases::of(&[Phase::Session]);

    const fn of(phases: &[Phase]) -> Phases {
        let (mut bits, mut at) = (0, 0);
        while at < phases.len() {
            bits |= 1 << phases[at] as u8;
            at += 1;
        }
        Phases(bits)
    }

    pub const fn contains(self, phase: Phase) -> bool {
        self.0 & 1 << phase as u8 != 0
    }

    /// Those of both.
    pub const fn and(self, other: Phases) -> Phases {
        Phases(self.0 & other.0)
    }

    /// Whether requests, or sessions, have what has a value there.
    pub const fn are_of(self, scope: Scope) -> bool {
        self.contains(match scope {
            Scope::Request => Phase::Log,
            Scope::Session => Phase::Session,
        })
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

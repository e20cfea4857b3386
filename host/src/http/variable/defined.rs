//! Variables that the configuration declares: what is known of one wherever it is named.

use super::{Name, Phase, Phases, Variable};

/// One of `[variable.NAME]`, by its place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Defined {
    /// Index into the definitions of its configuration.
    pub index: u32,
    /// Where all that it is made of has a value.
    pub phases: Phases,
    pub lasting: Lasting,
}

/// How long a value stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lasting {
    /// It may be another one each time that it is asked for.
    Never,
    /// Until another route is taken, or a hook changes the request.
    Route,
    /// Until a hook changes the request.
    Request,
    /// For the whole exchange, or session.
    Exchange,
}

/// What a group of a regex has matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Capture {
    /// `$1` to `$9`.
    Number(u8),
    /// `$name` of `(?<name>...)`.
    Name(Name),
}

impl Variable {
    /// How long its value stays what it is. A time of day counts as the one when it was first asked
    /// for: what is drawn by it, such as a share of all requests, has to hold for the whole exchange.
    pub fn lasting(&self) -> Lasting {
        match self {
            Variable::Defined(defined) => defined.lasting,
            Variable::Host | Variable::ServerName | Variable::Capture(_) => Lasting::Route,
            Variable::RequestMethod
            | Variable::Uri
            | Variable::Args
            | Variable::IsArgs
            | Variable::RemoteUser
            | Variable::ContentLength
            | Variable::ContentType
            | Variable::ProxyAddXForwardedFor
            | Variable::Header(_)
            | Variable::Argument(_)
            | Variable::Cookie(_) => Lasting::Request,
            Variable::RequestLength
            | Variable::RequestTime
            | Variable::ConnectionTime
            | Variable::SessionTime
            | Variable::HookAttribute(_)
            | Variable::Named(_) => Lasting::Never,
            variable => {
                let has_value = |phase| variable.has_value_in(phase);
                let from_the_start = has_value(Phase::Request) && has_value(Phase::Return)
                    || has_value(Phase::Choice);
                match from_the_start {
                    true => Lasting::Exchange,
                    false => Lasting::Never,
                }
            }
        }
    }
}

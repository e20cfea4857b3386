//! `sticky`: keeps a client on its server (`ngx_http_upstream_sticky_module.c`, free since nginx
//! 1.29.6).
//!
//! Three ways to know the server: a `cookie` that this policy sets itself; a `route` that the
//! application puts into a variable; or sessions that it `learn`s from responses. A client without
//! a server, or whose server is no candidate, gets one by turns. One instance for the whole
//! process, for the turns and for the sessions.
//!
//! A server's id is its `route` where it has one, else the hex MD5 of its socket address. Several
//! servers may share a route: the first candidate among them is taken.

mod cookie;
mod learn;
mod shared;
mod servers;

#[cfg(any(fuzzing, test))]
pub mod fuzz;

use waypost_sdk::{
    About, Describe, Done, Endpoint, Failures, Keeper, Observer, Pick, Policy, Request, Schema,
    Settings, SettingsError, Sharing, SmoothWeighted, StateReader, StateWriter,
};

use cookie::Cookie;
use learn::Learn;
use servers::Servers;

/// The state's format: the turns as [`SmoothWeighted`] writes them, then the sessions, if there are
/// any to learn.
const FORMAT: u8 = 1;

/// What keeps a client of a stream at its server.
const INSTEAD_FOR_STREAMS: &str =
    "keep a client at its server with `ip_hash`, or `hash` and `key = \"$remote_addr\"`";

/// Clients stay where they were.
pub struct Sticky {
    mode: Mode,
    servers: Servers,
    turns: SmoothWeighted,
}

/// How a client's server is known.
enum Mode {
    Cookie(Cookie),
    /// The variables that may name it; the first with a value counts.
    Route(Vec<String>),
    Learn(Learn),
}

impl Policy for Sticky {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams(INSTEAD_FOR_STREAMS)?;
        let cookie = settings.table("cookie")?;
        let route = settings.variables("route")?;
        let learn = settings.table("learn")?;
        let mode = match (cookie, route.is_empty(), learn) {
            (Some(cookie), true, None) => Mode::Cookie(Cookie::configure(cookie)?),
            (None, false, None) => Mode::Route(route),
            (None, true, Some(learn)) => Mode::Learn(Learn::configure(learn)?),
            _ => {
                return Err(settings.error(
                    "",
                    "exactly one of `cookie`, `route` and `learn` must be given",
                ));
            }
        };
        settings.finish()?;
        Ok(Sticky {
            mode,
            servers: Servers::default(),
            turns: SmoothWeighted::default(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.servers = Servers::new(&endpoints);
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let request = pick.request();
        let hint = match &mut self.mode {
            Mode::Cookie(cookie) => {
                let id = request.cookie(cookie.name());
                id.and_then(|id| self.servers.find(&id, pick.candidates()))
            }
            Mode::Route(names) => {
                let id = first_value(names, request);
                id.and_then(|id| self.servers.find(&id, pick.candidates()))
            }
            Mode::Learn(learn) => {
                let id = learn.server_of(pick);
                id.and_then(|id| self.servers.find(id.as_bytes(), pick.candidates()))
            }
        };
        let choice = self.turns.pick_hinted(pick.candidates(), hint)?;
        if let Mode::Cookie(cookie) = &self.mode {
            // Each time, as nginx does, not just when it changes: that is what moves `expires` on.
            pick.add_response_header(
                "Set-Cookie",
                &cookie.render(self.servers.id(choice)?, request),
            );
        }
        Some(choice)
    }
}

impl Failures for Sticky {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

impl Observer for Sticky {
    fn done(&mut self, done: &Done) {
        if let Mode::Learn(learn) = &mut self.mode
            && let Some(id) = self.servers.id(done.index)
        {
            learn.done(done, id);
        }
    }
}

impl Keeper for Sticky {
    fn export_state(&self) -> Vec<u8> {
        let mut state = StateWriter::new(FORMAT);
        state.bytes(&self.turns.export_state());
        if let Mode::Learn(learn) = &self.mode {
            learn.export(&mut state);
        }
        state.finish()
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let mut state = StateReader::new(state);
        state.format(&[FORMAT])?;
        let turns = state.bytes()?;
        let sessions = learn::read(&mut state)?;
        self.turns.import_state(turns)?;
        if let (Mode::Learn(learn), Some(sessions)) = (&mut self.mode, sessions) {
            learn.import(&sessions);
        }
        Ok(())
    }
}

/// The first value of several variables that is there and not empty.
fn first_value(names: &[String], request: Request) -> Option<Vec<u8>> {
    names
        .iter()
        .filter_map(|name| request.variable(name))
        .find(|value| !value.is_empty())
}

impl Describe for Sticky {
    fn describe() -> About {
        About::new("keeps a client at its server: by a cookie, a route or a session")
            .no_streams()
            .settings(
                Schema::new()
                    .table(
                        "cookie",
                        "a cookie that Waypost sets names the server",
                        Cookie::schema(),
                    )
                    .variables("route", "variables that name the server by its `route`")
                    .table(
                        "learn",
                        "sessions are learned from responses",
                        Learn::schema(),
                    ),
            )
    }
}

waypost_sdk::export!(Sticky, failures, observer, keeper, describe);

#[cfg(test)]
mod tests;

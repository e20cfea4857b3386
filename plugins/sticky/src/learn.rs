//! Sessions learned from responses: which server a session was created on, or last served by.
//!
//! A session is learned when the attempt that created it has ended (nginx, without its option
//! `header`, does the same). The table is bounded: 4,000 sessions for each megabyte of `zone`, and
//! the one that was quiet longest makes room. The next instance takes over as many sessions as fit
//! into a state, those in use last before all others.
//!
//! Sessions in the store ([`crate::shared`]) outlive instances, and its own bound is theirs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use waypost_sdk::{Done, Ending, Pick, Schema, Settings, SettingsError, StateReader, StateWriter};

use crate::first_value;
use crate::shared::SharedSessions;

/// As nginx's documentation promises for a 64-bit platform; a session takes about 100 bytes here.
const SESSIONS_PER_MEGABYTE: u64 = 4000;

/// More would not fit into the 16 MiB that a plugin has unless its limit was raised.
const LARGEST_ZONE: u64 = 32 << 20;

/// As nginx's: eight pages.
const SMALLEST_ZONE: u64 = 32 << 10;

/// Bytes of state after which the older sessions are left out: some 40,000 are in. The host carries
/// 1 MiB.
const MOST_STATE: usize = 900 << 10;

/// The sessions, and where their ids are found.
pub(crate) struct Learn {
    /// Variables that hold the id of a new session: of the response, mostly.
    create: Vec<String>,
    /// Variables that hold the id of an existing session: of the request.
    lookup: Vec<String>,
    sessions: Table,
}

/// Where sessions are kept.
enum Table {
    Own(Sessions),
    Shared(SharedSessions),
}

/// The MD5 of a session's id: an id may be of any length.
pub(crate) type Key = [u8; 16];

struct Sessions {
    /// How long a session lives after its last use.
    timeout_us: u64,
    capacity: usize,
    by_key: BTreeMap<Key, Session>,
    by_end: BTreeSet<(u64, Key)>,
    /// The latest that was seen of the clock.
    now_us: u64,
}

struct Session {
    server: Rc<str>,
    /// When it is forgotten.
    end_us: u64,
}

/// What a state says of sessions.
pub(crate) struct Kept<'a> {
    /// When it was written, by the clock that all instances are given.
    now_us: u64,
    /// Those in use last come first: key, server, and the microseconds that were left.
    sessions: Vec<(Key, &'a str, u64)>,
}

impl Learn {
    /// The table `learn`.
    pub(crate) fn schema() -> Schema {
        Schema::new()
            .variables("create", "where a response names a new session")
            .required()
            .variables("lookup", "where a request names its session")
            .required()
            .duration(
                "timeout",
                "a session without a request for so long is forgotten",
            )
            .size(
                "zone",
                "4,000 sessions for each megabyte, from 32k to 32m; needed unless they are in the store",
            )
            .flag("store", "sessions are in the store, by the upstream's name")
    }

    /// Reads the table `learn`.
    pub(crate) fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let create = settings.variables_of_answer("create")?;
        let lookup = settings.variables("lookup")?;
        let timeout = settings
            .duration("timeout")?
            .unwrap_or(std::time::Duration::from_secs(600));
        let zone = settings.size("zone")?;
        let is_shared = settings.flag("store")?;
        for (key, names) in [("create", &create), ("lookup", &lookup)] {
            if names.is_empty() {
                return Err(settings.missing(key));
            }
        }
        if timeout.is_zero() {
            return Err(settings.error("timeout", "`timeout` must be longer than nothing"));
        }
        let sessions = match (is_shared, zone) {
            (true, None) => Table::Shared(SharedSessions::new(&settings, timeout)?),
            (true, Some(_)) => {
                return Err(settings.error(
                    "zone",
                    "sessions in the store have the room that `[store] size` says: leave it out",
                ));
            }
            (false, None) => return Err(settings.missing("zone")),
            (false, Some(zone)) if (SMALLEST_ZONE..=LARGEST_ZONE).contains(&zone) => {
                Table::Own(Sessions {
                    timeout_us: timeout.as_micros() as u64,
                    capacity: ((zone * SESSIONS_PER_MEGABYTE) >> 20) as usize,
                    by_key: BTreeMap::new(),
                    by_end: BTreeSet::new(),
                    now_us: 0,
                })
            }
            (false, Some(_)) => {
                return Err(settings.error(
                    "zone",
                    "`zone` must be between \"32k\" and \"32m\": 4,000 sessions a megabyte",
                ));
            }
        };
        settings.finish()?;
        Ok(Learn {
            create,
            lookup,
            sessions,
        })
    }

    /// The id of the server that the request's session is bound to.
    pub(crate) fn server_of(&mut self, pick: &Pick) -> Option<Rc<str>> {
        let sessions = match &mut self.sessions {
            Table::Shared(sessions) => {
                let id = first_value(&self.lookup, pick.request())?;
                return sessions.find(&md5::compute(id).0, pick.now_us);
            }
            Table::Own(sessions) => sessions,
        };
        // `done` brings no clock: the time of the pick plus the time that the attempt took is as
        // good.
        pick.set_memo(pick.now_us);
        sessions.now_us = sessions.now_us.max(pick.now_us);
        let id = first_value(&self.lookup, pick.request())?;
        sessions.find(&md5::compute(id).0, pick.now_us)
    }

    /// Learns from a response, or notes that a session is in use.
    pub(crate) fn done(&mut self, done: &Done, server: &Rc<str>) {
        match done.outcome.ending {
            Ending::Completed | Ending::Abandoned => {}
            Ending::Failed | Ending::PassedOver | Ending::Unused => return,
        }
        let created = self
            .create
            .iter()
            .filter_map(|name| response_variable(done, name))
            .find(|value| !value.is_empty());
        let is_new = created.is_some();
        let id = created.or_else(|| first_value(&self.lookup, done.request()));
        let key = id.map(|id| md5::compute(id).0);
        let sessions = match &mut self.sessions {
            Table::Shared(sessions) => {
                if let Some(key) = key {
                    sessions.bind(&key, server, is_new);
                }
                return;
            }
            Table::Own(sessions) => sessions,
        };
        let now_us = done.memo() + u64::from(done.outcome.total_us);
        sessions.now_us = sessions.now_us.max(now_us);
        if let Some(key) = key
            && (is_new || sessions.by_key.contains_key(&key))
        {
            sessions.bind(key, server, now_us);
        }
    }
}

impl Learn {
    /// Adds the sessions to a state: see [`read`].
    pub(crate) fn export(&self, state: &mut StateWriter) {
        let Table::Own(Sessions {
            by_key,
            by_end,
            now_us,
            ..
        }) = &self.sessions
        else {
            return;
        };
        state.number(*now_us);
        let mut names = BTreeMap::new();
        for (end_us, key) in by_end.iter().rev() {
            let left_us = end_us.saturating_sub(*now_us);
            if left_us == 0 || state.len() > MOST_STATE {
                break;
            }
            let Some(session) = by_key.get(key) else {
                continue;
            };
            state.bytes(key);
            state.number(left_us);
            let next = names.len() as u64;
            match names.entry(&session.server) {
                Entry::Occupied(name) => state.number(*name.get()),
                Entry::Vacant(name) => {
                    state.number(*name.insert(next));
                    state.text(&session.server);
                }
            }
        }
    }

    /// Takes over the sessions of a state, which begin with those in use last, as many as there is
    /// room for.
    pub(crate) fn import(&mut self, kept: &Kept) {
        let Table::Own(sessions) = &mut self.sessions else {
            return;
        };
        let mut names = BTreeMap::new();
        sessions.now_us = sessions.now_us.max(kept.now_us);
        for &(key, name, left_us) in kept.sessions.iter().take(sessions.capacity) {
            let server = names.entry(name).or_insert_with(|| Rc::from(name));
            // The timeout may be another one now.
            let end_us = kept.now_us.saturating_add(left_us.min(sessions.timeout_us));
            sessions.insert(key, Rc::clone(server), end_us);
        }
    }

    /// How many sessions are remembered.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        match &self.sessions {
            Table::Own(sessions) => sessions.by_key.len(),
            Table::Shared(_) => 0,
        }
    }
}

/// The rest of a state: nothing, or the time, then for each session its key, the time that is left,
/// and the number of its server, which is followed by the server's id where it is a new one.
pub(crate) fn read<'a>(state: &mut StateReader<'a>) -> Result<Option<Kept<'a>>, String> {
    if state.is_empty() {
        return Ok(None);
    }
    let now_us = state.number()?;
    let mut names = Vec::new();
    let mut sessions = Vec::new();
    while !state.is_empty() {
        let key = state.bytes()?.try_into();
        let key = key.map_err(|_| "the state holds a session without its key")?;
        let (left_us, number) = (state.number()?, state.number()?);
        if number == names.len() as u64 {
            names.push(state.text()?);
        }
        let name = usize::try_from(number)
            .ok()
            .and_then(|number| names.get(number));
        let name = name.ok_or("the state holds a session without its server")?;
        sessions.push((key, *name, left_us));
    }
    Ok(Some(Kept { now_us, sessions }))
}

impl Sessions {
    fn find(&self, key: &Key, now_us: u64) -> Option<Rc<str>> {
        let session = self.by_key.get(key)?;
        (session.end_us > now_us).then(|| Rc::clone(&session.server))
    }

    fn bind(&mut self, key: Key, server: &Rc<str>, now_us: u64) {
        self.insert(
            key,
            Rc::clone(server),
            now_us.saturating_add(self.timeout_us),
        );
        while let Some(&(end_us, oldest)) = self.by_end.first()
            && (end_us <= now_us || self.by_key.len() > self.capacity)
        {
            self.by_end.pop_first();
            self.by_key.remove(&oldest);
        }
    }

    fn insert(&mut self, key: Key, server: Rc<str>, end_us: u64) {
        if let Some(old) = self.by_key.insert(key, Session { server, end_us }) {
            self.by_end.remove(&(old.end_us, key));
        }
        self.by_end.insert((end_us, key));
    }
}

/// `$upstream_cookie_*` and `$upstream_http_*` from the response at hand; anything else is a
/// variable of the request.
fn response_variable(done: &Done, name: &str) -> Option<Vec<u8>> {
    if let Some(cookie) = name.strip_prefix("upstream_cookie_") {
        let headers = done.response().header_all("set-cookie");
        return headers
            .iter()
            .find_map(|header| cookie_value(header, cookie))
            .map(<[u8]>::to_vec);
    }
    if let Some(header) = name.strip_prefix("upstream_http_") {
        let values = done.response().header_all(&header.replace('_', "-"));
        return (!values.is_empty()).then(|| values.join(b", ".as_slice()));
    }
    done.request().variable(name)
}

/// The value in a `Set-Cookie` header, if it is of this cookie; the name in any case
/// (`ngx_http_parse_set_cookie_lines`).
fn cookie_value<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (start, rest) = header.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let value = rest
        .trim_ascii_start()
        .strip_prefix(b"=")?
        .trim_ascii_start();
    Some(value.split(|&byte| byte == b';').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::cookie_value;

    #[test]
    fn a_cookie_is_read_out_of_its_header() {
        assert_eq!(
            cookie_value(b"sid=abc; path=/", "SID"),
            Some(b"abc".as_slice())
        );
        assert_eq!(cookie_value(b"sid = abc", "sid"), Some(b"abc".as_slice()));
        assert_eq!(cookie_value(b"sid2=abc", "sid"), None);
        assert_eq!(cookie_value(b"s", "sid"), None);
    }
}

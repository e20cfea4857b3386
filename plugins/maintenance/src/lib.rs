//! `maintenance`: answers with a page (503 unless told otherwise) instead of letting requests in:
//! always, while a file exists, or from one time to another. Clients of some networks, and some
//! paths, pass all the same.
//!
//! While none of this is so, a request costs a look at two flags, and with a schedule one at the
//! clock. Nothing depends on earlier requests, so each worker has an instance.

mod page;
mod timestamp;

use waypost_sdk::{
    About, Call, Describe, FileChanges, Hook, Network, OnRequest, Schema, Settings, SettingsError,
    Sharing, Verdict, clock, files,
};

use page::Page;

/// Keeps requests out for a while.
pub struct Maintenance {
    on: bool,
    flag: Option<Flag>,
    schedule: Option<Schedule>,
    page: Page,
    status: u16,
    /// In seconds.
    retry_after: Option<u64>,
    allowed: Vec<Network>,
    allowed_paths: Vec<String>,
}

/// A file whose existence counts, of whatever kind and size it is.
struct Flag {
    path: String,
    exists: bool,
}

impl Flag {
    fn at(path: String) -> Flag {
        let exists = files::is_there(&path);
        Flag { path, exists }
    }
}

/// In milliseconds since 1970-01-01 UTC: from the first on, and before the second.
#[derive(Clone, Copy)]
struct Schedule {
    from: u64,
    until: u64,
}

impl Hook for Maintenance {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let on = settings.optional_flag("on")?;
        let flag = settings.text("flag_file")?.map(Flag::at);
        if flag.as_ref().is_some_and(|flag| flag.path.is_empty()) {
            return Err(settings.error("flag_file", "`flag_file` must be the path of a file"));
        }
        let schedule = Schedule::configure(&mut settings)?;
        let page = Page::configure(&mut settings)?;
        let status = settings.number_within("status", 400..=599)?.unwrap_or(503);
        if status == 444 && !page.is_empty() {
            let message = "with `status = 444` there is no answer: leave the page out";
            return Err(settings.error("status", message));
        }
        let retry_after = settings.duration("retry_after")?;
        let allowed = settings.networks("allow")?;
        let allowed_paths = settings.texts("allow_paths")?;
        if let Some(path) = allowed_paths.iter().find(|path| !path.starts_with('/')) {
            let message = format!("`{path}` must begin with `/`");
            return Err(settings.error("allow_paths", &message));
        }
        settings.finish()?;
        if on.is_none() && flag.is_none() && schedule.is_none() {
            let message = "nothing says when: set `on`, `flag_file`, or `from` and `until`";
            return Err(SettingsError::new("", message));
        }
        Ok(Maintenance {
            on: on.unwrap_or(false),
            flag,
            schedule,
            page,
            status: u16::try_from(status).unwrap_or(503),
            retry_after: retry_after.map(|duration| duration.as_secs()),
            allowed,
            allowed_paths,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl Schedule {
    fn configure(settings: &mut Settings) -> Result<Option<Self>, SettingsError> {
        let mut time = |key: &'static str| match settings.text(key)? {
            None => Ok(None),
            Some(text) => match timestamp::parse(&text) {
                Some(wall_ms) => Ok(Some(wall_ms)),
                None => Err(settings.error(
                    key,
                    &format!(
                        "`{text}` must be a time such as \"2026-12-24T22:00:00Z\" or \
                              \"2026-12-24T23:00:00+01:00\""
                    ),
                )),
            },
        };
        let (from, until) = (time("from")?, time("until")?);
        if from.is_none() && until.is_none() {
            return Ok(None);
        }
        let schedule = Schedule {
            from: from.unwrap_or(0),
            until: until.unwrap_or(u64::MAX),
        };
        match schedule.from < schedule.until {
            true => Ok(Some(schedule)),
            false => Err(settings.error("until", "`until` must be later than `from`")),
        }
    }

    fn is_now(self, wall_ms: u64) -> bool {
        (self.from..self.until).contains(&wall_ms)
    }
}

/// Whether requests are kept out at this moment.
enum State {
    Open,
    Closed {
        /// Milliseconds until it ends, where that is known.
        left: Option<u64>,
    },
}

impl OnRequest for Maintenance {
    fn on_request(&mut self, call: &Call) -> Verdict {
        match self.state() {
            State::Closed { left } if !self.is_allowed(call) => {
                self.answer(call, left);
                Verdict::Answer
            }
            State::Open | State::Closed { .. } => Verdict::Proceed,
        }
    }
}

impl Maintenance {
    fn state(&self) -> State {
        if self.on || self.flag.as_ref().is_some_and(|flag| flag.exists) {
            return State::Closed { left: None };
        }
        let Some(schedule) = self.schedule else {
            return State::Open;
        };
        let now = clock::wall_ms();
        match schedule.is_now(now) {
            true => State::Closed {
                left: (schedule.until != u64::MAX).then(|| schedule.until - now),
            },
            false => State::Open,
        }
    }

    fn is_allowed(&self, call: &Call) -> bool {
        if !self.allowed.is_empty() {
            let client = call.connection().client_address();
            if self.allowed.iter().any(|network| network.contains(client)) {
                return true;
            }
        }
        if self.allowed_paths.is_empty() {
            return false;
        }
        let path = call.request().decoded_path();
        let mut allowed = self.allowed_paths.iter();
        allowed.any(|allowed| is_at_or_below(&path, allowed))
    }

    fn answer(&self, call: &Call, left_ms: Option<u64>) {
        let changes = call.changes();
        let left = left_ms.map(|ms| ms.div_ceil(1000));
        if let Some(seconds) = self.retry_after.or(left) {
            changes.set_response_header("Retry-After", seconds.to_string());
        }
        // Error pages must not outlive the maintenance in a cache (RFC 9111, section 5.2.2.5).
        changes.set_response_header("Cache-Control", "no-store");
        if !self.page.is_empty() {
            changes.set_response_header("Content-Type", self.page.content_type());
        }
        changes.answer(self.status, self.page.body());
    }
}

/// `/health` allows `/health` and what is below `/health/`, and not `/healthy`; with a slash at its
/// end only what is below.
fn is_at_or_below(path: &str, allowed: &str) -> bool {
    match path.strip_prefix(allowed) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || allowed.ends_with('/'),
        None => false,
    }
}

impl FileChanges for Maintenance {
    fn changed(&mut self, path: &str, content: Option<&[u8]>) {
        if let Some(flag) = self.flag.as_mut().filter(|flag| flag.path == path) {
            flag.exists = files::is_there(path);
        }
        self.page.file_changed(path, content);
    }
}

impl Describe for Maintenance {
    fn describe() -> About {
        About::new("a page instead of the site, for a while")
            .settings(
                Schema::new()
                    .flag("on", "always")
                    .text("flag_file", "while this file exists")
                    .text("from", "from this time on (RFC 3339)")
                    .text("until", "until this time (RFC 3339)")
                    .text("page", "the body of the answer")
                    .text("page_file", "a file with the body of the answer")
                    .text("content_type", "the body's media type")
                    .number("status", "the status of the answer", 400..=599)
                    .duration("retry_after", "when clients are to try again")
                    .texts("allow", "networks of clients that pass")
                    .texts("allow_paths", "paths that pass, with what is below them"),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(Maintenance, on_request, file_changes, describe);

#[cfg(test)]
mod tests;

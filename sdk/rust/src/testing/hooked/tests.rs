//! A hook that does a little of everything, as a test of a hook sees it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Hooked, Request, Response, Services};
use crate::log::{self, Level};
use crate::metrics::Counter;
use crate::{
    Call, File, FileChanges, Hook, OnCheck, OnEnd, OnRequest, OnResponse, Settings, SettingsError,
    Sharing, Summary, Ticker, Verdict, clock,
};

/// Turns away all but one name, which is in a file, after a check of the password.
struct Door {
    guest: File,
    asked: Counter,
    status: Vec<u64>,
    ends: Vec<u16>,
}

impl Hook for Door {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let guest = settings.file("guest")?;
        let guest = guest.ok_or_else(|| settings.missing("guest"))?;
        settings.finish()?;
        Ok(Door {
            guest,
            asked: Counter::named("asked"),
            status: Vec::new(),
            ends: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerKey("$arg_name".to_owned())
    }

    fn attach(&mut self, place: usize, mut settings: Settings) -> Result<(), SettingsError> {
        assert_eq!(place, self.status.len());
        let status = settings.number_within("status", 400..=499)?;
        self.status.push(status.unwrap_or(401));
        settings.finish()
    }
}

impl OnRequest for Door {
    fn on_request(&mut self, call: &Call) -> Verdict {
        self.asked.add(1);
        let changes = call.changes();
        if self.guest.content.as_deref() != Some(call.exchange().key().as_slice()) {
            log::exchange(Level::Info, "turned away");
            changes.answer(self.status[call.place] as u16, "no");
            return Verdict::Answer;
        }
        assert!(
            !changes.set_request_header("Content-Length", "7"),
            "it is the host's"
        );
        assert!(
            !changes.set_response_header("X-Line", "a\r\nb"),
            "it is no value"
        );
        assert!(!changes.take_route("cellar"), "there is no such route");
        changes.set_path("/hall");
        changes.set_request_header("X-Now", clock::wall_ms().to_string());
        changes.add_response_header("X-Seen", "request");
        call.checks().verify_password("hash", "secret");
        Verdict::Wait
    }
}

impl OnCheck for Door {
    fn on_check(&mut self, call: &Call, passed: bool) -> Verdict {
        assert_eq!(call.request().path(), "/hall");
        call.changes().set_attribute("passed", passed.to_string());
        call.changes().take_route("hall");
        call.changes().delay(1_000_000);
        Verdict::Reroute
    }
}

impl OnResponse for Door {
    fn on_response(&mut self, call: &Call) {
        assert_eq!(
            call.exchange().attribute("passed").as_deref(),
            Some(b"true".as_slice())
        );
        assert_eq!(
            call.response().header("Server").as_deref(),
            Some(b"x".as_slice())
        );
        call.changes().remove_response_header("server");
        call.changes().add_response_header("X-Seen", "response");
    }
}

impl OnEnd for Door {
    fn on_end(&mut self, _: &Call, summary: &Summary) {
        self.ends.push(summary.status);
    }
}

impl FileChanges for Door {
    fn changed(&mut self, path: &str, content: Option<&[u8]>) {
        assert_eq!(path, self.guest.path);
        self.guest.content = content.map(<[u8]>::to_vec);
    }
}

impl Ticker for Door {
    fn tick(&mut self, now_us: u64) -> u32 {
        (now_us / 1000) as u32
    }
}

crate::export_hook!(
    Door,
    on_request,
    on_check,
    on_response,
    on_end,
    ticker,
    file_changes
);

fn door() -> Hooked<Door> {
    let services = Services::new()
        .file("guest.txt", "ann")
        .wall_ms(1_000)
        .routes(&["hall"]);
    let settings = r#"{"guest": "guest.txt"}"#;
    Hooked::with(services, settings, &["{}", r#"{"status": 403}"#]).unwrap()
}

#[test]
fn a_test_sees_all_that_a_hook_changes() {
    let mut door = door();
    let request = Request::new("GET", "/?name=ann").header("X-Now", "then");
    let mut exchange = door.exchange(request);
    assert_eq!(door.on_request(&mut exchange), Verdict::Wait);
    let check = exchange.changed().check.as_ref();
    assert_eq!(check, Some(&("hash".to_owned(), b"secret".to_vec())));
    assert_eq!(door.on_check(&mut exchange, true), Verdict::Reroute);
    assert_eq!(exchange.target(), "/hall?name=ann");
    assert_eq!(exchange.request_header("x-now"), ["1000"]);
    assert_eq!(exchange.attribute("passed").as_deref(), Some("true"));
    assert_eq!(exchange.changed().route.as_deref(), Some("hall"));
    assert_eq!(exchange.changed().delay_us, 1_000_000);
    door.on_response(&mut exchange, Response::status(200).header("Server", "x"));
    assert_eq!(exchange.response_header("X-Seen"), ["request", "response"]);
    assert!(exchange.response_header("Server").is_empty());
    door.on_end(exchange, 200);
    assert_eq!(door.hook.ends, [200]);
}

#[test]
fn places_and_exchanges_are_told_apart() {
    let mut door = door();
    let mut first = door.exchange(Request::get("/?name=bob"));
    let mut second = door.exchange_at(1, Request::get("/"));
    assert_eq!(door.on_request(&mut second), Verdict::Answer);
    assert_eq!(door.on_request(&mut first), Verdict::Answer);
    assert_eq!(second.answer(), Some((403, "no")));
    assert_eq!(first.answer(), Some((401, "no")));
    assert_eq!(door.counter("asked"), 2);
    assert_eq!(door.log_lines().len(), 2);
    assert!(door.log_lines().is_empty());
}

#[test]
fn files_and_time_move_when_a_test_says_so() {
    let mut door = door();
    door.change_file("guest.txt", Some("bob"));
    let mut exchange = door.exchange(Request::get("/?name=bob"));
    assert_eq!(door.on_request(&mut exchange), Verdict::Wait);
    door.change_file("guest.txt", None);
    let mut exchange = door.exchange(Request::get("/?name=bob"));
    assert_eq!(door.on_request(&mut exchange), Verdict::Answer);
    door.pass_us(5_000);
    assert_eq!(door.tick(), 1_005);
}

#[test]
fn what_is_wrong_with_settings_and_files_is_told() {
    let of = |services: Services, place: &str| {
        let hooked = Hooked::<Door>::with(services, r#"{"guest": "guest.txt"}"#, &[place]);
        hooked.err().unwrap().message
    };
    let unreadable = Services::new().unreadable("guest.txt", "permission denied");
    assert_eq!(
        of(unreadable, "{}"),
        "cannot read `guest.txt`: permission denied"
    );
    let status = of(Services::new(), r#"{"status": 500}"#);
    assert_eq!(status, "`status` must be a whole number from 400 to 499");
}

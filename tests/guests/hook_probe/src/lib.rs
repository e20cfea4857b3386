//! A hook that does what its settings and the request tell it, command by command: for the specs
//! of hooks.
//!
//! Commands stand in the settings (`request`, `response`, and `request` of a place) and in headers
//! of the request: `X-NAME` for `on_request`, `X-NAME-Response` for `on_response`, separated by
//! ` | `. NAME is the setting `name`. What the hook has to tell it adds to the response.

mod commands;

use std::hint::black_box;

use waypost_sdk::{
    Call, FileChanges, Hook, Keeper, OnCheck, OnEnd, OnRequest, OnResponse, Settings,
    SettingsError, Sharing, StateReader, StateWriter, Summary, Verdict, log, metrics,
};

/// What stands before the mode in the file, and the mode behind it. The specs write another one
/// there: settings would reach a version that is loaded later as well.
static MODE: [u8; 32] = *b"mode of the hook probe: plain   ";

pub struct Probe {
    name: String,
    request: Vec<String>,
    response: Vec<String>,
    places: Vec<Vec<String>>,
    sharing: Sharing,
    /// What the file of the settings holds.
    file: String,
    /// Writes down every exchange that it is asked about, and every one that has ended.
    keeps_ledger: bool,
    /// Tells this instance, and those that take over from it, from others in the ledger; and which
    /// of them it is.
    line: Option<u64>,
    number: u64,
    calls: u64,
    asked: metrics::Counter,
    mode: String,
}

impl Hook for Probe {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        // The file was changed behind the compiler's back.
        let mode = String::from_utf8_lossy(&black_box(&MODE)[24..]);
        let mode = mode.trim_end().to_owned();
        if mode == "refuses" {
            return Err(settings.error("", "no settings would please me"));
        }
        let sharing = match settings.text("sharing")?.as_deref() {
            Some("worker") => Sharing::PerWorker,
            Some(key) => Sharing::PerKey(key.to_owned()),
            None => Sharing::PerProcess,
        };
        let file = settings.file("file")?.and_then(|file| file.content);
        let probe = Probe {
            name: settings.text("name")?.unwrap_or_else(|| "probe".to_owned()),
            request: settings.texts("request")?,
            response: settings.texts("response")?,
            places: Vec::new(),
            sharing,
            file: text(file),
            keeps_ledger: settings.flag("ledger")?,
            line: None,
            number: 0,
            calls: 0,
            asked: metrics::Counter::named("asked"),
            mode,
        };
        settings.finish()?;
        Ok(probe)
    }

    fn sharing(&self) -> Sharing {
        self.sharing.clone()
    }

    fn attach(&mut self, _place: usize, mut settings: Settings) -> Result<(), SettingsError> {
        self.places.push(settings.texts("request")?);
        settings.finish()
    }
}

impl Probe {
    /// What a header of the request tells it to do.
    fn told(&self, call: &Call, suffix: &str) -> Vec<String> {
        let header = call.request().header(&format!("x-{}{suffix}", self.name));
        let commands = text(header);
        let commands = commands.split(" | ").filter(|command| !command.is_empty());
        commands.map(str::to_owned).collect()
    }

    /// A line of the ledger.
    fn note(&self, what: &str) {
        if let (true, Some(line)) = (self.keeps_ledger, self.line) {
            log::info(&format!("ledger {line:x} {} {what}", self.number));
        }
    }
}

impl OnRequest for Probe {
    fn on_request(&mut self, call: &Call) -> Verdict {
        self.line.get_or_insert(call.random);
        self.calls += 1;
        self.asked.add(1);
        assert!(self.mode != "traps", "as the mode says");
        match self.mode.as_str() {
            "answers" => {
                call.changes().answer(500, "broken\n");
                return Verdict::Answer;
            }
            "marks" => _ = call.changes().set_response_header("X-Mode", &self.mode),
            _ => {}
        }
        let mut commands = self.request.clone();
        commands.extend(self.places[call.place].iter().cloned());
        commands.extend(self.told(call, ""));
        let verdict = self.obey(call, &commands);
        self.note(&format!("asked {}", call.exchange));
        verdict
    }
}

impl OnCheck for Probe {
    fn on_check(&mut self, call: &Call, passed: bool) -> Verdict {
        match passed {
            true => self.obey(call, &self.told(call, "-checked")),
            false => {
                call.changes().answer(401, "wrong\n");
                Verdict::Answer
            }
        }
    }
}

impl OnResponse for Probe {
    fn on_response(&mut self, call: &Call) {
        let mut commands = self.response.clone();
        commands.extend(self.told(call, "-response"));
        self.obey(call, &commands);
    }
}

impl OnEnd for Probe {
    fn on_end(&mut self, call: &Call, summary: &Summary) {
        let Summary {
            status,
            complete,
            bytes_sent,
            bytes_received,
            ..
        } = summary;
        let ended = match complete {
            true => "whole",
            false => "cut",
        };
        self.note(&format!(
            "ended {} {status} {ended} {bytes_sent} {bytes_received}",
            call.exchange
        ));
        if self.name == "last" {
            log::info(&format!("last hears of {}", call.exchange));
        }
        if self.told(call, "-end").iter().any(|told| told == "trap") {
            self.note("traps");
            panic!("as the request says");
        }
    }
}

impl Keeper for Probe {
    fn export_state(&self) -> Vec<u8> {
        self.note("hands over");
        let mut state = StateWriter::new(1);
        state.number(self.calls);
        state.number(self.line.unwrap_or_default());
        state.number(self.number);
        state.finish()
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let mut read = StateReader::new(state);
        read.format(&[1])?;
        let (calls, line, number) = (read.number()?, read.number()?, read.number()?);
        self.calls = calls;
        self.line = (line != 0).then_some(line);
        self.number = number + 1;
        self.note("takes over");
        Ok(())
    }
}

impl FileChanges for Probe {
    fn changed(&mut self, _path: &str, content: Option<&[u8]>) {
        self.file = text(content.map(<[u8]>::to_vec));
    }
}

/// As text; empty for none.
fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

waypost_sdk::export_hook!(
    Probe,
    on_request,
    on_check,
    on_response,
    on_end,
    keeper,
    file_changes
);

//! A policy that breaks the rules, in the way that its mode says.
//!
//! The mode is in the file itself, where the specs write it: settings would reach a version that is
//! loaded later as well. Where it does not misbehave it takes the last candidate, which the
//! fallback would not do twice in a row.
//!
//! The modes stand in one list, [`foreach_mode`]. The specs are made from it: a mode without one
//! does not compile.

#[cfg(target_os = "wasi")]
mod handles;

use std::hint::black_box;

use waypost_sdk::{
    Done, Endpoint, Failures, Keeper, Observer, Pick, Policy, Settings, SettingsError, Sharing, log,
};

/// Hands every mode to a macro: what it does, its variant, its name.
#[macro_export]
macro_rules! foreach_mode {
    ($each:ident) => {
        $each! {
            /// None: what all others are told from.
            Behaves behaves,
            /// No call of `pick` returns.
            LoopsForever loops_forever,
            /// `pick` calls itself until the stack is full.
            RecursesForever recurses_forever,
            /// `pick` asks for more memory than there is.
            HoardsMemory hoards_memory,
            TrapsInConfigure traps_in_configure,
            TrapsInUpdate traps_in_update,
            TrapsInPick traps_in_pick,
            TrapsInFailed traps_in_failed,
            TrapsInDone traps_in_done,
            TrapsOnEverySecondCall traps_on_every_second_call,
            PicksWhatDoesNotExist picks_what_does_not_exist,
            PicksWhatIsDown picks_what_is_down,
            /// Always the first endpoint, in retries as well.
            PicksWhatWasTried picks_what_was_tried,
            TakesTooLongToConfigure takes_too_long_to_configure,
            TakesTooLongToUpdate takes_too_long_to_update,
            RefusesItsSettings refuses_its_settings,
            /// Lines of 50 kB, twenty for each request.
            FloodsTheLog floods_the_log,
            /// Handles of an output stream, a hundred for each request. Without WASI there are
            /// none.
            LeaksHandles leaks_handles,
            TrapsInExportState traps_in_export_state,
            TrapsInImportState traps_in_import_state,
            /// Twice as much as the host carries over.
            ExportsTooMuchState exports_too_much_state,
            RefusesItsState refuses_its_state,
            /// Some milliseconds: not a fault.
            TakesAWhileToExportState takes_a_while_to_export_state,
            /// Has no opinion. Not a fault, but the fallback's turn as well.
            Abstains abstains,
            /// Lines with line ends and escape sequences in them, one for each request.
            LogsControlCharacters logs_control_characters,
            /// Refuses its settings with a megabyte of control characters.
            RefusesItsSettingsAtLength refuses_its_settings_at_length,
            /// Refuses its state with what looks like a line of the log.
            ForgesALineOfTheLog forges_a_line_of_the_log,
            /// 64 names of variables, 400 kB each.
            AsksForLongVariables asks_for_long_variables,
            /// A thousand headers of 1 kB on every response.
            AddsAMegabyteOfHeaders adds_a_megabyte_of_headers,
            /// Some milliseconds of processor time for each choice.
            ThinksForLong thinks_for_long,
        }
    };
}

macro_rules! modes {
    ($($(#[doc = $doc:literal])* $variant:ident $name:ident,)*) => {
        /// A way to misbehave.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Mode {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Mode {
            fn named(name: &str) -> Option<Mode> {
                match name {
                    $(stringify!($name) => Some(Mode::$variant),)*
                    _ => None,
                }
            }
        }
    };
}
foreach_mode!(modes);

/// What stands before the mode in the file.
pub const MARK: &str = "mode of the misbehaving policy: ";

/// Bytes for the mode, behind the mark; spaces fill what its name leaves.
pub const ROOM: usize = 40;

/// What a line of the log looks like.
pub const FORGED: &str = "2026-01-01T00:00:00.000000Z ERROR forged by a plugin";

/// The mark, and the mode behind it.
static MODE: [u8; 72] =
    *b"mode of the misbehaving policy: behaves                                 ";

struct Misbehaving {
    mode: Mode,
    endpoints: Vec<Endpoint>,
    calls: u64,
}

impl Policy for Misbehaving {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        // The file was changed behind the compiler's back.
        let mode = &black_box(&MODE)[MARK.len()..];
        let mode = String::from_utf8_lossy(mode);
        let mode = Mode::named(mode.trim_end());
        let mode =
            mode.ok_or_else(|| settings.error("", "the file has a mode that does not exist"))?;
        match mode {
            Mode::TrapsInConfigure => panic!("as the mode says"),
            Mode::TakesTooLongToConfigure => spin(),
            Mode::RefusesItsSettings => {
                return Err(settings.error("", "no settings would please me"));
            }
            Mode::RefusesItsSettingsAtLength => {
                let message = format!("no settings\n{FORGED}\n{}", "\u{1b}[2J".repeat(200_000));
                return Err(settings.error("", &message));
            }
            _ => {}
        }
        settings.finish()?;
        Ok(Misbehaving {
            mode,
            endpoints: Vec::new(),
            calls: 0,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        match self.mode {
            Mode::TrapsInUpdate => panic!("as the mode says"),
            Mode::TakesTooLongToUpdate => spin(),
            _ => self.endpoints = endpoints,
        }
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        self.calls += 1;
        match self.mode {
            Mode::LoopsForever => spin(),
            Mode::RecursesForever => _ = recurse(pick.now_us),
            Mode::HoardsMemory => hoard(),
            Mode::TrapsInPick => panic!("as the mode says"),
            Mode::TrapsOnEverySecondCall => assert!(self.calls % 2 == 1, "as the mode says"),
            Mode::PicksWhatDoesNotExist => return Some(1_000_000),
            Mode::PicksWhatIsDown => return self.endpoints.iter().position(Endpoint::is_down),
            Mode::PicksWhatWasTried => return Some(0),
            Mode::FloodsTheLog => {
                (0..20).for_each(|_| log::info(&"all work and no play ".repeat(2500)))
            }
            #[cfg(target_os = "wasi")]
            Mode::LeaksHandles => (0..100).for_each(|_| handles::leak()),
            Mode::Abstains => return None,
            Mode::LogsControlCharacters => log::info(&format!("before\r\n{FORGED}\u{1b}[2J after")),
            Mode::AsksForLongVariables => (0..64).for_each(|number| {
                let name = format!("http_x{number}{}", "_".repeat(400_000));
                _ = black_box(pick.request().variable(&name));
            }),
            Mode::AddsAMegabyteOfHeaders => (0..1000).for_each(|number| {
                pick.add_response_header(&format!("X-Header-{number}"), &[b'x'; 1000]);
            }),
            Mode::ThinksForLong => think(),
            _ => {}
        }
        pick.candidates().iter().last()
    }
}

impl Failures for Misbehaving {
    fn failed(&mut self, _index: usize) {
        assert!(self.mode != Mode::TrapsInFailed, "as the mode says");
    }
}

impl Observer for Misbehaving {
    fn done(&mut self, _done: &Done) {
        assert!(self.mode != Mode::TrapsInDone, "as the mode says");
    }
}

impl Keeper for Misbehaving {
    fn export_state(&self) -> Vec<u8> {
        match self.mode {
            Mode::TrapsInExportState => panic!("as the mode says"),
            Mode::ExportsTooMuchState => vec![1; 2 << 20],
            Mode::TakesAWhileToExportState => {
                (0..4_000_000_u64).for_each(|turn| _ = black_box(turn));
                vec![1]
            }
            _ => vec![1],
        }
    }

    fn import_state(&mut self, _state: &[u8]) -> Result<(), String> {
        match self.mode {
            Mode::TrapsInImportState => panic!("as the mode says"),
            Mode::RefusesItsState => Err("no state would please me".to_owned()),
            Mode::ForgesALineOfTheLog => Err(format!("no state\n{FORGED}")),
            _ => Ok(()),
        }
    }
}

/// Far more processor time than any call has.
fn spin() {
    (0..u64::MAX).for_each(|turn| _ = black_box(turn));
}

/// Some milliseconds of processor time.
fn think() {
    (0..20_000_000_u64).for_each(|turn| _ = black_box(turn));
}

fn recurse(depth: u64) -> u64 {
    match black_box(depth) {
        u64::MAX => 0,
        depth => recurse(depth + 1) ^ depth,
    }
}

fn hoard() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 20]);
        black_box(&hoard);
    }
}

waypost_sdk::export!(Misbehaving, failures, observer, keeper);

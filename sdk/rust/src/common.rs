//! What any plugin may implement besides, whatever its kind.

use crate::About;

/// Says what the plugin is, for lists, checks and editors. Exported by `export!(Mine, describe)`.
pub trait Describe {
    /// Asked once, of an instance that is not configured. See [`Schema`](crate::Schema) for the
    /// settings.
    fn describe() -> About;
}

/// Has something to do from time to time, traffic or not. Exported by `export!(Mine, ticker)`.
pub trait Ticker {
    /// Called a moment after the instance was set up, and then when as many milliseconds have
    /// passed as the last call answered: 100 at least, whatever it answers, and 0 for never again.
    /// Ticks may come late. There is no exchange at hand.
    fn tick(&mut self, now_us: u64) -> u32;
}

/// Hears of changes to files. Exported by `export!(Mine, file_changes)`.
pub trait FileChanges {
    /// What a file that was read by [`files::read`](crate::files::read) holds now; `None` where it
    /// is gone or cannot be read.
    fn changed(&mut self, path: &str, content: Option<&[u8]>);
}

/// Keeps what an instance knows when another instance takes its place: a new version of the plugin, or
/// the same one with other settings or endpoints. Exported by `export!(Mine, keeper)`. Nothing is
/// kept from an instance that failed.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use waypost_sdk::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};
/// use waypost_sdk::{Keeper, StateReader, StateWriter};
///
/// /// Knows how often each server was chosen.
/// pub struct Census {
///     choices: BTreeMap<String, u64>,
/// }
/// # impl Policy for Census {
/// #     fn configure(_: Settings) -> Result<Self, SettingsError> {
/// #         Ok(Census { choices: BTreeMap::new() })
/// #     }
/// #     fn sharing(&self) -> Sharing { Sharing::PerProcess }
/// #     fn update(&mut self, _: Vec<Endpoint>) {}
/// #     fn pick(&mut self, _: &Pick) -> Option<usize> { None }
/// # }
///
/// impl Keeper for Census {
///     fn export_state(&self) -> Vec<u8> {
///         let mut state = StateWriter::new(1); // the format number
///         for (server, count) in &self.choices {
///             state.text(server);
///             state.number(*count);
///         }
///         state.finish()
///     }
///
///     fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
///         let mut read = StateReader::new(state);
///         read.format(&[1])?; // an error if another version wrote it
///         let mut choices = BTreeMap::new();
///         while !read.is_empty() {
///             choices.insert(read.text()?.to_owned(), read.number()?);
///         }
///         self.choices = choices; // only now: a state that is cut off changes nothing
///         Ok(())
///     }
/// }
///
/// waypost_sdk::export!(Census, keeper);
/// # fn main() {
/// # let mut census = Census { choices: BTreeMap::from([("a:80".to_owned(), 300)]) };
/// # let state = census.export_state();
/// # census.choices.clear();
/// # assert!(census.import_state(&state).is_ok() && census.choices["a:80"] == 300);
/// # }
/// ```
pub trait Keeper {
    /// What this instance knows, for an instance of this version or a later one: begin with a
    /// format number, as [`StateWriter`](crate::StateWriter) does. At most 1 MiB, unless the
    /// plugin's `limits.state` says otherwise. Called between two other calls; the instance may
    /// well go on serving after it.
    fn export_state(&self) -> Vec<u8>;

    /// Takes over what another instance knew. Called once, when this one is set up and before
    /// traffic. Endpoints may have come, gone and changed places: know them by id, name or address,
    /// not by index.
    ///
    /// # Errors
    /// Why the state is of no use, in one line of lower case. The host logs it, and the plugin
    /// serves with what it has: change nothing before all of the state was read.
    fn import_state(&mut self, state: &[u8]) -> Result<(), String>;
}

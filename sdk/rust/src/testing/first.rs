//! The policy behind a filter or a scorer under test.

use crate::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};

/// Picks the first candidate: what a filter has left, or a scorer has found the best.
pub struct First;

impl Policy for First {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.finish()?;
        Ok(First)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        pick.candidates().iter().next()
    }
}

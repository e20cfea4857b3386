//! Plugins are tried here without a proxy: against servers and requests that are made up, in a time
//! that passes from call to call. Same seed, same trial.

mod battery; // what plugins are tried with, as data
mod servers; // what a policy may choose from
mod request; // who asks
mod subject; // the plugin, and what it is used as: start here
mod policy_trial; // a policy, filter or scorer at work
mod hook_trial; // a hook at work
mod conformance; // what every plugin has to do
mod bench; // what its calls cost
mod simulation; // what a load meets

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests;

pub use self::bench::{Measured, bench};
pub use self::conformance::{Finding, Verdict, conformance};
pub use self::simulation::{
    Arrivals, Happening, Happens, Scenario, ServerResult, Simulated, SimulatedServer, TraceError,
    Window, simulate,
};
pub use self::subject::Subject;

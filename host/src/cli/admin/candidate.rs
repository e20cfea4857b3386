//! What goes with a version of a plugin that is sent: its signature, the terms on which it is tried;
//! and what is tried, in words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::CommandFailed;
use super::client::{Content, segment};
use super::plugin::component;
use super::plugin_words::short;
use super::table::brief;
use crate::admin_api::{TrialSide, TrialStatus};
use crate::config::reason;
use crate::plugin::SIGNATURE_SIZE;

/// Where the signature of a component is.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct Signed {
    /// The signature of the file, where one is asked for [default: FILE.minisig, if that is there]
    #[arg(long, value_name = "MINISIG")]
    signature: Option<PathBuf>,
}

impl Signed {
    /// A component with its signature, as it is sent.
    pub(super) fn component(&self, file: &Path) -> Result<Content, CommandFailed> {
        let bytes = component(file)?;
        let mut beside = file.as_os_str().to_owned();
        beside.push(".minisig");
        let path = self.signature.clone().unwrap_or(beside.into());
        let signature = match crate::file::read_regular(&path, SIGNATURE_SIZE) {
            Ok(signature) => Some(signature),
            Err(_) if self.signature.is_none() => None,
            Err(error) => {
                let (path, why) = (path.display(), reason(&error));
                return Err(CommandFailed::new(format!("cannot read `{path}`: {why}")));
            }
        };
        Ok(Content::Component { bytes, signature })
    }
}

/// How much a canary gets, and what ends it: a rail can be `off`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CanaryTerms {
    /// The share of clients, as `5%`; each stays with the version that it has got
    #[arg(long, default_value = "5%")]
    share: String,
    /// Exchanges of its own before a rail counts [default: 100]
    #[arg(long, value_name = "EXCHANGES")]
    after: Option<u32>,
    /// Faults of the plugin that it may have, of its exchanges [default: 0.1%]
    #[arg(long, value_name = "SHARE")]
    faults: Option<String>,
    /// Points by which its share of errors may exceed that of the version before [default: 1%]
    #[arg(long, value_name = "POINTS")]
    errors: Option<String>,
    /// Its mean latency, of that of the version before [default: 150%]
    #[arg(long, value_name = "SHARE")]
    latency: Option<String>,
    /// The imbalance of a policy, of that of the version before [default: 150%]
    #[arg(long, value_name = "SHARE")]
    imbalance: Option<String>,
}

impl CanaryTerms {
    pub(super) fn query(&self) -> String {
        let after = self.after.map(|after| after.to_string());
        let terms = [
            ("share", Some(&self.share)),
            ("after", after.as_ref()),
            ("faults", self.faults.as_ref()),
            ("errors", self.errors.as_ref()),
            ("latency", self.latency.as_ref()),
            ("imbalance", self.imbalance.as_ref()),
        ];
        let said = terms.into_iter().filter_map(|(key, value)| {
            let value = segment(value?);
            Some(format!("{key}={value}"))
        });
        said.collect::<Vec<_>>().join("&")
    }
}

/// What is tried, beside what serves.
pub(super) fn trial_in_words(name: &str, trial: &TrialStatus) -> String {
    let (version, hash, since) = (trial.version, short(&trial.hash), &trial.since);
    let share = trial.share.as_ref().map(|share| format!(" of {share}"));
    let share = share.unwrap_or_default();
    let mut text = format!(
        "`{name}` has a {}{share}: version {version} ({hash}) since {since}\n",
        trial.manner
    );
    let side = |side: &TrialSide| {
        let imbalance = side.imbalance.map(|peak| format!(", imbalance {peak:.2}"));
        format!(
            "{} exchanges, {} errors, {} on average{}",
            side.exchanges,
            side.errors,
            brief(Duration::from_micros(side.mean_us)),
            imbalance.unwrap_or_default(),
        )
    };
    let cost = format!(
        "{} calls of {}, {} faults",
        trial.calls,
        brief(Duration::from_nanos(trial.mean_ns)),
        trial.faults
    );
    text += &format!("  serving  {}\n", side(&trial.serving));
    text += &match trial.manner.as_str() {
        "shadow" => format!(
            "  shadow   {} decisions agreed, {} differed; {cost}\n",
            trial.agreed, trial.differed
        ),
        _ => format!("  canary   {}; {cost}\n", side(&trial.candidate)),
    };
    if trial.share.as_deref() == Some("100%") {
        text += "  no client is left to the version before, so there is nothing to compare with: of the \
                 rails, `faults` alone can end it\n";
    }
    text
}

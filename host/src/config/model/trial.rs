//! A version of a plugin that is tried beside the one that serves, and on what terms.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::problem::Place;

/// A share, in thousandths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl Percent {
    pub const ALL: Percent = Percent(100_000);

    /// Reads the share of clients that a canary gets.
    ///
    /// # Errors
    /// What is wrong with it, for a user.
    pub fn of_canary(text: &str) -> Result<Percent, String> {
        match text.parse() {
            Ok(Percent(0)) => Err("a canary has a share of more than `0%`".to_owned()),
            Ok(share) if share > Percent::ALL => {
                Err("a canary has a share of `100%` at most".to_owned())
            }
            Ok(share) => Ok(share),
            Err(_) => Err(Percent::refusal(text, Percent(1)..=Percent::ALL)),
        }
    }

    /// That a text is no share, and how the one that was meant is written, if it is one of these.
    fn refusal(text: &str, allowed: RangeInclusive<Percent>) -> String {
        let meant = format!("{}%", text.trim().trim_end_matches('%').trim_end());
        let meant = read(&meant).filter(|meant| allowed.contains(meant));
        match meant {
            Some(meant) => format!("`{text}` is no share: write `{meant}`"),
            None => format!("`{text}` is no share: write `5%`, or `0.1%`"),
        }
    }

    /// One for all of it.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / f64::from(Percent::ALL.0)
    }
}

/// `5%`, `0.1%`, with three decimals at the most.
impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Percent, String> {
        read(text).ok_or_else(|| Percent::refusal(text, Percent(0)..=Percent(u32::MAX)))
    }
}

fn read(text: &str) -> Option<Percent> {
    let number = text.strip_suffix('%')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str, most: usize| {
        (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(whole, 5) || !is_number(part, 3) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    Some(Percent(whole * 1000 + part))
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = format!(".{:03}", self.0 % 1000);
        let part = part.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{}{part}%", self.0 / 1000)
    }
}

/// What a version that is tried may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It is asked as well, and what it decides is compared and dropped.
    Shadow,
    /// It decides for this share of clients.
    Canary(Percent),
}

impl Manner {
    pub fn name(self) -> &'static str {
        match self {
            Manner::Shadow => "shadow",
            Manner::Canary(_) => "canary",
        }
    }
}

/// What ends the trial of a canary by itself. None: nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rails {
    /// Exchanges of the canary before any of them counts.
    pub after: u32,
    /// Faults of the plugin, of its exchanges.
    pub faults: Option<Percent>,
    /// Points by which its share of errors may exceed that of the version before.
    pub errors: Option<Percent>,
    /// Of the mean latency of the version before.
    pub latency: Option<Percent>,
    /// Of the imbalance of the version before.
    pub imbalance: Option<Percent>,
}

impl Default for Rails {
    fn default() -> Rails {
        Rails {
            after: 100,
            faults: Some(Percent(100)),
            errors: Some(Percent(1000)),
            latency: Some(Percent(150_000)),
            imbalance: Some(Percent(150_000)),
        }
    }
}

impl Rails {
    /// The rails by their names in the file.
    pub fn named(&mut self) -> [(&'static str, &mut Option<Percent>); 4] {
        [
            ("faults", &mut self.faults),
            ("errors", &mut self.errors),
            ("latency", &mut self.latency),
            ("imbalance", &mut self.imbalance),
        ]
    }

    /// Puts a rail by its name to what a text says: a share, or `off`.
    ///
    /// # Errors
    /// What is wrong with the text, for a user; there is no rail of that name.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let limit = match text {
            "off" => None,
            text => Some(text.parse()?),
        };
        let mut named = self.named().into_iter();
        let (_, rail) = named
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("there is no rail `{name}`"))?;
        *rail = limit;
        Ok(())
    }
}

/// The terms of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialTerms {
    pub manner: Manner,
    pub rails: Rails,
}

/// `canary` or `shadow` of a plugin's entry.
#[derive(Debug, Clone)]
pub struct TrialConfig {
    pub file: PathBuf,
    pub terms: TrialTerms,
    /// SHA-256 of what may be tried, in lowercase hex. None: what the plugin itself pins.
    pub sha256: Vec<String>,
    /// Where the signature is; without it, beside the file.
    pub signature: Option<PathBuf>,
    pub place: Place,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_it_is_written() {
        for text in ["5%", "0.1%", "100%", "0.001%", "12.25%", "150%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        assert_eq!("5%".parse(), Ok(Percent(5000)));
        for text in [
            "", "5", "%", "-1%", ".5%", "5.%", "1.2345%", "1e2%", "5 %", "123456%",
        ] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_told_to_be_written_is_taken() {
        for (text, meant) in [
            ("20", "20%"),
            ("0.5", "0.5%"),
            ("20 %", "20%"),
            (" 7", "7%"),
            ("20%%", "20%"),
            // No canary could have it.
            ("0", "5%"),
            ("101", "5%"),
            ("fast", "5%"),
            ("", "5%"),
        ] {
            let refusal = Percent::of_canary(text).unwrap_err();
            assert!(refusal.contains(&format!(": write `{meant}`")), "{refusal}");
            assert!(Percent::of_canary(meant).is_ok(), "{meant}");
        }
        let refusal = "150".parse::<Percent>().unwrap_err();
        assert_eq!(refusal, "`150` is no share: write `150%`");
    }
}

//! `waypost token`: a secret for a client of the admin API, and what the configuration says of it.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};

use crate::plugin::Hash;

/// Bytes of chance: as many as its hash has.
const SIZE: usize = 32;

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// Whom it is given to: what the audit says
    name: String,
    /// What it lets its holder do
    #[arg(long, value_enum, default_value = "read")]
    role: RoleArgument,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArgument {
    /// See everything, change nothing
    Read,
    /// Everything
    Operate,
}

/// Prints a new one, which is not kept anywhere; what is to be said of it goes to standard error, so
/// that a file of the output has the token alone.
pub(super) fn token(arguments: &TokenArguments) -> anyhow::Result<ExitCode> {
    let mut secret = [0; SIZE];
    getrandom::fill(&mut secret).context("the kernel gives no random bytes")?;
    let token = format!("waypost_{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
    let hash = Hash::of(token.as_bytes());
    let role = match arguments.role {
        RoleArgument::Read => "read",
        RoleArgument::Operate => "operate",
    };
    let name = &arguments.name;
    let mut err = std::io::stderr().lock();
    // A closed standard error is no reason to fail otherwise.
    let _ = writeln!(
        err,
        "The token below is shown once: give it to its holder. The configuration knows its hash \
         alone:\n\n[[admin.tokens]]\nname = {name:?}\nrole = {role:?}\nsha256 = \"{hash}\"\n"
    );
    super::print(&format!("{token}\n"))
}

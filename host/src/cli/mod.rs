//! The commands. The only place with `anyhow`.

/// Runs the command line and says how it went: 0 well, 1 a problem that was reported, 2 wrong usage.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

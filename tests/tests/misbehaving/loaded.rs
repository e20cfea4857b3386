//! Policies that are loaded while requests come in, behind one that behaves: a version that shows
//! at once that it cannot serve is refused, and the one before it goes on; any other takes over. No
//! request notices either.

use std::path::Path;
use std::process::Command;

use misbehaving::Mode;
use waypost_tests::{Origin, Proxy, child, waypost};

use super::{answers, forged, in_mode, is_logged, setup, three};

/// What becomes of a version that is loaded.
enum Verdict {
    /// With this in the message.
    Refused(&'static str),
    TakesOver,
    /// One or the other, with this in the log.
    Logged(&'static str),
}

/// What is found out before a version takes over: a mode that is missing here does not compile.
fn verdict(mode: Mode) -> Verdict {
    match mode {
        Mode::LoopsForever | Mode::TakesTooLongToConfigure | Mode::TakesTooLongToUpdate => {
            Verdict::Refused("deadline")
        }
        Mode::RecursesForever => Verdict::Refused("stack"),
        Mode::HoardsMemory => Verdict::Refused("memory"),
        Mode::TrapsInConfigure
        | Mode::TrapsInUpdate
        | Mode::TrapsInPick
        | Mode::TrapsInFailed
        | Mode::TrapsInDone => Verdict::Refused("unreachable"),
        Mode::PicksWhatDoesNotExist => Verdict::Refused("1000000"),
        Mode::RefusesItsSettings => Verdict::Refused("no settings would please me"),
        Mode::RefusesItsSettingsAtLength => Verdict::Refused("no settings\\n"),
        // It shows only later, or is no fault.
        Mode::Behaves
        | Mode::TrapsOnEverySecondCall
        | Mode::PicksWhatIsDown
        | Mode::PicksWhatWasTried
        | Mode::FloodsTheLog
        | Mode::LeaksHandles
        | Mode::TrapsInExportState
        | Mode::ExportsTooMuchState
        | Mode::TakesAWhileToExportState
        | Mode::Abstains
        | Mode::LogsControlCharacters
        | Mode::AsksForLongVariables
        | Mode::AddsAMegabyteOfHeaders
        | Mode::ThinksForLong => Verdict::TakesOver,
        Mode::TrapsInImportState => Verdict::Logged("import"),
        Mode::RefusesItsState => Verdict::Logged("no state would please me"),
        Mode::ForgesALineOfTheLog => Verdict::Logged("no state\\n"),
    }
}

macro_rules! spec_for_each_mode {
    ($($(#[doc = $doc:literal])* $variant:ident $name:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                super::is_judged(misbehaving::Mode::$variant, stringify!($name)).await;
            }
        )*
    };
}

mod a_version_that {
    misbehaving::foreach_mode!(spec_for_each_mode);
}

async fn is_judged(mode: Mode, name: &str) {
    let origins = three().await;
    let mut proxy = serving("behaves", &origins).await;
    let plugin = in_mode(name);
    let (counts, (code, said)) = tokio::join!(answers(&proxy, &origins), hot_load(&proxy, &plugin));
    match verdict(mode) {
        Verdict::Refused(reason) => {
            is_refused(code, &said, reason);
            assert_eq!(counts, [0, 0, 40]);
            assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
        }
        Verdict::TakesOver => {
            assert_eq!(code, 0, "{said}");
            answers(&proxy, &origins).await;
        }
        Verdict::Logged(reason) => {
            is_logged(&mut proxy, reason).await;
            assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
        }
    }
    assert!(!forged(&proxy.log()), "{}", proxy.log());
    assert!(proxy.process().runs(), "the proxy ended");
}

/// A plugin that is no policy is refused, and the version before it goes on.
pub(super) async fn leaves_the_version_before(plugin: Vec<u8>, reason: &str) {
    let origins = three().await;
    let mut proxy = serving("behaves", &origins).await;
    let (counts, (code, said)) = tokio::join!(answers(&proxy, &origins), hot_load(&proxy, &plugin));
    is_refused(code, &said, reason);
    assert_eq!(counts, [0, 0, 40]);
    assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
    assert!(proxy.process().runs(), "the proxy ended");
}

/// A version in this mode is replaced by another one, also where the export of its state fails; the
/// log says `reason`.
pub(super) async fn makes_room(mode: &str, reason: &str) {
    let origins = three().await;
    let mut proxy = serving(mode, &origins).await;
    assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
    let (code, said) = hot_load(&proxy, &in_mode("abstains")).await;
    assert_eq!(code, 0, "{said}");
    let counts = answers(&proxy, &origins).await;
    assert!(
        !counts.contains(&0),
        "the version before still serves: {counts:?}"
    );
    is_logged(&mut proxy, reason).await;
}

/// A version in this mode serves, at first.
async fn serving(mode: &str, origins: &[Origin]) -> Proxy {
    let setup = setup(mode, origins);
    let admin = format!("[admin]\naddress = \"{}\"", admin(setup.directory()));
    setup.more(&admin).start().await
}

fn admin(directory: &Path) -> String {
    format!("unix:{}", directory.join("admin.sock").display())
}

/// `waypost plugin load mine FILE`: its exit code, and what it said.
async fn hot_load(proxy: &Proxy, plugin: &[u8]) -> (i32, String) {
    let file = proxy.directory().join("next.wasm");
    std::fs::write(&file, plugin).expect("the directory is ours");
    let mut command = Command::new(waypost());
    command.args(["plugin", "load", "mine"]).arg(file);
    command.arg("--admin").arg(admin(proxy.directory()));
    let run = tokio::task::spawn_blocking(|| child::run(command));
    let (code, out, err) = run.await.expect("the command can be waited for");
    (code, out + &err)
}

fn is_refused(code: i32, said: &str, reason: &str) {
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("`mine`"), "no plugin named:\n{said}");
    assert!(said.contains(reason), "no {reason:?} in:\n{said}");
    assert!(!said.contains("stack backtrace"), "{said}");
}

//! A plugin whose content is pinned, or which somebody has to have signed, is loaded as that and as
//! nothing else: at the start, by a reload, by its file, by a command.

use std::path::Path;
use std::process::Command;

use minisign::KeyPair;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Proxy, Response, origin, plugin, proxy, waypost};

/// `round_robin` as another version: with a section more that means nothing.
fn version(number: u8) -> Vec<u8> {
    let file = plugin("round_robin", "wasm32-unknown-unknown");
    let mut bytes = std::fs::read(file).expect("cargo has built it");
    bytes.extend([0, 2, 1, number]);
    bytes
}

/// The SHA-256 of a component, as the program itself prints it.
fn hash(component: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.wasm"), component).unwrap();
    let mut inspect = Command::new(waypost());
    inspect.args(["plugin", "inspect", "a.wasm"]);
    let output = inspect.current_dir(directory.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let is_hash = |word: &&str| word.len() == 64;
    let hash = text.split_whitespace().find(is_hash);
    hash.unwrap_or_else(|| panic!("no hash: {text}")).to_owned()
}

fn keys() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("there is randomness")
}

fn public(keys: &KeyPair) -> String {
    keys.pk.to_base64()
}

/// What `minisign -S` leaves beside a file.
fn signature(keys: &KeyPair, component: &[u8]) -> String {
    let signed = minisign::sign(None, &keys.sk, component, Some("for a spec"), None);
    signed.expect("any file can be signed").into_string()
}

/// Writes a plugin's file, and its signature if there is one. That comes first, as deployments of
/// watched files do it.
fn write(directory: &Path, component: &[u8], signature: Option<&str>) {
    if let Some(signature) = signature {
        std::fs::write(directory.join("mine.wasm.minisig"), signature).unwrap();
    }
    let new = directory.join("mine.new");
    std::fs::write(&new, component).unwrap();
    std::fs::rename(new, directory.join("mine.wasm")).unwrap();
}

/// A proxy with a policy `mine`, whose file is this one.
async fn with(entry: &str, component: &[u8], signature: Option<&str>) -> Proxy {
    let origin = origin::named().await;
    let setup = proxy::to(std::slice::from_ref(&origin)).upstream("policy = \"mine\"");
    write(setup.directory(), component, signature);
    let entry = format!("[plugin.mine]\nfile = \"mine.wasm\"\n{entry}");
    setup.more(&entry).more(ADMIN).start().await
}

/// What a start says that is refused.
fn refused_start(entry: &str, component: &[u8], signature: Option<&str>) -> String {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), component, signature);
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.a]\nservers = [\"127.0.0.1:1\"]\npolicy = \"mine\"\n\
         [[route]]\nproxy = \"a\"\n[plugin.mine]\nfile = \"mine.wasm\"\n{entry}"
    );
    std::fs::write(directory.path().join("waypost.toml"), file).unwrap();
    let said = |command: &str| {
        let mut process = Command::new(waypost());
        process.args([command, "-c", "waypost.toml"]);
        let output = process.current_dir(directory.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap()
    };
    said("check");
    said("run")
}

async fn serving(proxy: &Proxy) -> u64 {
    let mine = proxy.shows("/plugins/mine").await;
    mine["version"].as_u64().expect("it serves")
}

/// The reason why an answer says no.
fn reason(answer: &Response) -> String {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let answer = answer.json();
    answer["error"].as_str().expect("there is one").to_owned()
}

/// `waypost plugin load` with more arguments.
fn load(proxy: &Proxy, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(waypost());
    command.args(["plugin", "load", "mine"]).args(arguments);
    command.args(["--admin", &proxy.admin_address()]);
    let output = command.current_dir(proxy.directory()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_start_refuses_a_plugin_that_is_not_what_is_pinned() {
    let pin = format!("sha256 = \"{}\"", hash(&version(1)));
    let said = refused_start(&pin, &version(2), None);
    assert!(said.contains("is not what its entry pins"), "{said}");
    assert!(said.contains(&hash(&version(2))), "what it is: {said}");
}

#[test]
fn a_start_refuses_a_plugin_that_nobody_has_signed_who_is_trusted() {
    let (trusted, other) = (keys(), keys());
    let entry = format!("signed_by = \"{}\"", public(&trusted));
    let component = version(1);
    for (signature, reason) in [
        (None, "cannot read"),
        (
            Some(signature(&other, &component)),
            "another key has signed it",
        ),
        (Some(signature(&trusted, &version(2))), "of other content"),
        (
            Some("untrusted comment: x\n".to_owned()),
            "none of minisign's",
        ),
    ] {
        let said = refused_start(&entry, &component, signature.as_deref());
        assert!(said.contains("is not signed by a key"), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn a_hash_or_a_key_that_is_none_is_refused_where_it_stands() {
    for (entry, message) in [
        ("sha256 = \"abc\"", "`abc` is no SHA-256"),
        (
            "signed_by = [\"RWabc\"]",
            "`RWabc` is no public key of minisign",
        ),
    ] {
        let said = refused_start(entry, b"", None);
        assert!(said.contains(message), "{said}");
    }
}

#[tokio::test]
async fn a_pinned_plugin_serves_and_no_other_content_is_loaded_by_command_or_reload() {
    let pins = format!(
        "sha256 = [\"{}\", \"{}\"]",
        hash(&version(1)),
        hash(&version(2))
    );
    let proxy = with(&pins, &version(1), None).await;
    assert_eq!(proxy.get("/").await.status, 200);
    let refused = proxy.load_plugin("mine", &version(3)).await;
    assert!(reason(&refused).contains("is not what its entry pins"));
    assert_eq!(serving(&proxy).await, 1);
    let taken = proxy.load_plugin("mine", &version(2)).await;
    assert_eq!(taken.status, 200, "one of the pins: {}", taken.text());
    write(proxy.directory(), &version(3), None);
    let refused = proxy.admin("POST", "/reload", "").await;
    assert!(
        refused.text().contains("is not what its entry pins"),
        "{}",
        refused.text()
    );
    assert_eq!(
        proxy.shows("/plugins/mine").await["hash"],
        hash(&version(2))
    );
}

/// What was loaded before the pin does not stay, nor come back.
#[tokio::test]
async fn a_pin_that_a_reload_brings_holds_for_what_was_loaded_before() {
    let proxy = with("watch = false", &version(1), None).await;
    assert_eq!(proxy.load_plugin("mine", &version(2)).await.status, 200);
    proxy.edit(
        "watch = false",
        &format!("sha256 = \"{}\"", hash(&version(1))),
    );
    proxy.reload().await;
    assert_eq!(
        proxy.shows("/plugins/mine").await["hash"],
        hash(&version(1))
    );
    let back = proxy.admin("POST", "/plugins/mine/rollback", "").await;
    assert_eq!(back.status, 409, "{}", back.text());
}

#[tokio::test]
async fn a_signed_plugin_serves_and_a_command_takes_a_signature_along() {
    let keys = keys();
    let entry = format!("signed_by = \"{}\"", public(&keys));
    let component = version(1);
    let proxy = with(&entry, &component, Some(&signature(&keys, &component))).await;
    let mine = proxy.shows("/plugins/mine").await;
    assert_eq!(mine["signed_by"], public(&keys));
    let refused = proxy.load_plugin("mine", &version(2)).await;
    assert!(reason(&refused).contains("no signature came with it"));
    std::fs::write(proxy.directory().join("v2.wasm"), version(2)).unwrap();
    let (done, said) = load(&proxy, &["v2.wasm"]);
    assert!(
        !done && said.contains("no signature came with it"),
        "{said}"
    );
    let signed = signature(&keys, &version(2));
    std::fs::write(proxy.directory().join("v2.wasm.minisig"), &signed).unwrap();
    let (done, said) = load(&proxy, &["v2.wasm"]);
    assert!(done, "{said}");
    std::fs::write(
        proxy.directory().join("elsewhere"),
        signature(&keys, &component),
    )
    .unwrap();
    let (done, said) = load(&proxy, &["mine.wasm", "--signature", "elsewhere"]);
    assert!(done, "{said}");
    let (done, said) = load(&proxy, &["v2.wasm", "--signature", "elsewhere"]);
    assert!(!done && said.contains("of other content"), "{said}");
}

#[tokio::test]
async fn a_watched_plugin_is_loaded_once_its_signature_is_there_as_well() {
    let keys = keys();
    let entry = format!("watch = true\nsigned_by = \"{}\"", public(&keys));
    let (first, second) = (version(1), version(2));
    let proxy = with(&entry, &first, Some(&signature(&keys, &first))).await;
    write(proxy.directory(), &second, None);
    proxy.log_contains("of other content").await;
    let signature = signature(&keys, &second);
    std::fs::write(proxy.directory().join("mine.wasm.minisig"), signature).unwrap();
    proxy.log_contains("plugin `mine` version 3 serves").await;
}

/// What was loaded without a signature is loaded again, with one.
#[tokio::test]
async fn a_key_that_a_reload_brings_holds_for_what_serves() {
    let keys = keys();
    let proxy = with("watch = false", &version(1), None).await;
    proxy.edit(
        "watch = false",
        &format!("signed_by = \"{}\"", public(&keys)),
    );
    let refused = proxy.admin("POST", "/reload", "").await;
    assert!(refused.text().contains("cannot read"), "{}", refused.text());
    write(
        proxy.directory(),
        &version(1),
        Some(&signature(&keys, &version(1))),
    );
    proxy.reload().await;
    assert_eq!(
        proxy.shows("/plugins/mine").await["signed_by"],
        public(&keys)
    );
}

/// A trial is no way around what an entry trusts.
#[tokio::test]
async fn what_is_tried_is_pinned_or_signed_as_what_serves_is() {
    let keys = keys();
    let pins = format!(
        "sha256 = [\"{}\", \"{}\"]",
        hash(&version(1)),
        hash(&version(2))
    );
    let entry = format!("{pins}\nsigned_by = \"{}\"\nwatch = false", public(&keys));
    let proxy = with(&entry, &version(1), Some(&signature(&keys, &version(1)))).await;
    let tries = |number: u8, signed: Option<u8>| {
        std::fs::write(proxy.directory().join("v2.wasm"), version(number)).unwrap();
        let beside = proxy.directory().join("v2.wasm.minisig");
        let _ = std::fs::remove_file(&beside);
        if let Some(signed) = signed {
            std::fs::write(beside, signature(&keys, &version(signed))).unwrap();
        }
        let mut command = Command::new(waypost());
        command.args(["plugin", "shadow", "mine", "v2.wasm"]);
        command.args(["--admin", &proxy.admin_address()]);
        let (code, out, err) = waypost_tests::child::run(in_directory(command, proxy.directory()));
        (code, out + &err)
    };
    for (number, signed, reason) in [
        (3, Some(3), "is not what its entry pins"),
        (2, None, "no signature came with it"),
        (2, Some(1), "of other content"),
    ] {
        let (code, said) = tries(number, signed);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(reason), "{said}");
    }
    let (code, said) = tries(2, Some(2));
    assert_eq!(code, 0, "{said}");
    proxy.admin("POST", "/plugins/mine/withdraw", "").await;
    // A table has a pin of its own, which outlives what it promotes.
    let third = version(3);
    std::fs::write(proxy.directory().join("v3.wasm"), &third).unwrap();
    std::fs::write(
        proxy.directory().join("v3.sig"),
        signature(&keys, &version(2)),
    )
    .unwrap();
    let table = format!(
        "shadow = {{ file = \"v3.wasm\", sha256 = \"{}\", signature = \"v3.sig\" }}",
        hash(&third)
    );
    proxy.edit("watch = false", &table);
    let refused = proxy.admin("POST", "/reload", "").await;
    assert!(
        refused.text().contains("of other content"),
        "{}",
        refused.text()
    );
    std::fs::write(proxy.directory().join("v3.sig"), signature(&keys, &third)).unwrap();
    proxy.reload().await;
    let promoted = proxy.admin("POST", "/plugins/mine/promote", "").await;
    assert_eq!(promoted.json()["hash"], hash(&third));
    proxy.reload().await;
    assert_eq!(proxy.shows("/plugins/mine").await["hash"], hash(&third));
}

fn in_directory(mut command: Command, directory: &Path) -> Command {
    command.current_dir(directory);
    command
}

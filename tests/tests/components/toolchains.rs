//! What toolchains make of the programs that their own pages begin with runs as it is.

use std::path::Path;

use waypost_tests::languages::Language;
use waypost_tests::{PATIENCE, child, plugin, proxy, waypost};

/// Has a component answer some clients.
async fn answers(file: &Path, text: &str) {
    let configuration = format!(
        "[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\ncomponent = \"hello\"\n[plugin.hello]\nfile = \"{}\"\n\
         limits = {{ compile_time = \"120s\" }}\n",
        file.display()
    );
    // Compiled beforehand, at a low priority and so behind all other specs: some fourteen seconds of a
    // processor, of which there may be a tenth.
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    std::fs::write(directory.path().join("waypost.toml"), &configuration).expect("it is ours");
    let mut check = std::process::Command::new(waypost());
    check
        .args(["check", "-c", "waypost.toml"])
        .current_dir(directory.path())
        .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"));
    let checked = tokio::task::spawn_blocking(move || child::run_within(check, 5 * PATIENCE));
    let (code, _, said) = checked.await.expect("it can be waited for");
    assert_eq!(code, 0, "{said}");
    let proxy = proxy::run(&configuration, &[]).await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.text().trim_end()), (200, text));
    }
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert_eq!(client.response().await.text().trim_end(), text);
}

#[tokio::test]
async fn a_component_of_wstd_answers() {
    let file = plugin("wstd_hello", "wasm32-wasip2");
    answers(&file, "Hello, wasi:http/proxy world!").await;
}

#[tokio::test]
async fn a_component_of_componentize_js_answers() {
    if Language::JavaScript.is_installed() {
        let file = Language::JavaScript.answering_component().await;
        answers(&file, "Hello World").await;
    }
}

/// It takes half a minute to make and to compile: where `WAYPOST_TOOLCHAINS` wants that.
#[tokio::test]
async fn a_component_of_componentize_py_answers() {
    let is_wanted = std::env::var_os("WAYPOST_TOOLCHAINS").is_some();
    if is_wanted && Language::Python.is_installed() {
        let file = Language::Python.answering_component().await;
        answers(&file, "hello from Python").await;
    }
}

//! Plugins are loaded beside whatever else changes: a compiler may take minutes, and a reload waits
//! for name servers.

use serde_json::Value;
use waypost_tests::admin::{ADMIN, load_request, request};
use waypost_tests::{Client, Origin, Proxy, proxy};

use super::{load, mine, origins, replace, uncompiled, version, with};

/// With a policy `mine` that serves. The next time that one is loaded, that waits at `load`.
async fn that_waits(origins: &[Origin]) -> Proxy {
    that_waits_until(origins, 2).await
}

/// As [`that_waits`], each time up to this one.
async fn that_waits_until(origins: &[Origin], last: usize) -> Proxy {
    let setup = proxy::to(origins).upstream("policy = \"mine\"");
    let file = setup.directory().join("mine.wasm");
    std::fs::write(file, version("round_robin", 1)).unwrap();
    let setup = setup
        .more("[plugin.mine]\nfile = \"mine.wasm\"")
        .more(ADMIN);
    // The first time is at the start, where no pipe is there to wait at.
    let faults = format!("export WAYPOST_FAULTS=load:{last}; exec \"$@\"");
    setup.through_shell(&faults).start().await
}

/// Compilers may take minutes.
#[tokio::test]
async fn servers_change_while_a_plugin_is_loaded() {
    let origins = origins(2).await;
    let setup = proxy::to(&origins).more(ADMIN);
    let component = setup.directory().join("mine.wasm");
    std::fs::write(component, version("round_robin", 1)).unwrap();
    let setup = setup.through_shell("export WAYPOST_FAULTS=load:2; exec \"$@\"");
    let proxy = setup.start().await;
    proxy.append("[plugin.mine]\nfile = \"mine.wasm\"");
    let (reload, next) = (request("POST", "/reload", ""), version("round_robin", 2));
    for load in [reload.into_bytes(), load_request("mine", &next)] {
        let mut held = proxy.hold_at("load");
        let mut client = Client::connect(&proxy.admin_address()).await;
        client.send(load).await;
        held.is_read().await;
        let server = format!("/upstreams/backend/servers/{}", origins[0].address());
        let changed = proxy.admin("PATCH", &server, "{\"weight\": 2}").await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        held.release();
        let loaded = client.response().await;
        assert_eq!(loaded.status, 200, "{}", loaded.text());
        std::fs::remove_file(proxy.directory().join("load")).unwrap();
    }
    assert_eq!(mine(&proxy).await["version"], 2);
}

/// What a file holds by then is another change: nobody compiles it while servers and addresses wait.
#[tokio::test]
async fn a_file_that_is_replaced_while_a_reload_loads_it_is_loaded_by_the_next_one() {
    let origins = origins(2).await;
    let setup = proxy::to(&origins).more(ADMIN);
    let file = setup.directory().join("mine.wasm");
    std::fs::write(&file, version("round_robin", 1)).unwrap();
    let setup = setup.through_shell("export WAYPOST_FAULTS=load; exec \"$@\"");
    let proxy = setup.start().await;
    proxy.append("[plugin.mine]\nfile = \"mine.wasm\"");
    let mut held = proxy.hold_at("load");
    let mut client = Client::connect(&proxy.admin_address()).await;
    client.send(request("POST", "/reload", "")).await;
    held.is_read().await;
    replace(&file, &version("round_robin", 2));
    held.release();
    assert_eq!(client.response().await.status, 200);
    let first = mine(&proxy).await;
    assert_eq!(first["version"], 1);
    proxy.reload().await;
    let second = mine(&proxy).await;
    assert_eq!(second["version"], 2);
    assert_ne!(first["hash"], second["hash"]);
}

/// It was compiled for what the configuration said before.
#[tokio::test]
async fn a_compile_that_ends_late_takes_no_version_s_place() {
    let origins = origins(2).await;
    let setup = proxy::to(&origins).more(ADMIN);
    let file = setup.directory().join("mine.wasm");
    std::fs::write(&file, uncompiled("round_robin")).unwrap();
    let setup = setup.through_shell("export WAYPOST_FAULTS=compiling; exec \"$@\"");
    let proxy = setup.start().await;
    proxy.append("[plugin.mine]\nfile = \"mine.wasm\"\nstart = \"fallback\"");
    let mut held = proxy.hold_at("compiling");
    proxy.reload().await;
    held.is_read().await;
    let loaded = load(&proxy, &version("round_robin", 2)).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    let hash = mine(&proxy).await["hash"].clone();
    held.release();
    proxy.log_contains("is not waited for any more").await;
    assert_eq!(mine(&proxy).await["hash"], hash);
    assert_eq!(mine(&proxy).await["previous"], Value::Null);
    // As any that was loaded by hand, until the file changes.
    proxy.reload().await;
    assert_eq!(mine(&proxy).await["hash"], hash);
}

#[tokio::test]
async fn a_version_is_loaded_while_a_reload_waits() {
    let origins = origins(2).await;
    let proxy = with(&version("round_robin", 1), "", &origins).await;
    let mut held = proxy.hold_file();
    let mut client = Client::connect(&proxy.admin_address()).await;
    client.send(request("POST", "/reload", "")).await;
    held.is_read().await;
    let loaded = load(&proxy, &version("round_robin", 2)).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    held.release();
    let reloaded = client.response().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(mine(&proxy).await["version"], 2);
}

/// The last of the changes that are served is in force: no version has the number of another one.
#[tokio::test]
async fn what_a_reload_loads_comes_behind_a_version_that_came_meanwhile() {
    let origins = origins(2).await;
    let proxy = that_waits(&origins).await;
    replace(
        &proxy.directory().join("mine.wasm"),
        &version("round_robin", 2),
    );
    let mut held = proxy.hold_at("load");
    let mut client = Client::connect(&proxy.admin_address()).await;
    client.send(request("POST", "/reload", "")).await;
    held.is_read().await;
    let loaded = load(&proxy, &version("round_robin", 3)).await.json();
    assert_eq!(loaded["version"], 2, "{loaded}");
    held.release();
    let reloaded = client.response().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let mine = mine(&proxy).await;
    assert_eq!(mine["version"], 3);
    assert_eq!(mine["previous"]["hash"], loaded["hash"]);
}

/// Compilers may take minutes: no change waits for the one that the reload needs then.
#[tokio::test]
async fn servers_change_while_a_reload_that_was_overtaken_loads_its_plugin_again() {
    let origins = origins(2).await;
    let proxy = that_waits_until(&origins, 4).await;
    replace(
        &proxy.directory().join("mine.wasm"),
        &version("round_robin", 2),
    );
    let mut first = proxy.hold_at("load");
    let mut client = Client::connect(&proxy.admin_address()).await;
    client.send(request("POST", "/reload", "")).await;
    first.is_read().await;
    std::fs::remove_file(proxy.directory().join("load")).unwrap();
    let loaded = load(&proxy, &version("round_robin", 3)).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    let mut second = proxy.hold_at("load");
    drop(first);
    second.is_read().await;
    let server = format!("/upstreams/backend/servers/{}", origins[0].address());
    let changed = proxy.admin("PATCH", &server, "{\"weight\": 2}").await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    second.release();
    let reloaded = client.response().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(mine(&proxy).await["version"], 3);
}

/// It was allowed what the configuration of before allowed.
#[tokio::test]
async fn a_version_is_loaded_again_where_another_configuration_came_meanwhile() {
    let origins = origins(2).await;
    let proxy = that_waits(&origins).await;
    let next = version("round_robin", 2);
    let mut held = proxy.hold_at("load");
    let mut client = Client::connect(&proxy.admin_address()).await;
    client.send(load_request("mine", &next)).await;
    held.is_read().await;
    proxy.append("[plugin.mine.limits]\nmemory = \"8m\"");
    proxy.reload().await;
    let before = mine(&proxy).await;
    assert_eq!(before["version"], 2);
    held.release();
    let loaded = client.response().await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    let loaded = loaded.json();
    assert_eq!(loaded["version"], 3);
    assert_ne!(loaded["hash"], before["hash"]);
    // It is allowed what the configuration allows: otherwise this would load its file.
    proxy.reload().await;
    assert_eq!(mine(&proxy).await["hash"], loaded["hash"]);
}

#[tokio::test]
async fn a_version_of_a_plugin_that_has_gone_meanwhile_is_not_loaded() {
    let origins = origins(2).await;
    let proxy = that_waits(&origins).await;
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    let mut held = proxy.hold_at("load");
    let mut client = Client::connect(&proxy.admin_address()).await;
    client
        .send(load_request("mine", &version("round_robin", 2)))
        .await;
    held.is_read().await;
    let without = text.replace("policy = \"mine\"", "");
    let without = without.replace("[plugin.mine]\nfile = \"mine.wasm\"", "");
    proxy.write(&without);
    proxy.reload().await;
    held.release();
    let refused = client.response().await;
    assert_eq!(refused.status, 404, "{}", refused.text());
}

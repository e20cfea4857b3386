//! What hooks have decided.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Metrics, Proxy, proxy};

async fn deciding() -> Proxy {
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [hook.api]\nplugin = \"limit_req\"\nkey = \"$remote_addr\"\nrate = \"1r/m\"\n\
         [[route]]\nhooks = [\"request_id\", {{ use = \"api\", burst = 1, nodelay = true }}]\n\
         return = {{ status = 204 }}\n\
         [[route]]\npath = \"/denied\"\nreturn = {{ status = 204 }}\n\
         hooks = [{{ plugin = \"access\", rules = [\"deny all\"] }}]\n{ADMIN}"
    );
    proxy::run(&file, &[]).await
}

#[tokio::test]
async fn verdicts_are_told_by_the_name_of_the_hook() {
    let proxy = deciding().await;
    let mut client = proxy.client().await;
    for status in [204, 204, 503] {
        assert_eq!(client.get("/").await.status, status);
    }
    assert_eq!(client.get("/denied").await.status, 403);
    let all = |metrics: &Metrics| metrics.sum("waypost_requests_total") == 4.0;
    let metrics = proxy.counts("four requests", all).await;
    let of = |hook: &str| {
        ["proceed", "answer", "reroute", "failed"].map(|verdict| {
            let labels = format!(r#"{{hook="{hook}",verdict="{verdict}"}}"#);
            metrics.value(&format!("waypost_hook_verdicts_total{labels}"))
        })
    };
    assert_eq!(of("request_id"), [3.0, 0.0, 0.0, 0.0]);
    assert_eq!(of("api"), [2.0, 1.0, 0.0, 0.0]);
    assert_eq!(of("access"), [0.0, 1.0, 0.0, 0.0]);
}

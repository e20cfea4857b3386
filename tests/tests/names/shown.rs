//! What `waypost upstream list` shows of servers whose names have no address.

use super::*;

#[tokio::test]
async fn servers_without_an_address_are_in_the_order_of_the_configuration_and_are_down_if_said_so()
{
    let (origins, _) = origins(2).await;
    let dns = Scripted::start(|question| vec![question.answer(3, &[])]).await;
    let [first, last] = [0, 1].map(|index| format!("\"{}\"", origins[index].address()));
    let servers = [
        "{ address = \"spare.test:80\", backup = true }".to_owned(),
        first,
        "\"drained.test:80\"".to_owned(),
        "{ address = \"down.test:80\", down = true }".to_owned(),
        last,
    ];
    let resolver = format!("resolver = {{ addresses = [\"{}\"] }}", dns.address());
    let proxy = proxy::to(servers).upstream(&resolver).more(ADMIN);
    let proxy = proxy.start().await;
    let drained = "/upstreams/backend/servers/drained.test:80";
    let drained = proxy.admin("PATCH", drained, "{\"down\": true}").await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    let shown = listed(&proxy).await;
    let shown = shown["servers"].as_array().expect("a list");
    let names: Vec<&str> = shown
        .iter()
        .filter_map(|server| server["server"].as_str())
        .collect();
    let [first, last] = [0, 1].map(|index| origins[index].address());
    let expected = [
        first,
        "drained.test:80",
        "down.test:80",
        last,
        "spare.test:80",
    ];
    assert_eq!(names, expected);
    for (index, detail) in [(1, "by a command, until `resume`"), (2, "`down = true`")] {
        let why = &shown[index]["why"];
        assert_eq!(why[0]["reason"], "down");
        assert_eq!(why[0]["detail"], detail);
        assert_eq!(why[1]["reason"], "unresolved");
    }
    assert_eq!(shown[4]["why"][0]["reason"], "unresolved");
}

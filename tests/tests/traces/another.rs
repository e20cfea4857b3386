//! A collector that others have written: rotel, which tells what it was sent.

use std::path::PathBuf;
use std::process::Command;

use waypost_tests::child::Child;
use waypost_tests::eventually;

use super::*;

/// The program within the package; none, and loudly so, where that is not installed.
fn rotel() -> Option<PathBuf> {
    let python = peers::python(&["rotel"])?;
    let mut command = Command::new(python);
    command.args(["-c", "import rotel; print(rotel.__path__[0])"]);
    let (_, folder, _) = waypost_tests::child::run(command);
    Some(PathBuf::from(folder.trim()).join("rotel-agent"))
}

#[tokio::test]
async fn spans_are_understood_by_a_collector_of_others_over_either_protocol() {
    let Some(program) = rotel() else {
        return;
    };
    let origin = origin::says("hello").await;
    let [grpc, http] = [origin::reserved(), origin::reserved()];
    let files = tempfile::TempDir::new().unwrap();
    let mut command = Command::new(program);
    command
        .args(["start", "--exporter", "blackhole"])
        .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
        .args(["--otlp-grpc-endpoint", &grpc, "--otlp-http-endpoint", &http])
        .arg("--pid-file")
        .arg(files.path().join("pid"));
    let collector = Child::start(command);
    for address in [&grpc, &http] {
        eventually("it listens", async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
    }
    for (address, protocol) in [(http, "http"), (grpc, "grpc")] {
        let proxy = proxy::to([&origin])
            .upstream("policy = \"round_robin\"")
            .more(&format!(
                "[traces]\nendpoint = \"http://{address}\"\nprotocol = \"{protocol}\"\nservice_name = \"by-{protocol}\"\n"
            ))
            .start()
            .await;
        let path = format!("/over/{protocol}");
        assert_eq!(proxy.get(&path).await.text(), "hello");
        let requests = origin.requests();
        let told = requests.last().unwrap().header("traceparent").to_owned();
        let [trace, attempt] = [&told[3..35], &told[36..52]];
        let parts = [
            trace.to_owned(),
            format!("Str(by-{protocol})"),
            format!("ID             : {attempt}"),
            format!("url.path: Str({path})"),
            "SPAN_KIND_SERVER".to_owned(),
            "SPAN_KIND_CLIENT".to_owned(),
            "http.response.status_code: Int(200)".to_owned(),
            "waypost.policy: Str(round_robin)".to_owned(),
        ];
        // It tells of a span in several pieces.
        let is_whole = |said: &str| parts.iter().all(|part| said.contains(part));
        (collector.stdout)
            .wait_until("all of three spans", |said| {
                said.matches(trace).count() >= 3 && is_whole(said)
            })
            .await;
        proxy
            .log()
            .lines()
            .for_each(|line| assert!(!line.contains("it refuses"), "{line}"));
    }
}

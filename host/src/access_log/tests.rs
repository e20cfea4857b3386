//! What ends up in a log, and what happens when it cannot.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::model::{AccessLog, Escape, LogConditions, LogField, LogFormat, LogPath};
use crate::config::problem::Place;
use crate::http::template::Template;
use crate::http::variable::{Scope, Variable, VariableSource};

mod used; // which exchanges have a line, and when it is handed over

/// Values by variable's name.
struct Values(HashMap<Variable, Vec<u8>>);

impl Values {
    fn new(values: &[(&str, &[u8])]) -> Values {
        let known = |name| Variable::parse(name).unwrap();
        Values(
            values
                .iter()
                .map(|(name, value)| (known(name), value.to_vec()))
                .collect(),
        )
    }
}

impl VariableSource for Values {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let value = self.0.get(variable);
        out.extend_from_slice(value.map(Vec::as_slice).unwrap_or_default());
        value.is_some()
    }
}

fn example() -> Values {
    Values::new(&[
        ("remote_addr", b"127.0.0.1"),
        ("time_local", b"01/Sep/2026:12:00:00 +0200"),
        ("time_iso8601", b"2026-09-01T12:00:00+02:00"),
        ("request", b"GET /a\"b\\c?\xc3\xa9 HTTP/1.1"),
        ("request_uri", b"/a\"b\\c?\xc3\xa9\xff\n"),
        ("request_method", b"GET"),
        ("status", b"200"),
        ("body_bytes_sent", b"12"),
        ("request_time", b"0.012"),
        ("http_user_agent", b"x\x01\x7f\x1fy\tz"),
        ("upstream_addr", b"10.0.0.1:80, 10.0.0.2:80"),
        ("upstream_response_time", b"0.001, 0.011"),
    ])
}

fn line(format: &LogFormat, source: &dyn VariableSource) -> String {
    let mut out = b"before\n".to_vec();
    write_line(format, source, &mut out);
    String::from_utf8(out)
        .unwrap()
        .strip_prefix("before\n")
        .unwrap()
        .to_owned()
}

fn template(text: &str) -> LogFormat {
    LogFormat::Template(Template::parse(text).unwrap(), Escape::Default)
}

#[test]
fn combined_is_what_nginx_writes() {
    assert_eq!(
        line(&LogFormat::Combined, &example()),
        "127.0.0.1 - - [01/Sep/2026:12:00:00 +0200] \"GET /a\\x22b\\x5Cc?\\xC3\\xA9 HTTP/1.1\" \
         200 12 \"-\" \"x\\x01\\x7F\\x1Fy\\x09z\"\n"
    );
}

#[test]
fn upstream_is_combined_and_behind_it_what_each_server_has_made_of_the_request() {
    let combined = line(&LogFormat::Combined, &example());
    assert_eq!(
        line(&LogFormat::Upstream, &example()),
        combined.trim_end().to_owned()
            + " rt=0.012 ua=\"10.0.0.1:80, 10.0.0.2:80\" us=\"-\" ut=\"0.001, 0.011\"\n"
    );
}

#[test]
fn a_client_cannot_forge_a_second_line() {
    let source = Values::new(&[("uri", b"/\r\n127.0.0.1 - - \"")]);
    assert_eq!(
        line(&template("[$uri]"), &source),
        "[/\\x0D\\x0A127.0.0.1 - - \\x22]\n"
    );
    let json = line(
        &LogFormat::Json(Scope::Request),
        &Values::new(&[("request_uri", b"/\r\n{}")]),
    );
    assert_eq!(json.matches('\n').count(), 1);
}

#[test]
fn a_format_of_the_user_s_marks_missing_values_and_keeps_empty_ones() {
    let source = Values::new(&[("args", b""), ("status", b"404")]);
    assert_eq!(
        line(&template("$status [$args] $host é"), &source),
        "404 [] - é\n"
    );
}

#[test]
fn every_byte_is_escaped_as_in_nginx() {
    for byte in 0..=255_u8 {
        let shown = line(
            &template("$host"),
            &Values::new(&[("host", &[b'a', byte, b'b', byte])]),
        );
        let expected = match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => format!("\\x{byte:02X}"),
            printable => char::from(printable).to_string(),
        };
        assert_eq!(shown, format!("a{expected}b{expected}\n"));
    }
}

#[test]
fn a_json_line_is_one_object_with_the_same_members_each_time() {
    let full: serde_json::Value =
        serde_json::from_str(&line(&LogFormat::Json(Scope::Request), &example())).unwrap();
    let empty: serde_json::Value =
        serde_json::from_str(&line(&LogFormat::Json(Scope::Request), &Values::new(&[]))).unwrap();
    let names = |value: &serde_json::Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&full), names(&empty));
    assert!(
        empty
            .as_object()
            .unwrap()
            .values()
            .all(serde_json::Value::is_null)
    );

    assert_eq!(full["time"], "2026-09-01T12:00:00+02:00");
    assert_eq!(full["request_uri"], "/a\"b\\c?é\u{fffd}\n");
    assert_eq!(full["http_user_agent"], "x\u{1}\u{7f}\u{1f}y\tz");
    assert_eq!(full["status"], 200);
    assert_eq!(full["request_time"], 0.012);
    assert_eq!(full["upstream_addr"], "10.0.0.1:80, 10.0.0.2:80");
    assert_eq!(full["upstream_response_time"], "0.001, 0.011");
    assert!(full["host"].is_null());
}

#[test]
fn a_figure_that_json_has_no_number_for_is_a_string() {
    for status in ["000", "-", "", "1.", ".5", "1e5", "0x1"] {
        let source = Values::new(&[("status", status.as_bytes())]);
        let json: serde_json::Value =
            serde_json::from_str(&line(&LogFormat::Json(Scope::Request), &source)).unwrap();
        assert_eq!(json["status"], status);
    }
}

/// A directory for logs, and the logs.
struct Scene {
    directory: tempfile::TempDir,
    logs: AccessLogs,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            directory: tempfile::tempdir().unwrap(),
            logs: AccessLogs::start().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self, name: &str) -> Arc<Log> {
        self.logs.open(&LogPath::File(self.path(name))).unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Waits until the file has as many lines, or fails after ten seconds.
    fn wait_for_lines(&self, name: &str, count: usize) {
        let start = Instant::now();
        while self.read(name).lines().count() < count {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "`{name}` never had {count} lines"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Each exchange has a line.
fn config(format: &LogFormat) -> AccessLog {
    AccessLog {
        path: LogPath::Stdout,
        format: format.clone(),
        when: LogConditions::default(),
        sample: None,
        buffer: 32 << 10,
        flush: Duration::from_secs(1),
        place: Place::default(),
    }
}

fn used(log: &Arc<Log>, config: AccessLog) -> UsedLog {
    let log = Arc::clone(log);
    UsedLog { log, config }
}

/// Adds a line to one log.
fn write(
    buffers: &mut LogBuffers,
    log: &Arc<Log>,
    format: &LogFormat,
    source: &dyn VariableSource,
    now: Instant,
) {
    buffers.write(&[used(log, config(format))], source, now);
}

fn says(text: &str) -> Values {
    Values::new(&[("host", text.as_bytes())])
}

#[test]
fn closing_writes_every_line_in_order() {
    let scene = Scene::new();
    let (log, format) = (scene.open("a.log"), template("$host"));
    let mut buffers = scene.logs.buffers();
    let now = Instant::now();
    let expected: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
    for text in &expected {
        write(&mut buffers, &log, &format, &says(text), now);
    }
    drop(buffers);
    scene.logs.close();
    assert_eq!(scene.read("a.log").lines().collect::<Vec<_>>(), expected);
}

#[test]
fn lines_are_added_to_what_a_file_has() {
    let scene = Scene::new();
    std::fs::write(scene.path("a.log"), "old\n").unwrap();
    let log = scene.open("a.log");
    write(
        &mut scene.logs.buffers(),
        &log,
        &template("$host"),
        &says("new"),
        Instant::now(),
    );
    scene.logs.close();
    assert_eq!(scene.read("a.log"), "old\nnew\n");
}

#[test]
fn lines_wait_until_they_are_a_second_old() {
    for (age, written) in [(999, ""), (1000, "x\n")] {
        let scene = Scene::new();
        let mut buffers = scene.logs.buffers();
        let start = Instant::now();
        write(
            &mut buffers,
            &scene.open("a.log"),
            &template("$host"),
            &says("x"),
            start,
        );
        buffers.flush_if_due(start + Duration::from_millis(age));
        // Nothing that is handed over later is written.
        scene.logs.close();
        assert_eq!(scene.read("a.log"), written, "after {age} ms");
    }
}

#[test]
fn many_lines_do_not_wait() {
    let scene = Scene::new();
    let (log, format) = (scene.open("a.log"), template("$host"));
    let mut buffers = scene.logs.buffers();
    let (text, now) = (says(&"x".repeat(1023)), Instant::now());
    for _ in 0..33 {
        write(&mut buffers, &log, &format, &text, now);
    }
    scene.logs.close();
    assert_eq!(scene.read("a.log").lines().count(), 32);
}

#[test]
fn those_who_open_one_path_share_a_log_and_others_do_not() {
    let scene = Scene::new();
    let log = scene.open("a.log");
    assert!(Arc::ptr_eq(&log, &scene.open("a.log")));
    assert!(!Arc::ptr_eq(&log, &scene.open("b.log")));
    scene.logs.open(&LogPath::Stdout).unwrap();
    scene.logs.open(&LogPath::Stderr).unwrap();
}

#[test]
fn two_logs_keep_their_lines_apart() {
    let scene = Scene::new();
    let (one, other, format) = (scene.open("1.log"), scene.open("2.log"), template("$host"));
    let mut buffers = scene.logs.buffers();
    for (log, text) in [(&one, "a"), (&other, "b"), (&one, "c")] {
        write(&mut buffers, log, &format, &says(text), Instant::now());
    }
    buffers.flush();
    scene.logs.close();
    assert_eq!(
        (scene.read("1.log"), scene.read("2.log")),
        ("a\nc\n".to_owned(), "b\n".to_owned())
    );
}

#[test]
fn a_file_is_closed_once_nobody_logs_to_it() {
    let scene = Scene::new();
    let log = scene.open("a.log");
    let held = Arc::downgrade(&log);
    let mut buffers = scene.logs.buffers();
    let now = Instant::now();
    write(&mut buffers, &log, &template("$host"), &says("x"), now);
    drop(log);
    buffers.flush_if_due(now + Duration::from_secs(1));
    scene.logs.close();
    assert!(held.upgrade().is_none());
    assert_eq!(scene.read("a.log"), "x\n");
}

#[test]
fn after_a_rotation_lines_go_to_the_new_file() {
    let scene = Scene::new();
    let (log, format) = (scene.open("a.log"), template("$host"));
    let mut buffers = scene.logs.buffers();
    write(&mut buffers, &log, &format, &says("before"), Instant::now());
    buffers.flush();
    scene.wait_for_lines("a.log", 1);
    std::fs::rename(scene.path("a.log"), scene.path("a.log.1")).unwrap();
    scene.logs.reopen().unwrap();
    assert_eq!(scene.read("a.log"), "");
    write(&mut buffers, &log, &format, &says("after"), Instant::now());
    buffers.flush();
    scene.logs.close();
    assert_eq!(
        (scene.read("a.log.1"), scene.read("a.log")),
        ("before\n".to_owned(), "after\n".to_owned())
    );
}

#[test]
fn a_log_that_cannot_be_reopened_goes_on_with_the_old_file() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("old")).unwrap();
    let log = scene.open("old/a.log");
    std::fs::rename(scene.path("old"), scene.path("new")).unwrap();
    let problems = scene.logs.reopen().unwrap_err();
    assert_eq!(problems.len(), 1);
    write(
        &mut scene.logs.buffers(),
        &log,
        &template("$host"),
        &says("x"),
        Instant::now(),
    );
    scene.logs.close();
    assert_eq!(scene.read("new/a.log"), "x\n");
}

#[test]
fn a_missing_directory_is_told_when_the_log_is_opened() {
    let scene = Scene::new();
    let path = scene.path("missing/a.log");
    let problem = scene.logs.open(&LogPath::File(path.clone())).unwrap_err();
    let expected = format!(
        "cannot open access log `{}`: No such file or directory",
        path.display()
    );
    assert!(problem.to_string().starts_with(&expected), "{problem}");
}

/// Knows its first variable and panics over the next.
struct Panics;

impl VariableSource for Panics {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"torn");
        assert_eq!(*variable, Variable::Host, "as the test wants it");
        true
    }
}

#[test]
fn a_line_that_a_panic_cuts_short_is_not_there() {
    let scene = Scene::new();
    let (log, format) = (scene.open("a.log"), template("$host $uri"));
    let mut buffers = scene.logs.buffers();
    write(&mut buffers, &log, &format, &says("before"), Instant::now());
    let cut = std::panic::AssertUnwindSafe(|| {
        write(&mut buffers, &log, &format, &Panics, Instant::now());
    });
    assert!(std::panic::catch_unwind(cut).is_err());
    write(&mut buffers, &log, &format, &says("after"), Instant::now());
    drop(buffers);
    scene.logs.close();
    assert_eq!(scene.read("a.log"), "before -\nafter -\n");
}

#[test]
fn an_object_of_ones_own_has_its_members_in_order() {
    let fields = [
        ("status", "$status"),
        ("took", "$request_time"),
        ("a \"name\"", "$request_uri"),
        ("who", "$remote_addr:$remote_port"),
        ("both", "$status$status"),
        ("sent", "$bytes_sent"),
        ("host", "$host"),
        ("tries", "$upstream_response_time"),
    ];
    let fields =
        fields.map(|(name, value)| LogField::new(name.to_owned(), Template::parse(value).unwrap()));
    let shown = line(&LogFormat::Fields(fields.to_vec().into()), &example());
    assert_eq!(
        shown,
        "{\"status\":200,\"took\":0.012,\"a \\\"name\\\"\":\"/a\\\"b\\\\c?é\u{fffd}\\n\",\
         \"who\":\"127.0.0.1:\",\"both\":\"200200\",\"sent\":null,\"host\":\"\",\
         \"tries\":\"0.001, 0.011\"}\n"
    );
    let no_number = Values::new(&[("status", b"-")]);
    let field = LogField::new("s".to_owned(), Template::parse("$status").unwrap());
    let format = LogFormat::Fields(vec![field].into());
    assert_eq!(line(&format, &no_number), "{\"s\":\"-\"}\n");
}

#[test]
fn values_are_escaped_as_the_format_says() {
    let escaped = |escape| {
        let template = Template::parse("$http_user_agent|$request|$host|").unwrap();
        line(&LogFormat::Template(template, escape), &example())
    };
    assert_eq!(
        escaped(Escape::Json),
        "x\\u0001\u{7f}\\u001fy\\tz|GET /a\\\"b\\\\c?é HTTP/1.1||\n"
    );
    assert_eq!(
        escaped(Escape::None),
        "x\u{1}\u{7f}\u{1f}y\tz|GET /a\"b\\c?é HTTP/1.1||\n"
    );
    assert!(escaped(Escape::Default).ends_with("|-|\n"));
}

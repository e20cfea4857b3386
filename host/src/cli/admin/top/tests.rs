//! What people see, at several sizes of the terminal; with hostile names, and a thousand servers.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;
use serde_json::{Value, json};

use super::super::understood;
use super::draw::draw;
use super::figures::Counters;
use super::look::Look;
use super::screen::{Lost, Screen};
use super::shown::Shown;
use super::{interval, plain};

fn server(address: &str, requests: u64, failed: u64) -> Value {
    json!({
        "address": address, "server": address, "weight": 1, "backup": false, "down": false,
        "max_conns": 0, "in_flight": 3, "fails": 0, "latency_us": 1500, "in_rotation": true,
        "counts": {"requests": requests, "answers": {}, "failed": failed, "failures": {}, "retried": failed},
    })
}

fn look(at: Instant, servers: Vec<Value>, metrics: &str) -> Look {
    let status = json!({
        "version": "0.1.0", "pid": 7, "state": "serving", "uptime_s": 93_784, "generation": 3,
        "config": "waypost.toml", "workers": 2, "worker_restarts": 0, "panics": 0,
        "connections": 31, "accepted": 100, "listeners": [],
        "reloads": {"succeeded": 2, "failed": 0, "last_error": null},
    });
    let upstreams = json!([{"name": "backend", "policy": "least_conn", "servers": servers}]);
    let plugins = json!([{
        "name": "least_conn", "stock": true, "version": 1, "hash": "ab", "state": "live", "world": "policy",
        "imports": [], "calls": 64_000, "mean_ns": 310, "p99_ns": 900, "traps": 0, "deadlines": 0,
        "memory_faults": 0, "answers": 0, "memory_bytes": 1_048_576, "instances": 2,
        "upstreams": ["backend"], "previous": null, "last_error": null,
    }, {
        "name": "limit", "stock": false, "version": 4, "hash": "cd", "state": "quarantined", "world": "hook",
        "imports": [], "calls": 100, "mean_ns": 4200, "p99_ns": 9000, "traps": 3, "deadlines": 1,
        "memory_faults": 0, "answers": 0, "memory_bytes": 65_536, "instances": 2, "upstreams": [],
        "hooks": ["limit"], "previous": null, "last_error": "it trapped",
    }]);
    let events = json!([{
        "level": "error", "text": "connect() failed (111: Connection refused)", "count": 12,
        "first": "2026-09-01T11:00:00.000Z", "last": "2026-09-01T12:00:00.000Z",
    }]);
    Look {
        at,
        status: understood(status).unwrap(),
        upstreams: understood(upstreams).unwrap(),
        plugins: understood(plugins).unwrap(),
        events: understood(events).unwrap(),
        counters: Counters::read(metrics),
    }
}

/// Two looks, two seconds apart.
fn shown(servers: impl Fn(u64) -> Vec<Value>) -> Shown {
    let metrics = |requests: u64| {
        format!(
            "waypost_requests_total{{route=\"a\",code=\"2xx\"}} {requests}\n\
             waypost_requests_total{{route=\"a\",code=\"5xx\"}} {}\n\
             waypost_requests_in_flight 6\n\
             waypost_request_duration_seconds_bucket{{route=\"a\",le=\"0.002\"}} {requests}\n\
             waypost_request_duration_seconds_bucket{{route=\"a\",le=\"+Inf\"}} {requests}\n\
             waypost_upstream_requests_total{{upstream=\"backend\",endpoint=\"a\",code=\"2xx\"}} {requests}\n\
             waypost_upstream_header_duration_seconds_bucket{{upstream=\"backend\",le=\"0.001\"}} {requests}\n\
             waypost_upstream_header_duration_seconds_bucket{{upstream=\"backend\",le=\"+Inf\"}} {requests}\n\
             waypost_hook_verdicts_total{{hook=\"limit\",verdict=\"answer\"}} {requests}\n",
            requests / 100
        )
    };
    let began = Instant::now();
    let earlier = look(began, servers(0), &metrics(0));
    let now = began + Duration::from_secs(2);
    Shown::of(&look(now, servers(200), &metrics(200)), Some(&earlier))
}

/// One that is well, one that is out and has failed, one of a name.
fn few(requests: u64) -> Vec<Value> {
    let mut out = server("10.0.0.2:3000", requests / 2, requests / 10);
    out["in_rotation"] = false.into();
    out["why"] = json!([{"reason": "unhealthy", "detail": "unexpected status 503", "since_ms": 12_000, "next_ms": 3_100}]);
    out["last_error"] = json!({
        "message": "connect() failed (111: Connection refused) while connecting to upstream",
        "at": "2026-09-01T12:00:00.000Z", "ago_ms": 14_200,
    });
    let mut named = server("10.0.0.3:3000", requests / 4, 0);
    named["server"] = "app.example:3000".into();
    named["backup"] = true.into();
    named["weight"] = 12.into();
    vec![server("10.0.0.1:3000", requests, 0), out, named]
}

fn drawn(screen: &mut Screen, columns: u16, lines: u16) -> Buffer {
    screen.size = (columns, lines);
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal
        .draw(|frame| draw(screen, frame.area(), frame.buffer_mut()))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    (0..area.height)
        .map(|y| {
            let symbols = (0..area.width).map(|x| buffer[(x, y)].symbol());
            symbols.collect::<String>().trim_end().to_owned()
        })
        .collect()
}

fn seen(screen: &mut Screen, columns: u16, lines: u16) -> String {
    let lines = self::lines(&drawn(screen, columns, lines));
    lines.join("\n").trim_end().to_owned()
}

/// Compares with a file of `seen`, which `WAYPOST_BLESS=1` writes.
fn is_as_kept(name: &str, seen: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/admin/top/seen");
    let (file, seen) = (format!("{folder}/{name}.txt"), format!("{seen}\n"));
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        std::fs::write(&file, &seen).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(seen, kept, "{file} differs:\n{seen}");
}

fn press(screen: &mut Screen, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '>' => KeyCode::PageDown,
            '<' => KeyCode::PageUp,
            '$' => KeyCode::End,
            key => KeyCode::Char(key),
        };
        screen.press(KeyEvent::from(code));
    }
}

fn of_few() -> Screen {
    Screen::new(shown(few), false, (80, 24))
}

#[test]
fn an_interval_is_from_half_a_second_to_a_minute() {
    assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
    assert_eq!(interval("60"), Ok(Duration::from_secs(60)));
    for text in ["0.4", "61", "NaN", "-1", "inf", "2s", ""] {
        assert!(interval(text).is_err(), "{text}");
    }
}

#[test]
fn eighty_columns_have_the_head_the_servers_and_what_went_wrong() {
    is_as_kept("80x24", &seen(&mut of_few(), 80, 24));
}

#[test]
fn a_narrow_terminal_has_fewer_columns_and_no_line_that_wraps() {
    is_as_kept("40x12", &seen(&mut of_few(), 40, 12));
}

#[test]
fn a_wide_terminal_has_what_went_wrong_in_the_same_line() {
    is_as_kept("200x60", &seen(&mut of_few(), 200, 60));
}

#[test]
fn plugins_hooks_and_events_have_views_of_their_own() {
    let mut screen = of_few();
    press(&mut screen, "2");
    let plugins = seen(&mut screen, 80, 24);
    press(&mut screen, "3");
    let hooks = seen(&mut screen, 80, 24);
    press(&mut screen, "4");
    let events = seen(&mut screen, 80, 24);
    is_as_kept("views", &[plugins, hooks, events].join("\n\n"));
}

#[test]
fn no_size_is_too_small() {
    for (columns, lines) in [(1, 1), (3, 2), (10, 5), (12, 6), (20, 7), (39, 8)] {
        for keys in ["1", "2", "3", "4", "?", "/a", "\n$"] {
            let mut screen = of_few();
            press(&mut screen, keys);
            drawn(&mut screen, columns, lines);
        }
    }
}

#[test]
fn nothing_has_a_colour_unless_that_is_wanted() {
    let coloured = |screen: &mut Screen| {
        let buffer = drawn(screen, 80, 24);
        let mut cells = buffer.content().iter();
        cells.any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(!coloured(&mut of_few()));
    let mut screen = Screen::new(shown(few), true, (80, 24));
    assert!(coloured(&mut screen));
    screen.has_colours = false;
    let without = seen(&mut screen, 80, 24);
    screen.has_colours = true;
    assert_eq!(seen(&mut screen, 80, 24), without, "words say the same");
}

const HOSTILE: [&str; 4] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "a\r\nb\tc\u{9b}31m",
    "\u{202e}evil\u{2066}\u{200b}",
    "x\u{0}\u{7f}\u{feff}\u{61c}y",
];

fn is_harmless(text: &str) -> bool {
    text.chars().all(|letter| {
        let turns = matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        !turns && (letter == '\n' || !letter.is_control())
    })
}

#[test]
fn names_and_errors_from_outside_command_nothing() {
    let hostile = |_| {
        let servers = HOSTILE.iter().map(|name| {
            let mut server = server(name, 1, 1);
            server["in_rotation"] = false.into();
            server["why"] = json!([{"reason": name, "detail": name}]);
            server["last_error"] = json!({"message": name, "at": "", "ago_ms": 0});
            server
        });
        servers.collect()
    };
    let shown = shown(hostile);
    let text = plain::text(&shown);
    assert!(is_harmless(&text), "{text:?}");
    let json = serde_json::to_string(&shown).unwrap();
    assert!(is_harmless(&json) && !json.contains("\\u"), "{json:?}");
    let mut screen = Screen::new(shown, false, (80, 24));
    for size in [(80, 24), (40, 12), (200, 60)] {
        let text = seen(&mut screen, size.0, size.1);
        assert!(is_harmless(&text), "{text:?}");
    }
    screen.lost = Some(Lost {
        since: "12:00:00".to_owned(),
        seconds: 75,
        why: "nobody answers".to_owned(),
    });
    let text = seen(&mut screen, 80, 24);
    assert!(
        text.contains("no answer since 12:00:00 (1m 15s): nobody answers\n"),
        "{text}"
    );
}

/// A look in which everything that somebody else may have named says this.
fn look_of(at: Instant, text: &str) -> Look {
    let mut look = look(at, few(0), "");
    let text = || text.to_owned();
    let status = &mut look.status;
    (status.version, status.state) = (text(), text());
    (status.reloads.last_failed, status.reloads.last_error) = (true, Some(text()));
    for upstream in &mut look.upstreams {
        (upstream.name, upstream.policy) = (text(), text());
        for server in &mut upstream.servers {
            (server.address, server.server) = (Some(text()), text());
            if let Some(error) = &mut server.last_error {
                error.message = text();
            }
        }
    }
    for plugin in &mut look.plugins {
        (plugin.name, plugin.last_error) = (text(), Some(text()));
        (plugin.upstreams, plugin.routes) = (vec![text()], vec![text()]);
        plugin.hooks = vec![text()];
    }
    look.plugins[0].state = text();
    for event in &mut look.events {
        (event.level, event.text, event.last) = (text(), text(), text());
    }
    look
}

#[test]
fn no_text_of_a_look_commands_anything() {
    for text in HOSTILE {
        let began = Instant::now();
        let (earlier, now) = (
            look_of(began, text),
            look_of(began + Duration::from_secs(2), text),
        );
        let shown = Shown::of(&now, Some(&earlier));
        let plain = plain::text(&shown);
        assert!(is_harmless(&plain), "{plain:?}");
        let json = serde_json::to_string(&shown).unwrap();
        assert!(is_harmless(&json) && !json.contains("\\u"), "{json:?}");
        let mut screen = Screen::new(shown, false, (200, 60));
        for view in ["1", "2", "3", "4"] {
            press(&mut screen, view);
            let seen = seen(&mut screen, 200, 60);
            assert!(is_harmless(&seen), "{seen:?}");
        }
    }
}

#[test]
fn letters_that_take_two_columns_move_nothing() {
    let wide = |_| {
        vec![
            server("\u{6f22}\u{5b57}\u{6f22}\u{5b57}:80", 0, 0),
            server("10.0.0.1:80", 0, 0),
        ]
    };
    let buffer = drawn(&mut Screen::new(shown(wide), false, (80, 24)), 80, 24);
    let column = |y: u16| (0..80).find(|x| buffer[(*x, y)].symbol() == "u");
    assert!(column(6).is_some());
    assert_eq!(column(6), column(7));
}

#[test]
fn a_sum_from_which_a_server_is_gone_is_no_rate() {
    let of = |endpoint: &str, requests: u64| {
        format!(
            "waypost_upstream_requests_total{{upstream=\"backend\",endpoint=\"{endpoint}\",code=\"2xx\"}} {requests}\n"
        )
    };
    let began = Instant::now();
    let earlier = look(began, few(0), &(of("a", 1000) + &of("b", 5000)));
    let now = look(began + Duration::from_secs(2), few(0), &of("a", 1100));
    let shown = Shown::of(&now, Some(&earlier));
    assert_eq!(shown.upstreams[0].requests_per_s, Some(0.0));
}

fn thousand(requests: u64) -> Vec<Value> {
    let servers = (0..1000).map(|number| {
        let address = format!("10.0.{}.{}:80", number / 250, number % 250 + 1);
        server(&address, requests * (number + 1) / 1000, 0)
    });
    servers.collect()
}

#[test]
fn a_thousand_servers_are_scrolled_sorted_and_filtered() {
    let mut screen = Screen::new(shown(thousand), false, (80, 24));
    let first = |screen: &mut Screen| {
        let text = seen(screen, 80, 24);
        let line = text.lines().nth(6).unwrap().trim_start().to_owned();
        line.split(' ').next().unwrap().to_owned()
    };
    assert_eq!(first(&mut screen), "10.0.0.1:80");
    assert!(seen(&mut screen, 80, 24).ends_with("1-18 of 1001"));
    press(&mut screen, ">");
    assert_eq!(first(&mut screen), "10.0.0.19:80");
    press(&mut screen, "$");
    assert!(seen(&mut screen, 80, 24).ends_with("984-1001 of 1001"));
    press(&mut screen, "<");
    assert!(seen(&mut screen, 80, 24).ends_with("966-983 of 1001"));
    // By requests: the last one has most.
    press(&mut screen, "sss");
    assert_eq!(screen.sorted_by(), "req/s");
    assert_eq!(first(&mut screen), "10.0.3.250:80");
    press(&mut screen, "r");
    assert_eq!(first(&mut screen), "10.0.0.1:80");
    press(&mut screen, "/0.2.7:\n");
    let text = seen(&mut screen, 80, 24);
    assert_eq!(text.matches("10.0.").count(), 1, "{text}");
    assert!(text.contains("  10.0.2.7:80"), "{text}");
    press(&mut screen, "/zzz\n");
    assert!(seen(&mut screen, 80, 24).contains("nothing has such a name"));
}

#[test]
fn another_process_begins_anew() {
    let began = Instant::now();
    let now = look(began + Duration::from_secs(2), few(200), "");
    let (mut other, mut restarted) = (look(began, few(0), ""), look(began, few(0), ""));
    other.status.pid = 8;
    restarted.status.uptime_s += 1;
    for earlier in [other, restarted] {
        let shown = Shown::of(&now, Some(&earlier));
        assert_eq!(shown.process.requests_per_s, None);
        assert_eq!(shown.upstreams[0].servers[0].requests_per_s, None);
    }
    let shown = Shown::of(&now, None);
    assert_eq!((shown.process.seconds, shown.process.p99_us), (None, None));
}

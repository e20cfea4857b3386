//! Which exchanges have a line in a log, and when their lines are handed over.

use std::time::{Duration, Instant};

use super::{Scene, Values, config, says, template, used};
use crate::config::model::{AccessLog, LogConditions, PathPattern};
use crate::http::definition::Shares;

/// What a log with these conditions has of exchanges with a status and a path.
fn logged(when: LogConditions, exchanges: &[(&str, &str)]) -> String {
    let scene = Scene::new();
    let log = scene.open("a.log");
    let log = used(
        &log,
        AccessLog {
            when,
            ..config(&template("$status$uri"))
        },
    );
    let logs = [log];
    let mut buffers = scene.logs.buffers();
    for (status, uri) in exchanges {
        let source = Values::new(&[("status", status.as_bytes()), ("uri", uri.as_bytes())]);
        buffers.write(&logs, &source, Instant::now());
    }
    drop(buffers);
    scene.logs.close();
    scene.read("a.log").replace('\n', " ")
}

#[test]
fn an_exchange_has_a_line_where_all_holds_that_the_log_says() {
    let all = [
        ("200", "/a"),
        ("404", "/a"),
        ("500", "/health"),
        ("503", "/b/c"),
    ];
    let shown = |change: &dyn Fn(&mut LogConditions)| {
        let mut when = LogConditions::default();
        change(&mut when);
        logged(when, &all)
    };
    assert_eq!(shown(&|_| ()), "200/a 404/a 500/health 503/b/c ");
    let errors = shown(&|when| when.statuses = vec![404..=404, 500..=599]);
    assert_eq!(errors, "404/a 500/health 503/b/c ");
    let others = shown(&|when| when.other_statuses = vec![400..=499]);
    assert_eq!(others, "200/a 500/health 503/b/c ");
    let below = shown(&|when| when.paths = vec![PathPattern::Prefix("/b/".to_owned())]);
    assert_eq!(below, "503/b/c ");
    let both = shown(&|when| {
        when.statuses = vec![500..=599];
        when.other_paths = vec![PathPattern::Exact("/health".to_owned())];
    });
    assert_eq!(both, "503/b/c ");
}

#[test]
fn logs_of_one_exchange_agree_about_who_is_in_a_sample() {
    let scene = Scene::new();
    let format = template("$host");
    let sampled = |name: &str, share: &str| {
        let sample = Shares::default().next(share).ok();
        used(
            &scene.open(name),
            AccessLog {
                sample,
                ..config(&format)
            },
        )
    };
    let logs = [sampled("few.log", "10%"), sampled("many.log", "50%")];
    let mut buffers = scene.logs.buffers();
    let exchanges = 4000;
    for number in 0..exchanges {
        buffers.write(&logs, &says(&number.to_string()), Instant::now());
    }
    drop(buffers);
    scene.logs.close();
    let (few, many) = (scene.read("few.log"), scene.read("many.log"));
    // Each within twenty standard deviations.
    let (fewer, more) = (few.lines().count(), many.lines().count());
    assert!((20..=780).contains(&fewer), "{fewer}");
    assert!((1368..=2632).contains(&more), "{more}");
    let in_many: std::collections::HashSet<&str> = many.lines().collect();
    assert!(few.lines().all(|line| in_many.contains(line)));
}

#[test]
fn a_log_may_say_when_its_lines_are_handed_over() {
    let scene = Scene::new();
    let format = template("$host");
    let (at_once, late) = (scene.open("at_once.log"), scene.open("late.log"));
    let logs = [
        used(
            &at_once,
            AccessLog {
                buffer: 0,
                ..config(&format)
            },
        ),
        used(
            &late,
            AccessLog {
                flush: Duration::from_secs(60),
                ..config(&format)
            },
        ),
    ];
    let mut buffers = scene.logs.buffers();
    let start = Instant::now();
    buffers.write(&logs, &says("x"), start);
    scene.wait_for_lines("at_once.log", 1);
    buffers.flush_if_due(start + Duration::from_secs(59));
    assert_eq!(scene.read("late.log"), "");
    buffers.flush_if_due(start + Duration::from_secs(60));
    scene.wait_for_lines("late.log", 1);
}

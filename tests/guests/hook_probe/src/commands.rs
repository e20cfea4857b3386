//! What the probe can be told to do.

use std::hint::black_box;

use waypost_sdk::{Call, Verdict, clock, log};

use crate::{Probe, text};

impl Probe {
    /// Carries out commands in their order: the verdict of the last one that has one. How many
    /// changes were refused is told to the client.
    pub(crate) fn obey(&self, call: &Call, commands: &[String]) -> Verdict {
        let (mut verdict, mut refused) = (Verdict::Proceed, 0);
        for command in commands {
            let (accepted, decided) = self.command(call, command);
            verdict = decided.unwrap_or(verdict);
            refused += u32::from(!accepted);
        }
        if refused > 0 {
            self.tell(call, "Refused", refused.to_string());
        }
        verdict
    }

    /// Adds what it has to tell to the response: `X-NAME-TOPIC`.
    fn tell(&self, call: &Call, topic: &str, value: impl AsRef<[u8]>) -> bool {
        let header = format!("X-{}-{topic}", self.name);
        call.changes().add_response_header(&header, value)
    }

    /// Whether what it wants is accepted, and its verdict.
    fn command(&self, call: &Call, command: &str) -> (bool, Option<Verdict>) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let number: usize = name.parse().unwrap_or_default();
        let changes = call.changes();
        let accepted = match verb {
            "set" => changes.set_request_header(name, value),
            "add" => changes.add_request_header(name, value),
            "remove" => changes.remove_request_header(name),
            "answer_set" => changes.set_response_header(name, value),
            "answer_add" => changes.add_response_header(name, value),
            "answer_remove" => changes.remove_response_header(name),
            "method" => changes.set_method(rest),
            "path" => changes.set_path(rest),
            "query" => changes.set_query(rest),
            "attribute" => changes.set_attribute(name, value),
            "upstream" => changes.take_upstream(rest),
            "delay" => changes.delay(number as u64 * 1000),
            // So many attributes of so many bytes.
            "attributes" => (0..number).fold(true, |all, number| {
                let bytes = vec![b'x'; value.parse().unwrap_or_default()];
                changes.set_attribute(&format!("a{number}"), bytes) && all
            }),
            // An attribute of so many bytes.
            "fat" => changes.set_attribute(name, vec![b'x'; value.parse().unwrap_or_default()]),
            // A header whose value has a line end.
            "two_lines" => changes.set_request_header(name, "one\r\nX-Two: 2"),
            "note" => {
                call.exchange().note(|| rest.to_owned());
                true
            }
            // So many notes.
            "notes" => {
                (0..number).for_each(|_| call.exchange().note(|| value.to_owned()));
                true
            }
            "count" => self.tell(call, "Count", self.calls.to_string()),
            "place" => self.tell(call, "Place", call.place.to_string()),
            "file" => self.tell(call, "File", &self.file),
            "key" => self.tell(call, "Key", call.exchange().key()),
            "path_seen" => self.tell(call, "Path", call.request().path()),
            "variable" => self.tell(call, "Saw", text(call.variable(name))),
            "attribute_seen" => self.tell(call, "Saw", text(call.exchange().attribute(name))),
            "status" => {
                let local = if call.response().is_local() {
                    " local"
                } else {
                    ""
                };
                self.tell(
                    call,
                    "Status",
                    format!("{}{local}", call.response().status()),
                )
            }
            // A line of the log, so that a spec can wait for it.
            "say" => {
                log::info(&format!("{} says {rest}", self.name));
                true
            }
            "flood" => {
                (0..2000).for_each(|_| log::info(&"all work and no play ".repeat(50)));
                true
            }
            "trap" => {
                self.note("traps");
                panic!("as it is told");
            }
            // Its call is told the time of day, so that two calls can be compared.
            "wall" => self.tell(call, "Wall", clock::wall_ms().to_string()),
            "loop" => spin(),
            "doze" => doze(),
            "hoard" => hoard(),
            // Its first calls find the route anew.
            "reroute_at_first" if self.calls <= number as u64 => {
                return (true, Some(Verdict::Reroute));
            }
            "reroute_at_first" => true,
            _ => return decision(call, verb, rest),
        };
        (accepted, None)
    }
}

/// Commands that are verdicts.
fn decision(call: &Call, verb: &str, rest: &str) -> (bool, Option<Verdict>) {
    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
    let (accepted, verdict) = match verb {
        "answer" => {
            let status = name.parse().unwrap_or_default();
            (call.changes().answer(status, value), Verdict::Answer)
        }
        "reroute" => (true, Verdict::Reroute),
        "route" => (call.changes().take_route(rest), Verdict::Reroute),
        "check" => {
            call.checks().verify_password(name, value);
            (true, Verdict::Wait)
        }
        "wait_for_nothing" => (true, Verdict::Wait),
        _ => panic!("what is {verb}?"),
    };
    // What was refused is not decided, unless that is the point.
    let is_nonsense = matches!(verb, "answer");
    (accepted, (accepted || is_nonsense).then_some(verdict))
}

/// Far more processor time than any call has.
fn spin() -> bool {
    (0..u64::MAX).all(|turn| black_box(turn) < u64::MAX)
}

/// Waits for a minute to pass, as if it could sleep.
fn doze() -> bool {
    let until = clock::wall_ms() + 60_000;
    while clock::wall_ms() < until {}
    true
}

fn hoard() -> bool {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 20]);
        black_box(&hoard);
    }
}

//! A hook that waits as the request tells it, command by command: for the specs of such hooks.
//!
//! Commands stand in the header `X-Ask` for `on_request`, and in `X-Ask-Body`, `X-Ask-Response` and
//! `X-Ask-End` for the other phases, separated by ` | `. What the hook learns it adds to the response
//! as `X-Asked`. With `X-By: wasi`, it asks by `wasi:http`, as other languages do. With `X-Ask-Body` it
//! wants the body of the request: as a whole, or in pieces with `X-Want: chunks`.

mod wasi;

use std::hint::black_box;

use waypost_sdk::http::{Error, Request};
use waypost_sdk::{
    Beyond, Body, Bound, Call, Hook, Manner, OnEnd, OnRequest, OnRequestBody, OnResponse, Settings,
    SettingsError, Sharing, Summary, Verdict, log,
};

/// Does as it is told.
pub struct Asker {
    sharing: Sharing,
    calls: u64,
}

impl Hook for Asker {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.texts("upstreams")?; // that it may ask
        let sharing = match settings.text("sharing")?.as_deref() {
            Some("process") => Sharing::PerProcess,
            _ => Sharing::PerWorker,
        };
        if let Some(upstream) = settings.text("asks_while_it_is_configured")? {
            for by_wasi in [false, true] {
                let asked = get(by_wasi, Request::get(&upstream, "/"), 100);
                log::info(&format!("configure: {}", told(asked)));
            }
        }
        settings.finish()?;
        Ok(Asker { sharing, calls: 0 })
    }

    fn sharing(&self) -> Sharing {
        self.sharing.clone()
    }
}

impl OnRequest for Asker {
    fn on_request(&mut self, call: &Call) -> Verdict {
        self.calls += 1;
        if call.request().header("x-ask-body").is_some() {
            let whole = Manner::Whole(Bound {
                at_most: 1 << 20,
                beyond: Beyond::Refuse,
            });
            call.bodies()
                .want_request(match call.request().header("x-want") {
                    Some(_) => Manner::Chunks,
                    None => whole,
                });
        }
        self.obey(call, "x-ask")
    }
}

impl OnRequestBody for Asker {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        log::info(&format!("asker sees {} bytes", body.bytes.len()));
        self.obey(call, "x-ask-body")
    }
}

impl OnResponse for Asker {
    fn on_response(&mut self, call: &Call) {
        self.obey(call, "x-ask-response");
    }
}

impl OnEnd for Asker {
    fn on_end(&mut self, call: &Call, summary: &Summary) {
        self.obey(call, "x-ask-end");
        if call.request().header("x-ask-end").is_some() {
            log::info(&format!("asker hears of the end: {}", summary.status));
        }
    }
}

impl Asker {
    fn obey(&self, call: &Call, header: &str) -> Verdict {
        let commands = call.request().header(header).unwrap_or_default();
        let commands = String::from_utf8_lossy(&commands).into_owned();
        let by_wasi = call.request().header("x-by").is_some();
        let get = |request, most| get(by_wasi, request, most);
        let leave = |request| match by_wasi {
            true => wasi::send_and_leave(request),
            false => request.send_and_leave(),
        };
        for command in commands.split(" | ") {
            let words: Vec<&str> = command.split(' ').collect();
            let asked = match words.as_slice() {
                ["get", upstream, target] => get(Request::get(upstream, target), 100),
                ["read", upstream, target, most] => {
                    get(Request::get(upstream, target), most.parse().unwrap_or(0))
                }
                ["post", upstream, target, length] => {
                    let body = vec![b'x'; length.parse().unwrap_or(0)];
                    get(Request::new("POST", upstream, target).body(body), 100)
                }
                ["header", upstream, name, value] => {
                    get(Request::get(upstream, "/").header(name, value), 100)
                }
                ["line", upstream, method, target] => {
                    get(Request::new(&raw(method), upstream, &raw(target)), 100)
                }
                ["field", upstream, name, value] => {
                    let request = Request::get(upstream, "/");
                    get(request.header(&raw(name), raw(value)), 100)
                }
                ["within", millis, upstream, target] => {
                    let timeout = std::time::Duration::from_millis(millis.parse().unwrap_or(0));
                    get(Request::get(upstream, target).timeout(timeout), 100)
                }
                ["leave", upstream, target] => {
                    let left = leave(Request::get(upstream, target));
                    left.map(|()| "left".to_owned())
                }
                ["many", upstream, count] => {
                    let count: usize = count.parse().unwrap_or(0);
                    let begun = (0..count)
                        .filter(|_| leave(Request::get(upstream, "/")).is_ok())
                        .count();
                    Ok(format!("{begun} of {count}"))
                }
                ["sleep", millis] => {
                    sleep(millis.parse().unwrap_or(0));
                    Ok("slept".to_owned())
                }
                ["spin", millis] => {
                    spin(millis.parse().unwrap_or(0));
                    Ok("spun".to_owned())
                }
                ["say", text] => {
                    log::info(&format!("asker says {text}"));
                    continue;
                }
                ["path", path] => {
                    call.changes().set_path(path);
                    continue;
                }
                ["calls"] => Ok(self.calls.to_string()),
                ["trap"] => panic!("as the request says"),
                _ => continue,
            };
            call.changes().add_response_header("X-Asked", told(asked));
        }
        Verdict::Proceed
    }
}

/// Sends a request: status and body.
fn get(by_wasi: bool, request: Request, most: u32) -> Result<String, Error> {
    let (status, body) = match by_wasi {
        true => wasi::send(request, most)?,
        false => {
            let answer = request.wanting_body(most).send()?;
            (answer.status(), answer.body()?.to_vec())
        }
    };
    let body = match body.len() {
        length @ 101.. => format!("{length} bytes"),
        _ => String::from_utf8_lossy(&body).into_owned(),
    };
    Ok(format!("{status} {body}"))
}

/// With spaces and ends of lines, which commands cannot have.
fn raw(word: &str) -> String {
    word.replace('~', " ").replace('^', "\r\n")
}

fn told(asked: Result<String, Error>) -> String {
    asked.unwrap_or_else(|error| format!("error: {error}"))
}

fn sleep(millis: u64) {
    wasip2::clocks::monotonic_clock::subscribe_duration(millis * 1_000_000).block();
}

/// Computes for so long.
fn spin(millis: u64) {
    let now = wasip2::clocks::monotonic_clock::now;
    let until = now() + millis * 1_000_000;
    let mut number = 0_u64;
    while now() < until {
        for _ in 0..1000 {
            number = black_box(number.wrapping_mul(31).wrapping_add(7));
        }
    }
}

waypost_sdk::export_hook!(Asker, on_request, on_request_body, on_response, on_end);

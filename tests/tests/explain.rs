//! `waypost explain`: what it says is what the next real request then gets, and asking changes
//! nothing.

mod file; // against a file
mod running; // against a process
mod nothing_changes; // however often it is asked
mod upstream; // where the traffic of one goes
mod listeners; // which of them, and which certificate
mod bad_input; // what makes no sense, or does no good

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use waypost_tests::{Proxy, child, waypost};

/// What the command says, in this folder: its exit code, and both of its outputs.
fn says(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(waypost());
    command.current_dir(folder).arg("explain").args(arguments);
    child::run(command)
}

/// What it says in JSON, which must go well.
fn told(folder: &Path, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let (code, out, err) = says(folder, &arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// What the running process says about a target at its first listener, in JSON.
fn of(proxy: &Proxy, target: &str, more: &[&str]) -> Value {
    let url = format!("http://{}{target}", proxy.address());
    told(proxy.directory(), &[&[&*url, "--running"], more].concat())
}

/// The hooks that had their turn, each with its verdict.
fn hooks(told: &Value) -> Vec<(String, String)> {
    let steps = told["steps"].as_array().expect("a list of steps").iter();
    let hooks = steps.filter(|step| step["step"] == "hook");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = hooks.map(|step| (text(&step["name"]), text(&step["verdict"])));
    told.collect()
}

/// The path of the route that was taken last.
fn route(told: &Value) -> &str {
    let steps = told["steps"].as_array().expect("a list of steps").iter();
    let mut routes = steps.rev().filter(|step| step["step"] == "route");
    let route = routes.next().expect("a route was looked for");
    route["taken"]["path"].as_str().unwrap_or_default()
}

/// Why a route with this host and path was not taken.
fn why_not<'a>(told: &'a Value, host: &str, path: &str) -> &'a str {
    let steps = told["steps"].as_array().expect("a list of steps").iter();
    let mut passed = steps.flat_map(|step| step["passed"].as_array().into_iter().flatten());
    let passed = passed.find(|one| one["route"]["host"] == host && one["route"]["path"] == path);
    let passed = passed.unwrap_or_else(|| panic!("no {host} {path} in {told:#}"));
    passed["why"].as_str().unwrap_or_default()
}

/// The server that the policy would choose.
fn picked(told: &Value) -> &str {
    let picked = told["proxy"]["choice"]["picked"].as_str();
    picked.unwrap_or_else(|| panic!("nothing is picked: {told:#}"))
}

/// A server as it is told of.
fn server<'a>(told: &'a Value, address: &str) -> &'a Value {
    let servers = told["proxy"]["servers"]
        .as_array()
        .expect("a list of servers");
    let mut servers = servers.iter().filter(|server| server["address"] == address);
    servers
        .next()
        .unwrap_or_else(|| panic!("no {address} in {told:#}"))
}

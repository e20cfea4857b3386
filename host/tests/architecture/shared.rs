//! What several workers write. A write that takes a cache line from the other cores costs each of them
//! a wait of 0.1 to 2 µs, the more there are: the data path has as few as can be, and none that is not
//! listed here.

use super::sources;

/// Where the data path writes what other threads write too, how many such operations a file has, and
/// when they run.
const WRITES: [(&str, usize, &str); 13] = [
    (
        "access_log/writer.rs",
        7,
        "a piece of a log, of up to 64 KiB; lines that are lost",
    ),
    (
        "data_plane/hook_requests/heeded.rs",
        2,
        "an answer that a hook waits for",
    ),
    (
        "data_plane/process.rs",
        9,
        "a connection that comes or goes",
    ),
    (
        "data_plane/serve/room.rs",
        3,
        "a worker that has no room for another connection",
    ),
    (
        "data_plane/upstream/client_counts.rs",
        2,
        "an attempt, where connections of clients are counted",
    ),
    (
        "data_plane/upstream/endpoint.rs",
        10,
        "an attempt: two, on what the endpoint has in flight, which policies see; a failure",
    ),
    (
        "data_plane/upstream/endpoint_set.rs",
        11,
        "an endpoint that fails, recovers or begins",
    ),
    (
        "data_plane/upstream/health.rs",
        4,
        "an endpoint whose health changes; an attempt, where failures are counted by share",
    ),
    (
        "data_plane/upstream/load.rs",
        5,
        "a request and a connection, where they are bounded or waited for",
    ),
    (
        "data_plane/upstream/queue.rs",
        4,
        "a request that waits for an endpoint",
    ),
    (
        "data_plane/upstream/shared.rs",
        3,
        "an upstream that is used for the first time, attached or changed",
    ),
    (
        "data_plane/wanted.rs",
        2,
        "a request that waits for an upstream to be made",
    ),
    ("metrics/upstreams.rs", 1, "a request that is refused"),
];

/// Read, changed and written back in one step.
const OPERATIONS: [&str; 3] = [".fetch_", ".compare_exchange", ".swap("];
const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// How many such operations the code has in front of its tests.
fn writes(code: &str) -> usize {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let is_shared = |call: &str| {
        let arguments = call.split(';').next().unwrap_or_default();
        ORDERINGS
            .iter()
            .any(|ordering| arguments.contains(ordering))
    };
    let calls = OPERATIONS.iter().flat_map(|name| code.split(*name).skip(1));
    calls.filter(|call| is_shared(call)).count()
}

fn is_on_the_data_path(path: &str) -> bool {
    let rooms = ["access_log", "data_plane", "http", "metrics"];
    let is_test = path.ends_with("tests.rs") || path.contains("tests/");
    rooms.iter().any(|room| path.starts_with(room)) && !is_test
}

#[test]
fn what_the_data_path_writes_together_with_other_threads_is_listed() {
    let mut known = WRITES.to_vec();
    for (path, code) in sources() {
        let path = path.to_str().unwrap();
        if !is_on_the_data_path(path) {
            continue;
        }
        let listed = known.iter().position(|(file, ..)| *file == path);
        let (count, when) = listed.map_or((0, "never"), |at| {
            let (_, count, when) = known.swap_remove(at);
            (count, when)
        });
        assert_eq!(
            writes(&code),
            count,
            "{path} writes what is shared so often in its code, and is listed with {count} ({when}): \
             is the new one once a request? Then it is to be a cell of the worker's own, which is \
             summed by who reads it"
        );
    }
    assert!(known.is_empty(), "these have none any more: {known:?}");
}

//! Lists on their way to the process that takes over: it may find their sources dead, and must not
//! know less than the one before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Bytes in all: the kernel takes 128 KiB for a variable of the environment (execve(2)).
const MOST: usize = 96 << 10;

/// Items of lists, by upstream.
pub(super) type Seeds = BTreeMap<String, Vec<Json>>;

#[derive(Serialize, Deserialize)]
struct KnownList {
    upstream: String,
    servers: Vec<Json>,
}

/// As lines of text. A list for which there is no room left is not among them: its source is asked,
/// or the disk.
pub(super) fn written<'a>(lists: impl Iterator<Item = (&'a String, &'a [Json])>) -> String {
    let mut lines = String::new();
    for (upstream, items) in lists {
        let list = KnownList {
            upstream: upstream.clone(),
            servers: items.to_vec(),
        };
        let Ok(line) = serde_json::to_string(&list) else {
            continue;
        };
        if lines.len() + line.len() < MOST {
            lines += &line;
            lines.push('\n');
        }
    }
    lines
}

/// What a process before this one has [written]; what makes no sense is passed over.
pub(super) fn read(text: &str) -> Seeds {
    let lists = text
        .lines()
        .filter_map(|line| serde_json::from_str::<KnownList>(line).ok());
    lists.map(|list| (list.upstream, list.servers)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_as_far_as_there_is_room() {
        let lists = [
            ("a\nb".to_owned(), vec![json!("10.0.0.1")]),
            ("long".to_owned(), vec![json!("x".repeat(MOST))]),
            ("z".to_owned(), vec![json!({ "address": "10.0.0.2" })]),
        ];
        let text = written(lists.iter().map(|(name, items)| (name, &items[..])));
        let seeds = read(&text);
        let names: Vec<_> = seeds.keys().collect();
        assert_eq!(names, ["a\nb", "z"]);
        assert_eq!(seeds["z"], lists[2].1);
        assert!(read("nonsense\n{}").is_empty());
    }
}

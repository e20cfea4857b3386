//! What a plugin may rely on. Time is what the test says.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::bucket::Pour;
use super::{Entries, LONGEST, PLAIN_KEY, PluginStore, Store, StoreError};

fn entries(size: usize) -> Entries {
    Entries::new(size)
}

fn of_plugin(store: &Store, plugin: &str) -> Arc<Entries> {
    match store.of_plugin(plugin) {
        PluginStore::Embedded(store) => store.entries,
        PluginStore::Remote(_) | PluginStore::Untold(_) => panic!("it is elsewhere"),
    }
}

fn get(entries: &Entries, now_ms: u64, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let found = entries.get(now_ms, key, &mut value).unwrap();
    found.then_some(value)
}

#[test]
fn a_value_is_there_until_its_time_is_over() {
    let all = entries(1 << 20);
    all.set(1000, b"k", b"v", 500).unwrap();
    assert_eq!(get(&all, 1499, b"k").as_deref(), Some(&b"v"[..]));
    assert_eq!(get(&all, 1500, b"k"), None);
    all.set(1400, b"k", b"w", 500).unwrap();
    assert_eq!(get(&all, 1899, b"k").as_deref(), Some(&b"w"[..]));
    all.set(1400, b"k", b"", 0).unwrap();
    assert_eq!(get(&all, u64::MAX - 2, b"k").as_deref(), Some(&b""[..]));
}

#[test]
fn a_counter_expires_as_it_began_whatever_is_added() {
    let all = entries(1 << 20);
    assert_eq!(all.add(0, b"c", 2, 100), Ok(2));
    assert_eq!(all.add(99, b"c", -5, 100), Ok(-3));
    assert_eq!(get(&all, 99, b"c").as_deref(), Some(&b"-3"[..]));
    assert_eq!(all.add(100, b"c", 1, 100), Ok(1));
    assert_eq!(all.add(199, b"c", 1, 100), Ok(2));
}

#[test]
fn digits_are_a_counter_and_nothing_else_is() {
    let all = entries(1 << 20);
    all.set(0, b"c", b"41", 100).unwrap();
    assert_eq!(all.add(0, b"c", 1, 5), Ok(42));
    assert_eq!(get(&all, 99, b"c").as_deref(), Some(&b"42"[..]));
    for text in ["", "041", "+1", "1 ", "x", "9223372036854775808"] {
        all.set(0, b"c", text.as_bytes(), 0).unwrap();
        assert_eq!(all.add(0, b"c", 1, 0), Err(StoreError::WrongKind), "{text}");
    }
    all.set(0, b"c", i64::MAX.to_string().as_bytes(), 0)
        .unwrap();
    assert_eq!(all.add(0, b"c", 1, 0), Err(StoreError::WrongKind));
    assert_eq!(all.add(0, b"c", 0, 0), Ok(i64::MAX));
    let pour = Pour {
        amount: 1,
        leak: 1,
        capacity: 1,
    };
    assert_eq!(all.fill(0, b"c", pour), Err(StoreError::WrongKind));
    assert_eq!(all.fill(0, b"b", pour), Ok(0));
    assert_eq!(all.add(0, b"b", 1, 0), Err(StoreError::WrongKind));
}

#[test]
fn a_swap_needs_the_value_that_was_expected() {
    let all = entries(1 << 20);
    let swap = |now, expected: Option<&[u8]>, value: &[u8]| {
        all.compare_and_swap(now, b"k", expected, value, 100)
            .unwrap()
    };
    assert!(!swap(0, Some(b""), b"a"));
    assert!(swap(0, None, b"a"));
    assert!(!swap(0, None, b"b"));
    assert!(!swap(0, Some(b"b"), b"c"));
    assert!(swap(50, Some(b"a"), b"b"));
    assert_eq!(get(&all, 149, b"k").as_deref(), Some(&b"b"[..]));
    assert!(swap(150, None, b"c"), "what has expired is not there");
    all.add(0, b"n", 7, 0).unwrap();
    let of_counter = all.compare_and_swap(0, b"n", Some(b"7"), b"8", 0);
    assert_eq!(of_counter, Ok(true));
}

#[test]
fn what_is_deleted_was_there_and_leaves_its_room() {
    let all = entries(1 << 20);
    all.set(0, b"k", b"v", 10).unwrap();
    assert_eq!(all.delete(0, b"k"), Ok(true));
    assert_eq!(all.delete(0, b"k"), Ok(false));
    all.set(0, b"k", b"v", 10).unwrap();
    assert_eq!(all.delete(10, b"k"), Ok(false));
    assert_eq!((all.figures().entries, all.figures().bytes), (0, 0));
}

#[test]
fn a_full_store_refuses_what_is_new_and_keeps_what_is_alive() {
    let all = entries(10_000);
    let mut kept = 0;
    while all.add(0, format!("{kept}").as_bytes(), 1, 100).is_ok() {
        kept += 1;
        assert!(kept < 1000);
    }
    assert!(kept > 50, "{kept}");
    assert_eq!(all.figures().refused, 1);
    assert_eq!(all.set(99, b"new", b"", 100), Err(StoreError::Full));
    for key in 0..kept {
        // Nothing of what is there has gone, and it can be counted on.
        assert_eq!(all.add(99, format!("{key}").as_bytes(), 1, 1), Ok(2));
    }
    let larger = [0; 1000];
    assert_eq!(all.set(99, b"1", &larger, 100), Err(StoreError::Full));
    assert_eq!(get(&all, 99, b"1").as_deref(), Some(&b"2"[..]));
    // Once they have expired, one further call makes all the room that is wanted, wherever it is.
    assert_eq!(all.set(100, b"new", &larger, 100), Ok(()));
    assert!(all.figures().bytes <= 10_000);
}

#[test]
fn a_smaller_store_keeps_what_it_has_and_takes_no_more() {
    let store = Store::new(1 << 20);
    let all = of_plugin(&store, "a");
    for key in 0..100 {
        all.add(0, &[key], 1, 100).unwrap();
    }
    store.set_size(1000);
    assert_eq!(all.add(0, &[0], 1, 100), Ok(2));
    assert_eq!(all.add(0, b"new", 1, 100), Err(StoreError::Full));
    assert_eq!(all.figures().entries, 100);
    store.set_size(1 << 20);
    assert_eq!(all.add(0, b"new", 1, 100), Ok(1));
}

#[test]
fn entries_that_expire_go_as_new_ones_come() {
    let all = entries(64 << 20);
    for now in 0..20_000_u64 {
        all.set(now, &now.to_le_bytes(), b"v", 100).unwrap();
    }
    // A shard drops up to two with each that it takes.
    assert!(all.figures().entries < 1000, "{:?}", all.figures());
}

#[test]
fn renewed_entries_are_swept_when_their_last_time_is_over() {
    let all = entries(64 << 20);
    for now in 0..1000_u64 {
        all.set(now, b"k", b"v", 100).unwrap();
    }
    assert!(get(&all, 1098, b"k").is_some());
    all.set(0, b"long", b"v", 1_000_000).unwrap();
    all.set(0, b"long", b"v", 10).unwrap();
    assert_eq!(get(&all, 10, b"long"), None);
    for now in 1100..3000_u64 {
        all.set(now, &now.to_le_bytes(), b"v", 100).unwrap();
    }
    assert!(all.figures().entries < 300, "{:?}", all.figures());
}

#[test]
fn an_entry_that_is_to_expire_sooner_makes_room_sooner() {
    let all = entries(10_000);
    let mut kept = 0_u8;
    while all.add(0, &[kept], 1, 1_000_000).is_ok() {
        kept += 1;
    }
    for key in 0..kept {
        all.compare_and_swap(0, &[key], Some(b"1"), b"", 10)
            .unwrap();
    }
    assert_eq!(all.set(9, b"new", &[0; 1000], 10), Err(StoreError::Full));
    assert_eq!(all.set(10, b"new", &[0; 1000], 10), Ok(()));
}

#[test]
fn long_keys_are_kept_apart_and_those_beyond_the_bound_refused() {
    let all = entries(1 << 20);
    let long = |last: u8| [vec![b'k'; PLAIN_KEY], vec![last]].concat();
    all.set(0, &long(1), b"1", 0).unwrap();
    all.set(0, &long(2), b"2", 0).unwrap();
    assert_eq!(get(&all, 0, &long(1)).as_deref(), Some(&b"1"[..]));
    assert_eq!(get(&all, 0, &long(2)).as_deref(), Some(&b"2"[..]));
    assert_eq!(all.add(0, &long(3), 1, 0), Ok(1));
    assert_eq!(all.add(0, &long(3), 1, 0), Ok(2));
    assert_eq!(all.delete(0, &long(3)), Ok(true));
    assert!(all.figures().bytes < 2000);
    assert_eq!(all.set(0, &vec![0; LONGEST], &vec![0; LONGEST], 0), Ok(()));
    let beyond = vec![0; LONGEST + 1];
    assert_eq!(all.set(0, &beyond, b"", 0), Err(StoreError::TooLarge));
    assert_eq!(all.set(0, b"k", &beyond, 0), Err(StoreError::TooLarge));
    assert_eq!(all.delete(0, &beyond), Err(StoreError::TooLarge));
}

#[test]
fn plugins_do_not_meet_and_those_of_one_name_share() {
    let store = Store::default();
    let (one, other) = (of_plugin(&store, "a"), of_plugin(&store, "b"));
    one.add(0, b"k", 1, 0).unwrap();
    assert_eq!(get(&other, 0, b"k"), None);
    assert_eq!(of_plugin(&store, "a").add(0, b"k", 1, 0), Ok(2));
}

#[test]
fn threads_lose_no_addition() {
    let all = Arc::new(entries(1 << 20));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let all = all.clone();
            scope.spawn(move || {
                for turn in 0..10_000_u64 {
                    all.add(0, b"c", 1, 0).unwrap();
                    all.add(0, &(turn % 100).to_le_bytes(), 1, 0).unwrap();
                }
            });
        }
    });
    assert_eq!(all.add(0, b"c", 0, 0), Ok(40_000));
    assert_eq!(all.figures().entries, 101);
}

/// nginx's `limit_req`, at a rate of 10 requests in a second and with a burst of two.
#[test]
fn a_bucket_leaks_as_that_of_nginx() {
    let all = entries(1 << 20);
    let pour = Pour {
        amount: 1000,
        leak: 10_000,
        capacity: 2000,
    };
    let mut levels = Vec::new();
    for now in [0, 0, 0, 0, 50, 100, 100, 250, 1000] {
        levels.push(all.fill(now, b"b", pour).unwrap());
    }
    assert_eq!(levels, [0, 1000, 2000, 3000, 2500, 2000, 3000, 1500, 0]);
}

#[test]
fn a_bucket_expires_when_it_is_as_good_as_none() {
    for (amount, leak, capacity) in [(1000, 10_000, 5000), (1, 3, 10), (7, 1000, 100)] {
        let pour = Pour {
            amount,
            leak,
            capacity,
        };
        let all = entries(1 << 20);
        while all.fill(0, b"b", pour).unwrap() <= capacity {}
        let full = get(&all, 0, b"b").unwrap();
        let full: u64 = std::str::from_utf8(&full)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let gone = pour.lasts_ms(full).unwrap();
        assert!(get(&all, gone - 1, b"b").is_some());
        assert_eq!(get(&all, gone, b"b"), None);
        let there = super::bucket::Bucket {
            level: full,
            last_ms: 0,
        };
        assert_eq!(pour.into(Some(there), gone).0, 0);
    }
}

proptest! {
    /// Whatever is done, it is as a table would have it that knows when each entry expires.
    #[test]
    fn a_store_is_a_table_with_times(
        steps in prop::collection::vec((0_u8..5, 0_u8..12, 0_u64..40, 0_u64..60), 1..300),
    ) {
        let all = entries(1 << 20);
        let mut table: HashMap<u8, (Vec<u8>, u64)> = HashMap::new();
        let mut now = 0;
        for (step, key, ttl, pause) in steps {
            now += pause / 10;
            table.retain(|_, (_, expires)| *expires > now);
            let expires = if ttl == 0 { u64::MAX } else { now + ttl };
            let name = [key];
            let value = ttl.to_string().into_bytes();
            match step {
                0 => prop_assert_eq!(get(&all, now, &name), table.get(&key).map(|it| it.0.clone())),
                1 => {
                    all.set(now, &name, &value, ttl).unwrap();
                    table.insert(key, (value, expires));
                }
                2 => {
                    let before = table.get(&key).map(|it| it.0.clone());
                    let number = before.as_deref().unwrap_or(b"0");
                    let number: i64 = std::str::from_utf8(number).unwrap().parse().unwrap();
                    prop_assert_eq!(all.add(now, &name, 3, ttl), Ok(number + 3));
                    let expires = table.get(&key).map_or(expires, |it| it.1);
                    table.insert(key, ((number + 3).to_string().into_bytes(), expires));
                }
                3 => {
                    let expected = (pause % 2 == 0).then(|| b"3".to_vec());
                    let as_expected = table.get(&key).map(|it| it.0.clone()) == expected;
                    let swapped =
                        all.compare_and_swap(now, &name, expected.as_deref(), &value, ttl);
                    prop_assert_eq!(swapped, Ok(as_expected));
                    if as_expected {
                        table.insert(key, (value, expires));
                    }
                }
                _ => prop_assert_eq!(all.delete(now, &name), Ok(table.remove(&key).is_some())),
            }
            prop_assert!(all.figures().entries as usize >= table.len());
        }
        for key in 0..12 {
            all.delete(now, &[key]).unwrap();
        }
        prop_assert_eq!((all.figures().entries, all.figures().bytes), (0, 0));
    }
}

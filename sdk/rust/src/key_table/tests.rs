//! The table beside a list that does the same without care for time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;

use super::{KeyTable, pieces};
use crate::Draws;

const ROOM: usize = 40;

fn table() -> KeyTable<u64> {
    KeyTable::with_room(ROOM * KeyTable::<u64>::BLOCK)
}

/// Keys of all lengths around those of pieces, the empty one included; some differ in their last
/// byte alone.
fn key(draws: &mut Draws) -> Vec<u8> {
    let length = [0, 1, 4, 23, 24, 25, 48, 49, 200][draws.below(9) as usize];
    let mut key = vec![b'x'; length];
    if let Some(last) = key.last_mut() {
        *last = draws.below(4) as u8;
    }
    key
}

/// What a table should hold: the entry that was used last at the end.
#[derive(Default)]
struct Model(Vec<(Vec<u8>, u64)>);

impl Model {
    fn used(&self) -> usize {
        self.0.iter().map(|(key, _)| pieces(key)).sum()
    }

    fn take(&mut self, key: &[u8]) -> Option<(Vec<u8>, u64)> {
        let at = self.0.iter().position(|(each, _)| each == key)?;
        Some(self.0.remove(at))
    }
}

fn compare(table: &KeyTable<u64>, model: &Model) {
    let entries = table.by_age();
    let mut entries: Vec<_> = entries
        .map(|entry| (table.key(entry), *table.value(entry)))
        .collect();
    entries.reverse();
    assert_eq!(entries, model.0);
    assert_eq!(table.len(), model.0.len());
    let oldest = table.oldest().map(|entry| table.key(entry));
    assert_eq!(oldest.as_ref(), model.0.first().map(|(key, _)| key));
}

#[test]
fn it_holds_what_a_list_would_hold_through_any_order_of_calls() {
    let mut draws = Draws::from_seed(1);
    let (mut table, mut model) = (table(), Model::default());
    table.seed(draws.draw());
    for value in 0..20_000 {
        let key = key(&mut draws);
        match draws.below(3) {
            0 => {
                let found = table.find(&key).map(|entry| *table.value(entry));
                let known = model.take(&key);
                assert_eq!(found, known.as_ref().map(|(_, value)| *value));
                model.0.extend(known);
            }
            1 => {
                let known = model.take(&key).is_some();
                if known || model.used() + pieces(&key) <= ROOM {
                    model.0.push((key.clone(), value));
                    assert!(table.insert(&key, value).is_some());
                } else {
                    assert!(!table.has_room(&key));
                    assert!(table.insert(&key, value).is_none());
                }
            }
            _ => {
                let entry = table.find(&key);
                assert_eq!(entry.is_some(), model.take(&key).is_some());
                if let Some(entry) = entry {
                    table.remove(entry);
                }
            }
        }
        compare(&table, &model);
    }
}

#[test]
fn a_million_keys_take_no_more_memory_than_the_first() {
    let mut table = table();
    let before = (table.blocks.capacity(), table.heads.len());
    for number in 0..1_000_000_u32 {
        let key = number.to_be_bytes();
        while !table.has_room(&key) {
            let oldest = table.oldest().unwrap();
            table.remove(oldest);
        }
        table.insert(&key, 0).unwrap();
    }
    assert_eq!((table.blocks.capacity(), table.heads.len()), before);
    assert_eq!(table.len(), ROOM);
    assert!(table.find(&999_960_u32.to_be_bytes()).is_some());
    assert!(table.find(&999_959_u32.to_be_bytes()).is_none());
}

#[test]
fn a_key_that_is_longer_than_all_of_the_room_is_refused() {
    let mut table = table();
    assert!(table.insert(&[0; 24 * ROOM + 1], 0).is_none());
    assert!(table.insert(&[0; 24 * ROOM], 0).is_some());
    assert!(table.insert(&[], 0).is_none());
}

#[test]
fn hashes_depend_on_the_seed_which_stays_while_there_are_entries() {
    let mut table = table();
    let unseeded = table.hash(b"key");
    table.seed(black_box(5));
    assert_ne!(table.hash(b"key"), unseeded);
    table.insert(b"key", 1).unwrap();
    table.seed(6);
    assert_eq!(table.seed_in_use(), 5);
    assert!(table.find(b"key").is_some());
}

#[test]
fn what_was_taken_by_age_is_put_back_in_that_order_as_far_as_there_is_room() {
    let mut draws = Draws::from_seed(3);
    let mut table = table();
    for value in 0..200 {
        let key = key(&mut draws);
        while !table.has_room(&key) {
            table.remove(table.oldest().unwrap());
        }
        table.insert(&key, value);
    }
    let listed = |table: &KeyTable<u64>| -> Vec<(Vec<u8>, u64)> {
        let of = |entry| (table.key(entry), *table.value(entry));
        table.by_age().map(of).collect()
    };
    let all = listed(&table);
    let mut next = self::table();
    for (key, value) in &all {
        assert!(next.insert_oldest(key, value + 1).is_some());
    }
    // Those that are there keep their age.
    for (key, value) in all.iter().rev() {
        assert!(next.insert_oldest(key, *value).is_some());
    }
    assert_eq!(listed(&next), all);
    // Both ends are those of the list.
    for (key, _) in all.iter().rev() {
        let oldest = next.oldest().unwrap();
        assert_eq!(&next.key(oldest), key);
        next.remove(oldest);
    }
    assert!(next.is_empty());
    let mut small = KeyTable::with_room(2 * KeyTable::<u64>::BLOCK);
    assert!(small.insert_oldest(b"a", 1).is_some());
    assert!(small.insert_oldest(&[b'x'; 25], 2).is_none());
    assert!(small.insert_oldest(b"b", 3).is_some());
    assert!(small.insert_oldest(b"c", 4).is_none());
    assert_eq!(listed(&small), [(b"a".to_vec(), 1), (b"b".to_vec(), 3)]);
}

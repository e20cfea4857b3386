//! A table by key within a fixed room: limits by client, verdicts that are remembered for a while.
//!
//! Keys come from clients, so neither their number nor their bytes nor their hashes may be a way to
//! more memory or time: the room is bounded in bytes, long keys take more of it, and hashes depend
//! on a seed. Entries know which of them was used last, so that the one that was quiet longest can
//! make room.

use std::hash::{DefaultHasher, Hasher};

/// No block.
const NONE: u32 = u32::MAX;

/// Bytes of a key in one block: an address of IPv6, in binary or an IPv4 address as text.
const PIECE: usize = 24;

/// Values by key, within a bound on their memory. Nothing is allocated once the room is in use.
///
/// Between equal keys bytes decide, not hashes. Of values of 16 bytes, an entry takes 64 bytes for
/// each 24 bytes of its key.
///
/// ```
/// use waypost_sdk::KeyTable;
///
/// let mut table = KeyTable::with_room(128); // two entries of this kind
/// table.seed(7); // rather `call.random`
/// for key in ["a", "b", "c"] {
///     while !table.has_room(key.as_bytes()) {
///         let oldest = table.oldest().expect("it is full");
///         table.remove(oldest);
///     }
///     table.insert(key.as_bytes(), (key.len(), 0_u64));
/// }
/// assert!(table.find(b"a").is_none());
/// let entry = table.find(b"b").expect("it fits");
/// table.value_mut(entry).1 += 1;
/// assert_eq!(table.value(entry), &(1, 1));
/// ```
#[derive(Debug)]
pub struct KeyTable<V> {
    seed: u64,
    blocks: Vec<Block<V>>,
    /// Of each block, beside it: who goes through them all by age waits for one link after another,
    /// and so many of these are near each other that the wait is short.
    ages: Vec<Age>,
    most: usize,
    used: usize,
    free: u32,
    /// The first entry of each hash, by its lower bits.
    heads: Box<[u32]>,
    newest: u32,
    oldest: u32,
    len: usize,
}

/// An entry, or a further piece of an entry's key, or free.
#[derive(Debug, Clone, Copy)]
struct Block<V> {
    hash: u32,
    /// The next entry of the same head.
    next: u32,
    /// The next piece of the key; of a free block, the next free one.
    rest: u32,
    /// Bytes of the key.
    length: u32,
    value: V,
    piece: [u8; PIECE],
}

/// The neighbours of an entry in the order of use.
#[derive(Debug, Clone, Copy)]
struct Age {
    newer: u32,
    older: u32,
}

/// An entry of a [`KeyTable`], until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry(u32);

impl<V: Copy + Default> KeyTable<V> {
    /// Bytes of a block, with what stands beside it.
    const BLOCK: usize = size_of::<Block<V>>() + size_of::<Age>();

    /// A table whose entries may take so many bytes. The index beside them takes 4 to 8 bytes for
    /// each entry that there is room for.
    pub fn with_room(bytes: usize) -> Self {
        let most = (bytes / Self::BLOCK).clamp(1, 1 << 30);
        KeyTable {
            seed: 0,
            blocks: Vec::with_capacity(most),
            ages: Vec::with_capacity(most),
            most,
            used: 0,
            free: NONE,
            heads: vec![NONE; most.next_power_of_two()].into_boxed_slice(),
            newest: NONE,
            oldest: NONE,
            len: 0,
        }
    }

    /// What hashes depend on, so that a client cannot choose keys that share one: a random number,
    /// as [`Call::random`](crate::Call::random). Heeded while the table is empty.
    pub fn seed(&mut self, seed: u64) {
        if self.is_empty() {
            self.seed = seed;
        }
    }

    /// The seed in use, for the next instance's table.
    pub fn seed_in_use(&self) -> u64 {
        self.seed
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds a key, which counts as a use of its entry.
    pub fn find(&mut self, key: &[u8]) -> Option<Entry> {
        let at = self.search(self.hash(key), key)?;
        self.unlink_age(at);
        self.link_newest(at);
        Some(Entry(at))
    }

    /// Whether this key fits beside what is there.
    pub fn has_room(&self, key: &[u8]) -> bool {
        self.most - self.used >= pieces(key)
    }

    /// Adds a key, or gives it another value. `None` where it does not fit.
    pub fn insert(&mut self, key: &[u8], value: V) -> Option<Entry> {
        let hash = self.hash(key);
        if let Some(at) = self.search(hash, key) {
            self.unlink_age(at);
            self.link_newest(at);
            self.blocks[at as usize].value = value;
            return Some(Entry(at));
        }
        let at = self.add(hash, key, value)?;
        self.link_newest(at);
        Some(Entry(at))
    }

    /// Adds a key as the one that was not used for the longest time: of what comes
    /// [by age](KeyTable::by_age), each goes behind the one before. A key that is there gets the
    /// value, and keeps its age. `None` where it does not fit.
    pub fn insert_oldest(&mut self, key: &[u8], value: V) -> Option<Entry> {
        let hash = self.hash(key);
        if let Some(at) = self.search(hash, key) {
            self.blocks[at as usize].value = value;
            return Some(Entry(at));
        }
        let at = self.add(hash, key, value)?;
        self.link_oldest(at);
        Some(Entry(at))
    }

    /// Adds a key that is not there, which has no age yet.
    fn add(&mut self, hash: u32, key: &[u8], value: V) -> Option<u32> {
        if !self.has_room(key) {
            return None;
        }
        let head = self.head(hash);
        // From the last piece to the first, which is the entry.
        let mut rest = NONE;
        for number in (0..pieces(key)).rev() {
            let bytes = &key[number * PIECE..key.len().min((number + 1) * PIECE)];
            let piece = piece_of(bytes);
            rest = self.take_block(Block {
                hash,
                next: self.heads[head],
                rest,
                length: key.len() as u32,
                value,
                piece,
            });
        }
        self.heads[head] = rest;
        self.len += 1;
        Some(rest)
    }

    /// Removes an entry.
    pub fn remove(&mut self, entry: Entry) {
        let Entry(at) = entry;
        self.unlink_age(at);
        let Block { hash, next, .. } = self.blocks[at as usize];
        let head = self.head(hash);
        let mut before = self.heads[head];
        if before == at {
            self.heads[head] = next;
        } else {
            while self.blocks[before as usize].next != at {
                before = self.blocks[before as usize].next;
            }
            self.blocks[before as usize].next = next;
        }
        let mut piece = at;
        while piece != NONE {
            let rest = std::mem::replace(&mut self.blocks[piece as usize].rest, self.free);
            self.free = piece;
            self.used -= 1;
            piece = rest;
        }
        self.len -= 1;
    }

    /// The value of an entry.
    pub fn value(&self, entry: Entry) -> &V {
        &self.blocks[entry.0 as usize].value
    }

    /// The value of an entry, to be changed.
    pub fn value_mut(&mut self, entry: Entry) -> &mut V {
        &mut self.blocks[entry.0 as usize].value
    }

    /// The key of an entry.
    pub fn key(&self, entry: Entry) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.key_len(entry) + PIECE);
        self.append_key(entry, &mut key);
        key
    }

    /// How long the key of an entry is.
    pub fn key_len(&self, entry: Entry) -> usize {
        self.blocks[entry.0 as usize].length as usize
    }

    /// Adds the key of an entry to some bytes.
    pub fn append_key(&self, entry: Entry, out: &mut Vec<u8>) {
        let length = out.len() + self.key_len(entry);
        let mut at = entry.0;
        while at != NONE {
            // Whole pieces: a copy of so many bytes takes a few instructions, one of any other
            // number a call.
            let block = &self.blocks[at as usize];
            out.extend_from_slice(&block.piece);
            at = block.rest;
        }
        out.truncate(length);
    }

    /// The entry that was not used for the longest time.
    pub fn oldest(&self) -> Option<Entry> {
        (self.oldest != NONE).then_some(Entry(self.oldest))
    }

    /// All entries, the one that was used last before all others.
    pub fn by_age(&self) -> impl Iterator<Item = Entry> {
        let some = |at: u32| (at != NONE).then_some(Entry(at));
        std::iter::successors(some(self.newest), move |entry| {
            some(self.ages[entry.0 as usize].older)
        })
    }

    /// `DefaultHasher` alone has the same keys everywhere; behind a secret number its hashes cannot
    /// be foretold either.
    fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(key);
        hasher.finish() as u32
    }

    fn head(&self, hash: u32) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    fn search(&self, hash: u32, key: &[u8]) -> Option<u32> {
        let mut at = self.heads[self.head(hash)];
        while at != NONE {
            let block = &self.blocks[at as usize];
            if block.hash == hash && self.is_key(at, key) {
                return Some(at);
            }
            at = block.next;
        }
        None
    }

    fn is_key(&self, mut at: u32, key: &[u8]) -> bool {
        if self.blocks[at as usize].length as usize != key.len() {
            return false;
        }
        for bytes in key.chunks(PIECE) {
            let block = &self.blocks[at as usize];
            if block.piece[..bytes.len()] != *bytes {
                return false;
            }
            at = block.rest;
        }
        true
    }

    /// There must be room.
    fn take_block(&mut self, block: Block<V>) -> u32 {
        self.used += 1;
        let at = self.free;
        if at == NONE {
            self.blocks.push(block);
            self.ages.push(Age {
                newer: NONE,
                older: NONE,
            });
            return (self.blocks.len() - 1) as u32;
        }
        self.free = self.blocks[at as usize].rest;
        self.blocks[at as usize] = block;
        at
    }

    fn link_newest(&mut self, at: u32) {
        let older = std::mem::replace(&mut self.newest, at);
        self.ages[at as usize].newer = NONE;
        self.ages[at as usize].older = older;
        match older {
            NONE => self.oldest = at,
            older => self.ages[older as usize].newer = at,
        }
    }

    fn link_oldest(&mut self, at: u32) {
        let newer = std::mem::replace(&mut self.oldest, at);
        self.ages[at as usize].older = NONE;
        self.ages[at as usize].newer = newer;
        match newer {
            NONE => self.newest = at,
            newer => self.ages[newer as usize].older = at,
        }
    }

    fn unlink_age(&mut self, at: u32) {
        let Age { newer, older } = self.ages[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.ages[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.ages[older as usize].newer = newer,
        }
    }
}

/// Bytes with zeros behind them. Word by word: to copy a number of bytes that is not known is a call
/// out of the plugin, which takes longer than all else that is done with a key.
fn piece_of(bytes: &[u8]) -> [u8; PIECE] {
    let mut piece = [0; PIECE];
    let (words, rest) = bytes.as_chunks::<8>();
    let (places, _) = piece.as_chunks_mut::<8>();
    let mut places = places.iter_mut();
    for (word, place) in words.iter().zip(places.by_ref()) {
        *place = *word;
    }
    if let Some(place) = places.next() {
        let word = (rest.iter().rev()).fold(0, |word, byte| word << 8 | u64::from(*byte));
        *place = word.to_le_bytes();
    }
    piece
}

/// Blocks that a key takes.
fn pieces(key: &[u8]) -> usize {
    key.len().div_ceil(PIECE).max(1)
}

#[cfg(test)]
mod tests;

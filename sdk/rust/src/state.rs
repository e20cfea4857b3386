//! State in bytes: what a [`Keeper`](crate::Keeper) exports, and its successor reads.
//!
//! Small, and careful when read: the writer was another version, perhaps a broken one. A format
//! number comes first; then whatever that format says, without tags or names, so that many entries
//! fit into what the host carries over (1 MiB by default).

use std::collections::{BTreeMap, VecDeque};

/// State in the making. Numbers take as few bytes as they need, mostly one (LEB128).
///
/// ```
/// use waypost_sdk::{StateReader, StateWriter};
///
/// let mut state = StateWriter::new(1);
/// state.text("10.0.0.1:80");
/// state.number(17);
/// let state = state.finish();
///
/// let mut read = StateReader::new(&state);
/// read.format(&[1])?;
/// assert_eq!((read.text()?, read.number()?), ("10.0.0.1:80", 17));
/// assert!(read.is_empty());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct StateWriter(Vec<u8>);

impl StateWriter {
    /// State of this format.
    pub fn new(format: u8) -> Self {
        StateWriter(vec![format])
    }

    /// Adds a number.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Adds a number that may be negative. Small ones take few bytes on either side of 0.
    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    /// Adds bytes, with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Adds so many bytes, with their length: those that `append` puts behind what it is given.
    pub fn bytes_by(&mut self, length: usize, append: impl FnOnce(&mut Vec<u8>)) {
        self.number(length as u64);
        let end = self.0.len() + length;
        append(&mut self.0);
        self.0.resize(end, 0);
    }

    /// Adds a text, with its length.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes so far, to stop in time.
    #[allow(
        clippy::len_without_is_empty,
        reason = "the format number is always there"
    )]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The state.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// State to be read, in the order in which it was written. An error is a line that
/// [`Keeper::import_state`](crate::Keeper::import_state) may answer with.
#[derive(Debug, Clone)]
pub struct StateReader<'a> {
    left: &'a [u8],
}

impl<'a> StateReader<'a> {
    /// Reads this state; begin with its [`format`](StateReader::format).
    pub fn new(state: &'a [u8]) -> Self {
        StateReader { left: state }
    }

    /// The format number, which must be one of those that this version knows.
    ///
    /// # Errors
    /// Another format, or no state at all.
    pub fn format(&mut self, known: &[u8]) -> Result<u8, String> {
        let format = self.byte()?;
        if known.contains(&format) {
            return Ok(format);
        }
        let known: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
        Err(format!(
            "the state has format `{format}`, this version reads {}",
            known.join(", ")
        ))
    }

    /// A number.
    ///
    /// # Errors
    /// The end of the state, or more than 64 bits.
    #[inline]
    pub fn number(&mut self) -> Result<u64, String> {
        if let [byte @ ..0x80, left @ ..] = self.left {
            self.left = left;
            return Ok(u64::from(*byte));
        }
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("the state holds a number of more than 64 bits".to_owned())
    }

    /// A number that may be negative.
    ///
    /// # Errors
    /// As of [`number`](StateReader::number).
    pub fn signed(&mut self) -> Result<i64, String> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Bytes.
    ///
    /// # Errors
    /// The end of the state.
    pub fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.number()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, left) = self.left.split_at_checked(length).ok_or_else(ends_early)?;
        self.left = left;
        Ok(bytes)
    }

    /// A text.
    ///
    /// # Errors
    /// The end of the state, or bytes that are not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, String> {
        str::from_utf8(self.bytes()?).map_err(|_| "the state holds a text that is none".to_owned())
    }

    /// Whether all of it was read.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (byte, left) = self.left.split_first().ok_or_else(ends_early)?;
        self.left = left;
        Ok(*byte)
    }
}

/// What a state says of keys that several entries may share, as endpoints may share an address:
/// they are taken in the order in which they stand there.
#[derive(Debug)]
pub struct StateEntries<K, V>(BTreeMap<K, VecDeque<V>>);

impl<K: Ord, V> Default for StateEntries<K, V> {
    fn default() -> Self {
        StateEntries(BTreeMap::new())
    }
}

impl<K: Ord, V> StateEntries<K, V> {
    /// Adds an entry behind those that there are.
    pub fn add(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().push_back(value);
    }

    /// Takes the first entry that is left of a key.
    pub fn take(&mut self, key: &K) -> Option<V> {
        self.0.get_mut(key)?.pop_front()
    }
}

impl<'a, V> StateEntries<&'a str, V> {
    /// Reads texts, mostly addresses, each with what `read` finds behind it, to the end of a state.
    ///
    /// # Errors
    /// What either says.
    pub fn read(
        state: &mut StateReader<'a>,
        read: impl Fn(&mut StateReader<'a>) -> Result<V, String>,
    ) -> Result<Self, String> {
        let mut entries = StateEntries::default();
        while !state.is_empty() {
            entries.add(state.text()?, read(state)?);
        }
        Ok(entries)
    }

    /// Puts each value in its place: those of keys that the state does not have stay.
    pub fn restore(mut self, keys: &'a [String], values: &mut [V]) {
        for (key, value) in keys.iter().zip(values) {
            if let Some(known) = self.take(&key.as_str()) {
                *value = known;
            }
        }
    }
}

fn ends_early() -> String {
    "the state ends early".to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{StateReader, StateWriter};

    #[test]
    fn what_is_written_is_read_back() {
        let numbers = [0, 1, 127, 128, 1 << 35, u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX];
        let mut state = StateWriter::new(3);
        numbers.iter().for_each(|&number| state.number(number));
        signed.iter().for_each(|&number| state.signed(number));
        state.text("ä");
        state.bytes(&[0, 255]);
        assert_eq!(state.len(), state.0.len());
        let state = state.finish();

        let mut read = StateReader::new(&state);
        assert_eq!(read.format(&[2, 3]), Ok(3));
        assert_eq!(numbers.map(|_| read.number().unwrap()), numbers);
        assert_eq!(signed.map(|_| read.signed().unwrap()), signed);
        assert_eq!(read.text(), Ok("ä"));
        assert_eq!(read.bytes(), Ok(&[0, 255][..]));
        assert!(read.is_empty());
    }

    #[test]
    fn an_unknown_format_is_refused_with_those_that_are_known() {
        let error = StateReader::new(&[7]).format(&[1, 2]).unwrap_err();
        assert_eq!(
            error,
            "the state has format `7`, this version reads `1`, `2`"
        );
        let error = StateReader::new(&[]).format(&[1]).unwrap_err();
        assert_eq!(error, "the state ends early");
    }

    #[test]
    fn lengths_and_numbers_that_cannot_be_are_refused() {
        // A length far beyond what is left, and one beyond 32 bits, which a plugin's `usize` has.
        assert_eq!(
            StateReader::new(&[0xff, 0x7f, 0]).bytes().unwrap_err(),
            "the state ends early"
        );
        let beyond = [0x80, 0x80, 0x80, 0x80, 0x10, 0];
        assert_eq!(
            StateReader::new(&beyond).bytes().unwrap_err(),
            "the state ends early"
        );
        assert_eq!(
            StateReader::new(&[0xff; 11]).number().unwrap_err(),
            "the state holds a number of more than 64 bits"
        );
        assert!(StateReader::new(&[1, 0xff]).text().is_err());
    }
}

//! The texts that are looked for in one answer, and how far it has come.

/// A text and what stands in its place.
pub(crate) struct Search {
    /// In lower case.
    text: Vec<u8>,
    by: Vec<u8>,
    /// It was found.
    found: bool,
}

/// How a text stands to the bytes at a place.
enum Match {
    No,
    /// They are all there are, and could be its beginning.
    Begun,
    Whole,
}

impl Search {
    pub(crate) fn new(mut text: Vec<u8>, by: Vec<u8>) -> Search {
        text.make_ascii_lowercase();
        Search {
            text,
            by,
            found: false,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.text.len()
    }

    fn at(&self, bytes: &[u8]) -> Match {
        let length = self.text.len().min(bytes.len());
        match bytes[..length].eq_ignore_ascii_case(&self.text[..length]) {
            true if length == self.text.len() => Match::Whole,
            true => Match::Begun,
            false => Match::No,
        }
    }
}

/// Those of one answer.
pub(crate) struct Searches {
    searches: Vec<Search>,
    once: bool,
    /// Which bytes one of them begins with, in either case.
    begins: [bool; 256],
    /// What could be the beginning of one.
    held: Vec<u8>,
}

impl Searches {
    pub(crate) fn new(searches: Vec<Search>, once: bool) -> Searches {
        let mut searches = Searches {
            searches,
            once,
            begins: [false; 256],
            held: Vec::new(),
        };
        searches.note_beginnings();
        searches
    }

    fn note_beginnings(&mut self) {
        self.begins = [false; 256];
        for search in &self.searches {
            if let (Some(first), false) = (search.text.first(), self.once && search.found) {
                self.begins[usize::from(*first)] = true;
                self.begins[usize::from(first.to_ascii_uppercase())] = true;
            }
        }
    }

    /// Takes a piece: what goes on in its place; none where that is the piece.
    pub(crate) fn pass(&mut self, piece: &[u8], last: bool) -> Option<Vec<u8>> {
        let joined;
        let bytes = match self.held.is_empty() {
            true => piece,
            false => {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(piece);
                joined = held;
                &joined
            }
        };
        let was_held = bytes.len() != piece.len();
        let mut out = Vec::new();
        // What is before `copied` is in `out`, and before `at` no text begins.
        let (mut copied, mut at) = (0, 0);
        while let Some(next) = bytes[at..]
            .iter()
            .position(|byte| self.begins[usize::from(*byte)])
        {
            at += next;
            match self.step(&bytes[at..], last) {
                Step::On => at += 1,
                Step::Hold => {
                    out.extend_from_slice(&bytes[copied..at]);
                    self.held = bytes[at..].to_vec();
                    return Some(out);
                }
                Step::Replace(number) => {
                    out.extend_from_slice(&bytes[copied..at]);
                    let search = &mut self.searches[number];
                    out.extend_from_slice(&search.by);
                    at += search.text.len();
                    copied = at;
                    if !std::mem::replace(&mut search.found, true) && self.once {
                        self.note_beginnings();
                    }
                }
            }
        }
        if copied == 0 && !was_held {
            return None;
        }
        out.extend_from_slice(&bytes[copied..]);
        Some(out)
    }

    /// What is at a place: the first of the texts, in their order, that is there.
    fn step(&self, bytes: &[u8], last: bool) -> Step {
        for (number, search) in self.searches.iter().enumerate() {
            if self.once && search.found {
                continue;
            }
            match search.at(bytes) {
                Match::Whole => return Step::Replace(number),
                Match::Begun if !last => return Step::Hold,
                Match::Begun | Match::No => {}
            }
        }
        Step::On
    }
}

enum Step {
    /// None begins here.
    On,
    /// More has to come before that is known.
    Hold,
    Replace(usize),
}

//! Which file and line a plugin's code comes from, for the backtrace of a fault.
//!
//! The engine could tell as well (`wasm_backtrace_details`), but reads the debug information anew
//! for every frame of every fault, on the worker whose request it is: 20 ms and more for a debug
//! build, and without any bound for information that was made to take long. So it is read once,
//! where the plugin is compiled and within the bounds on that, and only the line tables of it; a
//! worker looks a place up in a sorted list. What was inlined is named by its line, not by its
//! function.

use std::collections::HashMap;

use gimli::{
    AttributeValue, DebugLine, DebugLineOffset, DebugLineStr, DebugStr, EndianSlice, LittleEndian,
};
use wasmparser::{Encoding, Parser, Payload};

/// Places that are kept, 12 MiB of them. Further places of a plugin are shown without lines.
const ROWS: usize = 1 << 20;
/// Files that are kept, and the last bytes of a file's path that are: 4 MiB at most. Rows of others
/// are told without lines.
const FILES: usize = 1 << 14;
const PATH: usize = 256;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Header<'a> = gimli::LineProgramHeader<Bytes<'a>>;

/// Sorted by offset; each row holds up to the next one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DebugLines {
    files: Vec<String>,
    rows: Vec<Row>,
}

/// From `offset` in the component on: line `line` of file number `file`. Line 0: nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    offset: u32,
    line: u32,
    file: u32,
}

/// What one core module has of interest.
#[derive(Default)]
struct Module<'a> {
    /// Where the contents of its code section begin: addresses count from there (WebAssembly's
    /// convention for DWARF).
    code: usize,
    debug_line: &'a [u8],
    debug_line_str: &'a [u8],
    debug_str: &'a [u8],
}

impl DebugLines {
    /// Those of all core modules of a component. Whatever cannot be read is left out.
    pub(super) fn of(component: &[u8]) -> DebugLines {
        let mut found = SourceLine::default();
        let mut around = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            match payload {
                Ok(Payload::Version { encoding, .. }) => {
                    around.push((encoding == Encoding::Module).then(Module::default));
                }
                Ok(Payload::CodeSectionStart { range, .. }) => {
                    if let Some(Some(module)) = around.last_mut() {
                        module.code = range.start;
                    }
                }
                Ok(Payload::CustomSection(section)) => {
                    if let Some(Some(module)) = around.last_mut() {
                        match section.name() {
                            ".debug_line" => module.debug_line = section.data(),
                            ".debug_line_str" => module.debug_line_str = section.data(),
                            ".debug_str" => module.debug_str = section.data(),
                            _ => {}
                        }
                    }
                }
                Ok(Payload::End(_)) => {
                    if let Some(Some(module)) = around.pop() {
                        found.add(&module);
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // Where one function ends and the next one begins at the same place, the end (line 0) comes
        // first.
        found.rows.sort_unstable();
        DebugLines {
            files: found.files,
            rows: found.rows,
        }
    }

    /// File and line of an offset in the component.
    pub(super) fn at(&self, offset: usize) -> Option<(&str, u32)> {
        let next = self
            .rows
            .partition_point(|row| row.offset as usize <= offset);
        let row = self.rows.get(next.checked_sub(1)?)?;
        let file = self.files.get(row.file as usize)?;
        (row.line > 0).then_some((file, row.line))
    }

    /// Appends them to `out`, to be read by [`DebugLines::read`].
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, number: u32| out.extend(number.to_le_bytes());
        number(out, length(self.files.len()));
        for file in &self.files {
            number(out, length(file.len()));
            out.extend(file.as_bytes());
        }
        number(out, length(self.rows.len()));
        for row in &self.rows {
            number(out, row.offset);
            number(out, row.line);
            number(out, row.file);
        }
    }

    /// Takes them off the front of `bytes`. `None`: they are not there.
    pub(super) fn read(bytes: &mut &[u8]) -> Option<DebugLines> {
        fn number(bytes: &mut &[u8]) -> Option<u32> {
            let (number, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(u32::from_le_bytes(*number))
        }
        let files = (0..number(bytes)?).map(|_| {
            let length = number(bytes)? as usize;
            let file = bytes.split_off(..length)?;
            String::from_utf8(file.to_vec()).ok()
        });
        let files = files.collect::<Option<_>>()?;
        let rows = (0..number(bytes)?).map(|_| {
            Some(Row {
                offset: number(bytes)?,
                line: number(bytes)?,
                file: number(bytes)?,
            })
        });
        let rows = rows.collect::<Option<_>>()?;
        Some(DebugLines { files, rows })
    }
}

/// Of what this module counts there are fewer than a file of 4 GiB has bytes.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Rows in the making.
#[derive(Default)]
struct SourceLine {
    numbers: HashMap<String, u32>,
    files: Vec<String>,
    rows: Vec<Row>,
}

impl SourceLine {
    /// Runs the line programs of a module, one behind the other. The first that makes no sense is
    /// the last.
    fn add(&mut self, module: &Module<'_>) {
        let section = DebugLine::new(module.debug_line, LittleEndian);
        let mut offset = 0;
        while offset < module.debug_line.len() && self.rows.len() < ROWS {
            let Ok(program) = section.program(DebugLineOffset(offset), 4, None, None) else {
                return;
            };
            let header = program.header();
            offset += usize::from(header.format().initial_length_size()) + header.unit_length();
            let mut numbers = HashMap::new();
            let mut rows = program.rows();
            let mut first = None;
            while let Ok(Some((header, row))) = rows.next_row() {
                let address = usize::try_from(row.address()).unwrap_or(usize::MAX);
                // Linkers leave the lines of functions that they drop, at 0 or as far up as can be:
                // there is no code.
                let dropped = *first.get_or_insert(address) == 0;
                if row.end_sequence() {
                    first = None;
                }
                let offset = module.code.checked_add(address).map(u32::try_from);
                let (false, Some(Ok(offset))) = (dropped, offset) else {
                    continue;
                };
                let line = match row.line() {
                    Some(line) if !row.end_sequence() => u32::try_from(line.get()).unwrap_or(0),
                    _ => 0,
                };
                let file = *numbers
                    .entry(row.file_index())
                    .or_insert_with(|| self.number(path(module, header, row.file_index())));
                if self.rows.len() < ROWS {
                    self.rows.push(Row { offset, line, file });
                }
            }
        }
    }

    fn number(&mut self, file: String) -> u32 {
        if self.files.len() == FILES && !self.numbers.contains_key(&file) {
            return u32::MAX; // there is no such file
        }
        *self.numbers.entry(file).or_insert_with_key(|file| {
            self.files.push(file.clone());
            length(self.files.len() - 1)
        })
    }
}

/// The path of a file within its package: the directory that the plugin was built in is not shown.
fn path(module: &Module<'_>, header: &Header<'_>, file: u64) -> String {
    let Some(file) = header.file(file) else {
        return String::new();
    };
    let directory = file
        .directory(header)
        .map(|directory| string(module, directory))
        .unwrap_or_default();
    let path = format!("{directory}/{}", string(module, file.path_name()));
    let start = match path.rfind("/src/") {
        Some(source) => source + 1,
        None => path.rfind('/').map_or(0, |folder| folder + 1),
    };
    path[start..].to_owned()
}

fn string<'a>(module: &Module<'a>, value: AttributeValue<Bytes<'a>>) -> String {
    let bytes = match value {
        AttributeValue::String(bytes) => Ok(bytes),
        AttributeValue::DebugLineStrRef(at) => {
            DebugLineStr::new(module.debug_line_str, LittleEndian).get_str(at)
        }
        AttributeValue::DebugStrRef(at) => {
            DebugStr::new(module.debug_str, LittleEndian).get_str(at)
        }
        _ => return String::new(),
    };
    // A path is told by its end.
    let last = |bytes: Bytes<'_>| {
        let bytes = bytes.slice();
        let last = &bytes[bytes.len().saturating_sub(PATH)..];
        String::from_utf8_lossy(last).into_owned()
    };
    bytes.map(last).unwrap_or_default()
}

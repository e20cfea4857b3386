//! Names of functions, which say where a plugin failed, are the plugin's own: of any length, and
//! with anything in them.

use super::{answers, forged, in_mode, is_logged, refused_by, setup, three, write};

/// A file in which every function has the name that `name` makes of its index.
fn with_names(module: &[u8], name: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let (mut functions, mut kept) = (0, module[..8].to_vec());
    let mut rest = &module[8..];
    while !rest.is_empty() {
        let start = rest;
        let (id, size) = (rest[0], number(&mut rest, 1));
        let (mut content, after) = rest.split_at(size as usize);
        rest = after;
        match id {
            0 if content[1..].starts_with(b"name") => continue,
            2 => functions += imported(content),
            3 => functions += number(&mut content, 0),
            _ => {}
        }
        kept.extend(&start[..start.len() - rest.len()]);
    }
    let mut names = leb(functions);
    for index in 0..functions {
        let name = name(index);
        names.extend([leb(index), leb(length(&name)), name].concat());
    }
    // The subsection of functions' names, in a custom section `name`.
    let subsection = [vec![1], leb(length(&names)), names].concat();
    let section = [b"\x04name".to_vec(), subsection].concat();
    kept.extend([vec![0], leb(length(&section)), section].concat());
    kept
}

/// How many functions an import section has; a plugin's module imports nothing else.
fn imported(mut section: &[u8]) -> u32 {
    let imports = number(&mut section, 0);
    for _ in 0..imports {
        for _name in 0..2 {
            let length = number(&mut section, 0);
            section = &section[length as usize..];
        }
        assert_eq!(section[0], 0, "not a function");
        number(&mut section, 1);
    }
    imports
}

/// Takes a number off the front, behind so many bytes to skip.
fn number(bytes: &mut &[u8], skip: usize) -> u32 {
    *bytes = &bytes[skip..];
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return number;
        }
    }
}

fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("less than 4 GiB")
}

#[test]
fn a_file_with_a_name_of_megabytes_is_refused() {
    let plugin = with_names(&in_mode("traps_in_pick"), |index| match index {
        20 => vec![b'x'; 25 << 20],
        index => index.to_string().into_bytes(),
    });
    for command in ["run", "check"] {
        let said = refused_by(command, &plugin);
        assert!(
            said.contains("names a function with 26214400 bytes"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_long_name_is_cut_in_the_log() {
    let origins = three().await;
    let setup = setup("traps_in_pick", &origins);
    let plugin = with_names(&in_mode("traps_in_pick"), |_| vec![b'x'; 60_000]);
    write(setup.directory(), &plugin);
    let mut proxy = setup.start().await;
    answers(&proxy, &origins).await;
    is_logged(&mut proxy, "xxx...").await;
    let log = proxy.log();
    let longest = log.lines().map(str::len).max();
    assert!(longest < Some(8000), "a line of {longest:?} bytes");
}

#[tokio::test]
async fn line_ends_and_escapes_in_names_are_shown_as_such() {
    let origins = three().await;
    let setup = setup("traps_in_pick", &origins);
    let plugin = with_names(&in_mode("traps_in_pick"), |_| {
        format!("f\n{}\u{1b}[2J\u{202e}", ::misbehaving::FORGED).into_bytes()
    });
    write(setup.directory(), &plugin);
    let mut proxy = setup.start().await;
    answers(&proxy, &origins).await;
    is_logged(&mut proxy, r"\u{1b}[2J\u{202e}").await;
    let log = proxy.log();
    assert!(
        !forged(&log) && !log.contains(['\u{1b}', '\u{202e}']),
        "{log}"
    );
}

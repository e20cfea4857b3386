//! Plugins whose toolchain brings a WASI along load, and what they print is logged.

use std::process::Command;

use wit_component::StringEncoding;

use super::guests::{Guest, contract, load};
use super::peers::{balancer, logged, pick};

/// Prints, looks at clocks and randomness and the environment; panics for lease 1, looks for files for
/// lease 2, and connects somewhere for lease 3.
const SOURCE: &str = r#"
    #[unsafe(link_section = "component-type:guest")]
    static TYPE: [u8; include_bytes!("type.bin").len()] = *include_bytes!("type.bin");
    static OK_WORKER: [u8; 20] = [0; 20];

    #[unsafe(export_name = "waypost:plugin/plugin@0.2.0#configure")]
    extern "C" fn configure(_: u32, _: *const u8, _: usize) -> *const u8 { OK_WORKER.as_ptr() }
    #[unsafe(export_name = "waypost:plugin/members@0.2.0#update")]
    extern "C" fn update(_: u64, _: usize, _: usize) {}
    #[unsafe(export_name = "waypost:plugin/balancer@0.2.0#pick")]
    extern "C" fn pick(lease: u64, _: u32, _: u64, _: u64, _: u64) -> u32 {
        let seeded = std::collections::HashMap::from([(lease, 1)]);
        let begun = std::time::Instant::now();
        std::thread::sleep(std::time::Duration::from_secs(3600));
        println!("picking for {lease}, {} variables, {} in the map", std::env::vars().count(), seeded.len());
        assert!(begun.elapsed().as_secs() < 1 && std::time::SystemTime::now() > std::time::UNIX_EPOCH);
        assert_ne!(lease, 1, "one is unlucky");
        if lease == 2 {
            assert!(std::fs::read("/etc/hosts").is_err() && std::fs::read_dir("/").is_err());
        }
        if lease == 3 {
            let _ = std::net::TcpStream::connect("127.0.0.1:80");
        }
        2
    }
    #[unsafe(no_mangle)]
    extern "C" fn cabi_realloc(old: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        unsafe { std::alloc::realloc(old, std::alloc::Layout::from_size_align(size, align).unwrap(), new) }
    }
"#;

/// Compiles [`SOURCE`] with the toolchain's own `wasm32-wasip2`.
fn compiled() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (resolve, package) = contract();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    let types =
        wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).unwrap();
    std::fs::write(folder.path().join("type.bin"), types).unwrap();
    std::fs::write(folder.path().join("guest.rs"), SOURCE).unwrap();
    let rustc = Command::new("rustc")
        .args([
            "--edition=2024",
            "--target=wasm32-wasip2",
            "--crate-type=cdylib",
            "-Copt-level=1",
            "guest.rs",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        rustc.status.success(),
        "{}",
        String::from_utf8_lossy(&rustc.stderr)
    );
    std::fs::read(folder.path().join("guest.wasm")).unwrap()
}

#[test]
fn a_wasip2_plugin_runs_and_its_output_and_panics_are_logged() {
    let policy = load("printer", &compiled()).unwrap();
    let mut worker = balancer(&policy).attach(None);
    let log = logged(|| assert_eq!(pick(&mut worker, 7), Some(2)));
    assert!(log.contains("INFO"), "{log}");
    assert!(
        log.contains("picking for 7, 0 variables, 1 in the map plugin=\"printer\""),
        "{log}"
    );
    let log = logged(|| assert_ne!(pick(&mut worker, 1), None));
    assert!(log.contains("one is unlucky"), "{log}");
    assert_eq!(policy.stats().traps, 1);
}

#[test]
fn a_wasip2_plugin_finds_no_files_and_fails_where_it_connects() {
    let policy = load("prober", &compiled()).unwrap();
    let mut worker = balancer(&policy).attach(None);
    let log = logged(|| assert_eq!(pick(&mut worker, 2), Some(2)));
    assert_eq!(policy.stats().traps, 0, "{log}");
    let log = logged(|| assert_ne!(pick(&mut worker, 3), Some(2)));
    assert!(log.contains("called wasi:sockets/"), "{log}");
    assert!(log.contains("which plugins are not given"), "{log}");
}

/// As C libraries and Go have it.
#[test]
fn what_a_plugin_of_preview_1_prints_is_logged() {
    let guest = Guest {
        more: r#"(import "wasi_snapshot_preview1" "fd_write"
                   (func $write (param i32 i32 i32 i32) (result i32)))
                 (func (export "cabi_realloc_adapter") (param i32 i32 i32 i32) (result i32)
                   (i32.shl
                     (memory.grow (i32.shr_u (i32.add (local.get 3) (i32.const 65535)) (i32.const 16)))
                     (i32.const 16)))
                 (data (i32.const 2048) "\08\08\00\00\06\00\00\00hello\n")"#,
        ..Guest::picks(
            "(call $write (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 2072))",
        )
    };
    let policy = load("printer", &guest.module()).unwrap();
    let mut worker = balancer(&policy).attach(None);
    let log = logged(|| assert_eq!(pick(&mut worker, 7), Some(0)));
    assert!(log.contains("hello plugin=\"printer\""), "{log}");
}

//! A plugin reads the files that its settings name, and hears when they change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plugin::{
    Asked, Balancer, BalancerParts, ConfigureError, HookContext, Kind, Plugin, PolicyContext,
    SharedHook, UpstreamTraits, WorkerHook,
};

use super::guests::{Guest, PROCESS, WORKER};
use super::peers::{Endpoints, about, exchange, logged, parts, pick};

/// Reads `users` when it is configured, and tells of what it holds in an attribute of each request:
/// `-` where there is no such file. Logs why a file cannot be read. Tries to read it in
/// `on-request`, too.
const READING: &str = r#"
    (import "waypost:plugin/files@0.2.0" "read" (func $read (param i32 i32 i32)))
    (import "waypost:plugin/log@0.2.0" "write" (func $write (param i32 i32 i32)))
    (import "waypost:plugin/changes@0.2.0" "set-attribute"
      (func $set (param i32 i32 i32 i32) (result i32)))
    (data (i32.const 512) "users-")
    (global $content (mut i32) (i32.const 517))
    (global $length (mut i32) (i32.const 1))
    (func $keep (param $is-there i32) (param $at i32) (param $length i32)
      (global.set $content (select (local.get $at) (i32.const 517) (local.get $is-there)))
      (global.set $length (select (local.get $length) (i32.const 1) (local.get $is-there))))
    (func $load
      (call $read (i32.const 512) (i32.const 5) (i32.const 2048))
      (if (i32.load8_u (i32.const 2048))
        (then (call $write (i32.const 0) (i32.load (i32.const 2052)) (i32.load (i32.const 2056))))
        (else (call $keep (i32.load8_u (i32.const 2052)) (i32.load (i32.const 2056))
                          (i32.load (i32.const 2060))))))
    (func (export "waypost:plugin/file-changes@0.2.0#changed")
      (param $path i32) (param $length i32) (param $is-there i32) (param $at i32) (param i32)
      (if (i32.ne (local.get $length) (i32.const 5)) (then unreachable))
      (call $keep (local.get $is-there) (local.get $at) (local.get 4)))"#;

fn reading(configured: &'static str) -> Guest {
    Guest {
        more: READING,
        setup: "(call $load)",
        configured,
        worlds: &["with-file-changes"],
        ..Guest::asked(
            "(drop (call $set (i32.const 512) (i32.const 5) (global.get $content) (global.get $length)))
             (i32.const 0)",
        )
    }
}

fn hook_in(
    folder: &Path,
    plugin: &Plugin,
    settings: &Value,
) -> Result<Arc<SharedHook>, ConfigureError> {
    let context = HookContext {
        places: &[&json!({})],
        traits: UpstreamTraits::default(),
        directory: folder,
        variables: &Arc::default(),
        destinations: &Arc::default(),
        workers: 1,
    };
    SharedHook::new("mine", plugin.clone(), settings, &context).map(Arc::new)
}

/// What the hook says the file holds.
fn content(worker: &WorkerHook) -> String {
    let asked: Asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    let changes = asked.changes.unwrap();
    String::from_utf8(changes.attributes.get(b"users").unwrap().to_vec()).unwrap()
}

/// A folder with a file `users`, and a hook that has read it.
fn read(plugin: &Plugin) -> (TempDir, Arc<SharedHook>, Rc<WorkerHook>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), "ada").unwrap();
    let hook = hook_in(folder.path(), plugin, &json!({ "file": "users" })).unwrap();
    let worker = WorkerHook::attach(&hook, None);
    assert_eq!(content(&worker), "ada");
    (folder, hook, worker)
}

#[test]
fn a_file_that_the_settings_name_is_read_wherever_they_name_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), "ada").unwrap();
    let plugin = reading(WORKER).load();
    for settings in [
        json!({ "file": "users" }),
        json!({ "any": { "depth": [1, { "at": "users" }] } }),
    ] {
        let hook = hook_in(folder.path(), &plugin, &settings).unwrap();
        assert_eq!(content(&WorkerHook::attach(&hook, None)), "ada");
        assert_eq!(hook.files().paths(), [folder.path().join("users")]);
    }
}

#[test]
fn no_other_file_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), "ada").unwrap();
    let plugin = reading(WORKER).load();
    for settings in [
        json!({}),
        json!({ "users": "other" }),
        json!({ "file": "./users" }),
        json!({ "file": "the users" }),
    ] {
        let log = logged(|| {
            let hook = hook_in(folder.path(), &plugin, &settings).unwrap();
            assert_eq!(content(&WorkerHook::attach(&hook, None)), "-");
            assert!(hook.files().paths().is_empty());
        });
        assert!(log.contains("its settings do not name `users`"), "{log}");
    }
}

#[test]
fn a_file_that_does_not_exist_is_none_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = reading(WORKER).load();
    let hook = hook_in(folder.path(), &plugin, &json!({ "file": "users" })).unwrap();
    let worker = WorkerHook::attach(&hook, None);
    assert_eq!(content(&worker), "-");
    assert!(!hook.files().refresh());
    fs::write(folder.path().join("users"), "eve").unwrap();
    assert!(hook.files().refresh());
    assert_eq!(content(&worker), "eve");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("users")).unwrap();
    let plugin = reading(WORKER).load();
    let log = logged(|| {
        let _ = hook_in(folder.path(), &plugin, &json!({ "file": "users" })).unwrap();
    });
    assert!(log.contains("it is not a regular file"), "{log}");
    fs::remove_dir(folder.path().join("users")).unwrap();
    let large = fs::File::create(folder.path().join("users")).unwrap();
    large.set_len((16 << 20) + 1).unwrap(); // takes no space
    let log = logged(|| {
        let _ = hook_in(folder.path(), &plugin, &json!({ "file": "users" })).unwrap();
    });
    assert!(log.contains("it is larger than 16 MiB"), "{log}");
}

#[test]
fn what_was_read_is_kept_for_instances_that_are_made_later() {
    let plugin = reading(WORKER).load();
    let (folder, hook, _worker) = read(&plugin);
    fs::write(folder.path().join("users"), "eve").unwrap();
    // A worker for which no instance was made ahead.
    assert_eq!(content(&WorkerHook::attach(&hook, None)), "ada");
    fs::remove_file(folder.path().join("users")).unwrap();
    assert_eq!(content(&WorkerHook::attach(&hook, None)), "ada");
}

#[test]
fn a_changed_file_reaches_every_instance_before_its_next_call() {
    for configured in [WORKER, PROCESS] {
        let plugin = reading(configured).load();
        let (folder, hook, worker) = read(&plugin);
        let other = WorkerHook::attach(&hook, None);
        fs::write(folder.path().join("users"), "bob").unwrap();
        assert_eq!(
            content(&worker),
            "ada",
            "it is not looked at before it is refreshed"
        );
        assert!(hook.files().refresh());
        assert_eq!([content(&worker), content(&other)], ["bob", "bob"]);
        assert!(!hook.files().refresh(), "it has not changed since");
        assert_eq!(content(&WorkerHook::attach(&hook, None)), "bob");
    }
}

#[test]
fn a_file_that_is_gone_or_cannot_be_read_any_more_is_none() {
    let plugin = reading(WORKER).load();
    let (folder, hook, worker) = read(&plugin);
    let file = folder.path().join("users");
    fs::remove_file(&file).unwrap();
    assert!(hook.files().refresh());
    assert_eq!(content(&worker), "-");
    fs::write(&file, "eve").unwrap();
    assert!(hook.files().refresh());
    assert_eq!(content(&worker), "eve");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let log = logged(|| assert!(hook.files().refresh()));
    assert!(log.contains("cannot read `users`: "), "{log}");
    assert_eq!(content(&worker), "-");
}

#[test]
fn files_are_read_while_a_plugin_is_set_up_and_at_no_other_time() {
    let guest = Guest {
        attach: "(call $load)",
        is: super::guests::Is::Hook("(call $load) (i32.const 0)"),
        ..reading(WORKER)
    };
    let folder = tempfile::tempdir().unwrap();
    let hook = hook_in(folder.path(), &guest.load(), &json!({ "file": "users" })).unwrap();
    let worker = WorkerHook::attach(&hook, None);
    let log = logged(|| {
        assert!(worker.on_request(&exchange(0), &about(1)).is_some());
    });
    assert!(
        log.contains("files are read while a plugin is configured"),
        "{log}"
    );
}

/// A worker's thread hears of changes, and a file may take long to read.
#[test]
fn a_plugin_that_hears_of_a_change_reads_no_file() {
    let guest = Guest {
        is: super::guests::Is::Hook("(i32.const 0)"),
        more: r#"
            (import "waypost:plugin/files@0.2.0" "read" (func $read (param i32 i32 i32)))
            (import "waypost:plugin/log@0.2.0" "write" (func $write (param i32 i32 i32)))
            (data (i32.const 512) "users")
            (func $load
              (call $read (i32.const 512) (i32.const 5) (i32.const 2048))
              (if (i32.load8_u (i32.const 2048))
                (then (call $write (i32.const 0) (i32.load (i32.const 2052))
                                   (i32.load (i32.const 2056))))))
            (func (export "waypost:plugin/file-changes@0.2.0#changed")
              (param i32 i32 i32 i32 i32) (call $load))"#,
        ..reading(WORKER)
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), "ada").unwrap();
    let hook = hook_in(folder.path(), &guest.load(), &json!({ "file": "users" })).unwrap();
    let worker = WorkerHook::attach(&hook, None);
    fs::write(folder.path().join("users"), "eve").unwrap();
    assert!(hook.files().refresh());
    let log = logged(|| {
        assert!(worker.on_request(&exchange(0), &about(1)).is_some());
    });
    assert!(
        log.contains("files are read while a plugin is configured"),
        "{log}"
    );
}

/// Tells in an attribute whether `users` was there when it last heard: `y` or `n`.
const LOOKING: &str = r#"
    (import "waypost:plugin/files@0.2.0" "is-there" (func $is-there (param i32 i32) (result i32)))
    (import "waypost:plugin/changes@0.2.0" "set-attribute"
      (func $set (param i32 i32 i32 i32) (result i32)))
    (data (i32.const 512) "usersny")
    (global $said (mut i32) (i32.const 0))
    (func $look
      (global.set $said
        (i32.add (i32.const 517) (call $is-there (i32.const 512) (i32.const 5)))))
    (func (export "waypost:plugin/file-changes@0.2.0#changed")
      (param i32 i32) (param $has-content i32) (param i32 i32)
      (if (local.get $has-content) (then unreachable))
      (call $look))"#;

#[test]
fn whether_a_file_is_there_is_told_of_what_cannot_be_read_too() {
    let guest = Guest {
        more: LOOKING,
        setup: "(call $look)",
        ..reading(WORKER)
    };
    let guest = Guest {
        is: super::guests::Is::Hook(
            "(drop (call $set (i32.const 512) (i32.const 5) (global.get $said) (i32.const 1)))
             (i32.const 0)",
        ),
        ..guest
    };
    let folder = tempfile::tempdir().unwrap();
    let hook = hook_in(folder.path(), &guest.load(), &json!({ "file": "users" })).unwrap();
    let worker = WorkerHook::attach(&hook, None);
    assert_eq!(content(&worker), "n");
    let file = folder.path().join("users");
    // It is not read, however large it is.
    let large = fs::File::create(&file).unwrap();
    large.set_len(1 << 40).unwrap(); // takes no space
    assert!(hook.files().refresh());
    assert_eq!(content(&worker), "y");
    fs::remove_file(&file).unwrap();
    assert!(hook.files().refresh());
    assert_eq!(content(&worker), "n");
    fs::create_dir(&file).unwrap();
    assert!(hook.files().refresh());
    assert_eq!(content(&worker), "y");
    assert!(!hook.files().refresh(), "it has not changed since");
    assert_eq!(content(&WorkerHook::attach(&hook, None)), "y");
}

#[test]
fn a_policy_reads_its_files_and_hears_when_they_change() {
    // Picks the endpoint whose number is the file's length, less 3.
    let policy = Guest {
        is: super::guests::Is::Policy("(i32.sub (global.get $length) (i32.const 3))"),
        ..reading(PROCESS)
    }
    .load();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), "ada").unwrap();
    let context = PolicyContext {
        directory: folder.path().to_owned(),
        ..PolicyContext::default()
    };
    let settings = json!({ "file": "users" });
    let tried = policy.configure(Kind::Policy, &settings, &context);
    assert!(tried.is_ok());
    let parts = BalancerParts {
        settings: &settings,
        ..parts(&policy)
    };
    let balancer = Balancer::new(parts, Arc::new(Endpoints(3)), &context).unwrap();
    let balancer = Arc::new(balancer);
    let mut worker = balancer.attach(None);
    assert_eq!(pick(&mut worker, 1), Some(0));
    fs::write(folder.path().join("users"), "adam").unwrap();
    let files: Vec<_> = balancer.files().cloned().collect();
    assert_eq!(files[0].paths(), [folder.path().join("users")]);
    assert!(files[0].refresh());
    assert_eq!(pick(&mut worker, 2), Some(1));
}

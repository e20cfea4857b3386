//! Plugins in languages other than Rust: the examples in `examples/LANGUAGE`, built by the SDK of the
//! language with its real toolchain, once for what they are made of.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tokio::sync::Mutex;

use crate::{installed, peers};

/// A language that there is an SDK for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    JavaScript,
    Python,
    C,
    Go,
}

/// What the plugins say before they fail on purpose.
pub const FAULT: &str = "no tenant today";

/// One build of each language at a time: specs run side by side.
static BUILDS: [Mutex<()>; 4] = [const { Mutex::const_new(()) }; 4];

fn root(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

impl Language {
    /// The name of its folders.
    fn name(self) -> &'static str {
        match self {
            Language::JavaScript => "javascript",
            Language::Python => "python",
            Language::C => "c",
            Language::Go => "go",
        }
    }

    fn sdk(self) -> PathBuf {
        root("sdk").join(self.name())
    }

    /// The folder of the example.
    pub fn example(self) -> PathBuf {
        root("examples").join(self.name())
    }

    /// The example's configuration.
    pub fn configuration(self) -> String {
        std::fs::read_to_string(self.example().join("waypost.toml")).expect("it is there")
    }

    /// The file with the plugin; a line of the policy's `pick`; and lines to stand before it, which
    /// fail for requests with `X-Fault`.
    fn source(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Language::JavaScript => (
                "plugin.js",
                "    if (request.header(this.header)) {\n",
                "    if (request.header('x-fault')) throw new Error('no tenant today');\n",
            ),
            Language::Python => (
                "plugin.py",
                "        if request.header(self.header):\n",
                "        if request.header(\"x-fault\"):\n            raise ValueError(\"no tenant today\")\n",
            ),
            Language::C => (
                "plugin.c",
                "  wp_maybe_text tenant = wp_request_header(header);\n",
                "  if (wp_request_header(WP_TEXT(\"x-fault\")).is_some) wp_panic(\"no tenant today\");\n",
            ),
            Language::Go => (
                "plugin.go",
                "\tcandidates := pick.Indexes()\n",
                "\tif _, is := waypost.Request.Header(\"x-fault\"); is {\n\t\tpanic(\"no tenant today\")\n\t}\n",
            ),
        }
    }

    /// Whether its toolchain is installed.
    pub fn is_installed(self) -> bool {
        match self {
            Language::JavaScript => {
                let modules = self
                    .sdk()
                    .join("node_modules/@bytecodealliance/componentize-js");
                let example = self.example().join("node_modules/waypost");
                installed::program("node", "--version", "nodejs npm")
                    && installed::there_is(
                        modules.exists() && example.exists(),
                        "componentize-js",
                        "npm ci --prefix examples/javascript",
                    )
            }
            Language::Python => peers::python(&["componentize_py"]).is_some(),
            Language::C => {
                installed::program("make", "--version", "make")
                    && peers::python(&["ziglang"]).is_some()
            }
            Language::Go => installed::there_is(
                Command::new(go()).arg("version").output().is_ok(),
                "go",
                "target/peers/bin/python -m pip install -r tests/peers/requirements.txt",
            ),
        }
    }

    /// Runs the tests of the SDK and of the example, by the language's own means.
    pub async fn test(self) {
        for folder in [self.sdk(), self.example()] {
            self.test_in(&folder).await;
        }
    }

    async fn test_in(self, folder: &Path) {
        let mut command = match self {
            Language::JavaScript => Command::new("node"),
            Language::Python => python("componentize_py"),
            Language::C => Command::new("make"),
            Language::Go => Command::new(go()),
        };
        match self {
            Language::JavaScript => command.arg("--test"),
            Language::Python => command
                .args(["-B", "-m", "unittest"])
                .env("PYTHONPATH", self.sdk()),
            Language::C => command.arg("test").env("TMPDIR", built()),
            Language::Go => command.args(["test", "./..."]),
        };
        done(command.current_dir(folder)).await;
    }

    /// The example's component: it fails with [`FAULT`] for requests with `X-Fault`, and is what the
    /// folder has otherwise.
    pub async fn plugin(self) -> PathBuf {
        let _one = BUILDS[self as usize].lock().await;
        let mut hasher = DefaultHasher::new();
        hash(&self.sdk(), &mut hasher);
        hash(&self.example(), &mut hasher);
        hash(&root("wit/0.2.0"), &mut hasher);
        self.source().hash(&mut hasher);
        let file = format!("{}-{:016x}.wasm", self.name(), hasher.finish());
        let file = built().join(file);
        if !file.exists() {
            let folder = tempfile::tempdir().expect("there is room for a directory");
            self.copy(folder.path());
            let mut command = self.build(folder.path());
            done(command.current_dir(folder.path())).await;
            let made = file.with_extension(std::process::id().to_string());
            std::fs::copy(folder.path().join("plugin.wasm"), &made).expect("it is built");
            std::fs::rename(made, &file).expect("the directory is ours");
        }
        file
    }

    /// A component that answers requests, made by the toolchain alone, as its own pages begin with one:
    /// of JavaScript and Python.
    pub async fn answering_component(self) -> PathBuf {
        let _one = BUILDS[self as usize].lock().await;
        let (name, version) = match self {
            Language::JavaScript => ("hello.js", "0.2.10"), // that of its engine
            _ => ("app.py", "0.2.12"),
        };
        let source = root("tests/peers/components").join(name);
        let mut hasher = DefaultHasher::new();
        std::fs::read(&source)
            .expect("it is there")
            .hash(&mut hasher);
        hash(&root("tests/peers/components/wasi"), &mut hasher);
        let file = format!("{}-answers-{:016x}.wasm", self.name(), hasher.finish());
        let file = built().join(file);
        if !file.exists() {
            let folder = tempfile::tempdir().expect("there is room for a directory");
            let deps = folder.path().join("wit/deps");
            std::fs::create_dir_all(&deps).expect("the directory is ours");
            for package in ["http", "io", "clocks"] {
                let text = root("tests/peers/components/wasi").join(format!("{package}.wit"));
                let text = std::fs::read_to_string(text).expect("it is there");
                let text = text.replace("0.2.12", version);
                std::fs::write(deps.join(format!("{package}.wit")), text).expect("it is ours");
            }
            let world = format!(
                "package example:app;\nworld app {{\n  import wasi:http/outgoing-handler@{version};\n  \
                 export wasi:http/incoming-handler@{version};\n}}\n"
            );
            std::fs::write(folder.path().join("wit/world.wit"), world).expect("it is ours");
            std::fs::copy(&source, folder.path().join(name)).expect("the directory is ours");
            let mut command = match self {
                Language::JavaScript => {
                    let bin = self.sdk().join("node_modules/.bin/componentize-js");
                    let mut command = behind_others(bin.canonicalize().expect("it is installed"));
                    command.args(["hello.js", "-w", "wit", "-n", "app", "-o", "plugin.wasm"]);
                    command
                }
                _ => {
                    let python = python("componentize_py").get_program().to_owned();
                    let mut command = behind_others(&python);
                    command.arg(Path::new(&python).with_file_name("componentize-py"));
                    command.args(["-d", "wit", "-w", "app", "componentize", "app"]);
                    command.args(["-o", "plugin.wasm"]);
                    command
                }
            };
            done(command.current_dir(folder.path())).await;
            let made = file.with_extension(std::process::id().to_string());
            std::fs::copy(folder.path().join("plugin.wasm"), &made).expect("it is built");
            std::fs::rename(made, &file).expect("the directory is ours");
        }
        file
    }

    /// The component of another plugin in C.
    pub async fn compiled(source: &str) -> PathBuf {
        let language = Language::C;
        let _one = BUILDS[language as usize].lock().await;
        let folder = tempfile::tempdir().expect("there is room for a directory");
        language.copy(folder.path());
        std::fs::write(folder.path().join("plugin.c"), source).expect("the directory is ours");
        let mut command = language.build(folder.path());
        done(command.current_dir(folder.path())).await;
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        let file = built().join(format!("{:016x}.wasm", hasher.finish()));
        let made = file.with_extension(std::process::id().to_string());
        std::fs::copy(folder.path().join("plugin.wasm"), &made).expect("it is built");
        std::fs::rename(made, &file).expect("the directory is ours");
        file
    }

    /// The example, with a fault, in another folder.
    fn copy(self, folder: &Path) {
        for entry in std::fs::read_dir(self.example()).expect("it is there") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().unwrap_or_default();
            if !path.is_file() || path.extension().is_some_and(|end| end == "wasm") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("it is a text");
            // Where the SDK is.
            let sdk = self.sdk().canonicalize().expect("it is there");
            let relative = format!("../../sdk/{}", self.name());
            let text = text.replace(&relative, &sdk.display().to_string());
            std::fs::write(folder.join(name), text).expect("the directory is ours");
        }
        let (name, line, fault) = self.source();
        let text = std::fs::read_to_string(folder.join(name)).expect("it was written");
        assert!(text.contains(line), "{name} has no line {line:?}");
        let text = text.replacen(line, &format!("{fault}{line}"), 1);
        std::fs::write(folder.join(name), text).expect("the directory is ours");
    }

    /// Gives the folder of a plugin what its language would install there: what is installed already.
    pub fn equip(self, folder: &Path) {
        match self {
            Language::JavaScript => {
                let modules = folder.join("node_modules");
                std::fs::create_dir(&modules).expect("the directory is ours");
                let installed = self.sdk().join("node_modules").canonicalize();
                let installed = installed.expect("it is installed");
                for entry in std::fs::read_dir(installed).expect("it can be listed") {
                    let entry = entry.expect("it can be listed");
                    symlink(entry.path(), modules.join(entry.file_name()))
                        .expect("the directory is ours");
                }
                symlink("../waypost-sdk", modules.join("waypost")).expect("the directory is ours");
            }
            Language::Python | Language::C => {
                let module = match self {
                    Language::C => "ziglang",
                    _ => "componentize_py",
                };
                let python = python(module).get_program().to_owned();
                let python = Path::new(&python).display().to_string();
                let script = format!("#!/bin/sh\nexec '{python}' \"$@\"\n");
                let bin = folder.join(".venv/bin");
                std::fs::create_dir_all(&bin).expect("the directory is ours");
                std::fs::write(bin.join("python"), script).expect("the directory is ours");
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(bin.join("python"), mode).expect("it is ours");
                std::fs::write(folder.join(".venv/ready"), "").expect("the directory is ours");
            }
            Language::Go => {}
        }
    }

    fn build(self, folder: &Path) -> Command {
        let mut command = match self {
            Language::JavaScript => Command::new("node"),
            Language::Python => python("componentize_py"),
            Language::C => Command::new("make"),
            Language::Go => Command::new(go()),
        };
        match self {
            Language::JavaScript => command.arg(self.sdk().join("build.js")),
            Language::Python => command
                .args(["-B", "-m", "waypost"])
                .env("PYTHONPATH", self.sdk()),
            Language::C => {
                let python = python("ziglang");
                command
                    .arg(format!("ZIG={} -m ziglang", python.get_program().display()))
                    .env("ZIG_GLOBAL_CACHE_DIR", built().join("zig"))
                    .env("ZIG_LOCAL_CACHE_DIR", folder)
            }
            Language::Go => command.args(["run", "."]),
        };
        command
    }
}

/// Where components are kept.
fn built() -> PathBuf {
    let folder = root("target/languages");
    std::fs::create_dir_all(&folder).expect("the directory is ours");
    folder.canonicalize().expect("it is there")
}

/// The Python that has a module.
fn python(module: &str) -> Command {
    Command::new(peers::python(&[module]).expect("it was looked for"))
}

/// The Go that is installed with the other peers, or the system's own.
fn go() -> PathBuf {
    let peer = root("target/peers/bin/go");
    match peer.canonicalize() {
        Ok(peer) => peer,
        Err(_) => PathBuf::from("go"),
    }
}

/// What a folder holds but for what was installed or built there.
fn hash(folder: &Path, hasher: &mut DefaultHasher) {
    let entries = std::fs::read_dir(folder).expect("it is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if matches!(&*name, "node_modules" | "__pycache__" | ".venv" | "wit")
            || name.ends_with(".wasm")
            || name.ends_with(".egg-info")
        {
            continue;
        }
        name.hash(hasher);
        match path.is_dir() {
            true => hash(&path, hasher),
            false => std::fs::read(&path).expect("it can be read").hash(hasher),
        }
    }
}

/// Runs a command to its end, which must be a good one. It may take as long as it takes: compilers
/// do.
async fn done(command: &mut Command) {
    let what = format!("{command:?}");
    let output = ended(command).await;
    assert!(
        output.status.success(),
        "{what}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A program that finds the toolchains, and takes what time the other specs leave.
pub fn behind_others(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command
        .args(["-n", "19"])
        .arg(program)
        .env("ZIG_GLOBAL_CACHE_DIR", built().join("zig"));
    command
}

/// Runs a command to its end, however long that takes.
pub async fn ended(command: &mut Command) -> Output {
    // The compiler's own tools are beside it.
    if let Some(folder) = go().parent().filter(|folder| folder.is_absolute()) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    let what = format!("{command:?}");
    let spawned = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
    // The spec's own servers have to go on meanwhile.
    let output = tokio::task::spawn_blocking(move || spawned.wait_with_output());
    let output = output.await.expect("it can be waited for");
    output.expect("it can be waited for")
}

//! The std of the wasm target: the toolchain's own, else rustup's, else one built from
//! Debian's packages into `target/airside-sysroot`.
//!
//! The toolchain itself is never written to: it is the user's, and a std put there by hand
//! would collide with a later `rustup target add`.

mod flags;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::{self, Install, Workspace, on_path, step};

/// What the components are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Where the std may come from.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) enum WasmStd {
    /// The toolchain's, else rustup's, else Debian's.
    #[default]
    Auto,
    /// Only Debian's, even where the toolchain has one: keeps the fallback tested.
    Debian,
    /// Only the toolchain's, added by rustup where missing.
    Rustup,
}

/// A std that is there.
#[derive(Debug)]
pub(crate) enum Std {
    /// A folder holding only this target; the linkers are still the toolchain's.
    Sysroot(PathBuf),
    /// The toolchain has it.
    Toolchain,
}

impl WasmStd {
    /// `AIRSIDE_WASM_STD`, else automatic.
    ///
    /// # Errors
    /// When the variable holds another word.
    pub(crate) fn from_environment() -> Result<Self> {
        match std::env::var("AIRSIDE_WASM_STD") {
            Ok(value) => value.parse().context("AIRSIDE_WASM_STD"),
            Err(_) => Ok(Self::Auto),
        }
    }

    /// Makes the std available.
    ///
    /// # Errors
    /// When none of the ways works; the message says what each one ran into.
    pub(crate) fn provide(self, workspace: &Workspace, install: Install) -> Result<Std> {
        if install == Install::Forbidden {
            return self.present(workspace);
        }
        match self {
            Self::Debian => debian(workspace),
            Self::Rustup => rustup(workspace),
            Self::Auto => {
                // A std built earlier spares the wait for a rustup that cannot download.
                if let Ok(std) = self.present(workspace) {
                    return Ok(std);
                }
                let by_rustup = match rustup(workspace) {
                    Ok(std) => return Ok(std),
                    Err(error) => error,
                };
                println!("{by_rustup:#}; trying Debian's packages");
                debian(workspace).map_err(|by_debian| {
                    anyhow::anyhow!(
                        "the Rust target {TARGET} cannot be had.\n  rustup: {by_rustup:#}\n  \
                         Debian packages: {by_debian:#}\n\
                         Install it by hand (`rustup target add {TARGET}`) and try again."
                    )
                })
            }
        }
    }
}

impl WasmStd {
    /// What is there without any download.
    fn present(self, workspace: &Workspace) -> Result<Std> {
        if self != Self::Debian && toolchain_has_std(workspace)? {
            return Ok(Std::Toolchain);
        }
        if self != Self::Rustup
            && let Some(std) = built_std(workspace, &rustc_version_line(workspace)?)
        {
            return Ok(std);
        }
        bail!("the Rust target {TARGET} is not installed (`rustup target add {TARGET}`)")
    }
}

impl FromStr for WasmStd {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "debian" => Ok(Self::Debian),
            "rustup" => Ok(Self::Rustup),
            other => bail!("`{other}` is none of auto, debian, rustup"),
        }
    }
}

fn rustup(workspace: &Workspace) -> Result<Std> {
    if toolchain_has_std(workspace)? {
        return Ok(Std::Toolchain);
    }
    if !on_path("rustup") {
        bail!("the toolchain has no {TARGET} and there is no rustup");
    }
    step(&format!("Adding the Rust target {TARGET}"));
    let mut command = workspace.program("rustup");
    command.args(["target", "add", TARGET]).stdin(Stdio::null());
    match run_limited(&mut command, RUSTUP_LIMIT).context("rustup target add")? {
        Some(status) if status.success() && toolchain_has_std(workspace)? => Ok(Std::Toolchain),
        Some(status) => bail!("`rustup target add {TARGET}` failed ({status})"),
        None => bail!("`rustup target add {TARGET}` did not end in {RUSTUP_LIMIT:?}"),
    }
}

fn toolchain_has_std(workspace: &Workspace) -> Result<bool> {
    let mut rustc = workspace.program("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let libdir = workspace::output("rustc", &mut rustc)?;
    Ok(holds_std(Path::new(libdir.trim())))
}

fn holds_std(libdir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(libdir) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// The exit status, or `None` when the command was ended after `limit`.
fn run_limited(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Builds the std from Debian's `rust-src` and `wasi-libc`, without root: private package
/// lists, nothing installed.
fn debian(workspace: &Workspace) -> Result<Std> {
    let version_line = rustc_version_line(workspace)?;
    if let Some(std) = built_std(workspace, &version_line) {
        return Ok(std);
    }
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        if !on_path(program) {
            bail!("no `{program}` on this machine");
        }
    }
    let version = version_line
        .split_whitespace()
        .nth(1)
        .context("rustc printed no version")?;
    step(&format!(
        "Building the std of {TARGET} for Rust {version} from Debian's packages"
    ));
    let work = workspace.path("target/airside-sysroot-build");
    let sysroot = workspace.path(SYSROOT);
    remove_folder(&work)?;
    remove_folder(&sysroot)?;
    let sources = Sources::unpack(workspace, &work, version)?;
    compile_std(workspace, &sources, &work)?;
    assemble(&work, &sources, &sysroot)?;
    fs::write(sysroot.join(STAMP), &version_line)?;
    remove_folder(&work)?;
    Ok(Std::Sysroot(sysroot))
}

fn rustc_version_line(workspace: &Workspace) -> Result<String> {
    let mut rustc = workspace.program("rustc");
    rustc.arg("--version");
    workspace::output("rustc", &mut rustc)
}

/// The std an earlier run built for this very rustc.
fn built_std(workspace: &Workspace, version_line: &str) -> Option<Std> {
    let sysroot = workspace.path(SYSROOT);
    let built_for = fs::read_to_string(sysroot.join(STAMP)).ok()?;
    (built_for == version_line).then_some(Std::Sysroot(sysroot))
}

/// Unpacked packages.
struct Sources {
    library: PathBuf,
    libc: PathBuf,
}

impl Sources {
    fn unpack(workspace: &Workspace, work: &Path, rust_version: &str) -> Result<Self> {
        let unpacked = work.join("unpacked");
        let apt = PrivateApt::new(workspace, work)?;
        let mut tried = Vec::new();
        for archive in archives(&apt.update_uris()?) {
            for last in 0..SUITES.len() {
                apt.use_suites(&archive, &SUITES[..=last])?;
                let rust_src = best_version(&apt.versions("rust-src")?, rust_version);
                let libc = apt.versions("wasi-libc")?.into_iter().next();
                let (Some(rust_src), Some(libc)) = (rust_src, libc) else {
                    continue;
                };
                for (package, version) in [("rust-src", &rust_src), ("wasi-libc", &libc)] {
                    apt.download(package, version, &unpacked)?;
                }
                let found = Self {
                    library: find_library(&unpacked)?,
                    libc: unpacked.join("usr/lib").join(TARGET),
                };
                if found.libc.join("libc.a").is_file() {
                    return Ok(found);
                }
                remove_folder(&unpacked)?;
            }
            tried.push(archive);
        }
        bail!(
            "no rust-src of {rust_version} with a wasi-libc for {TARGET} in {} of {}",
            SUITES.join(", "),
            if tried.is_empty() {
                "any archive".to_owned()
            } else {
                tried.join(", ")
            }
        )
    }
}

/// apt with lists, cache and sources of its own.
struct PrivateApt<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
}

impl<'a> PrivateApt<'a> {
    fn new(workspace: &'a Workspace, work: &Path) -> Result<Self> {
        let folder = work.join("apt");
        for part in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(folder.join(part))?;
        }
        Ok(Self { workspace, folder })
    }

    /// The index addresses of the machine's own configuration; nothing is downloaded.
    fn update_uris(&self) -> Result<String> {
        let mut command = self.workspace.program("apt-get");
        command
            .arg("-o")
            .arg(self.option("Dir::State::Lists", "lists"));
        workspace::output("apt-get", command.args(["update", "--print-uris"]))
    }

    fn use_suites(&self, archive: &str, suites: &[&str]) -> Result<()> {
        let signed_by = if Path::new(DEBIAN_KEYRING).is_file() {
            format!("[signed-by={DEBIAN_KEYRING}] ")
        } else {
            String::new()
        };
        let lines = suites
            .iter()
            .map(|suite| format!("deb {signed_by}{archive} {suite} main\n"));
        fs::write(self.folder.join("sources.list"), lines.collect::<String>())?;
        let mut command = self.command("apt-get");
        command.args(["-qq", "update"]).stdin(Stdio::null());
        // A suite that this archive does not have is an error of the whole update, while the
        // lists of the others are there: what can be had is asked afterwards.
        command.status().context("apt-get update")?;
        Ok(())
    }

    /// The versions of a package, newest first.
    fn versions(&self, package: &str) -> Result<Vec<String>> {
        let mut command = self.command("apt-cache");
        let listing = workspace::output("apt-cache", command.args(["madison", package]))?;
        let version = |line: &str| line.split('|').nth(1).map(|field| field.trim().to_owned());
        Ok(listing.lines().filter_map(version).collect())
    }

    fn download(&self, package: &str, version: &str, unpacked: &Path) -> Result<()> {
        let debs = self.folder.join("debs");
        let mut command = self.command("apt-get");
        command
            .args(["-q", "download", &format!("{package}={version}")])
            .current_dir(&debs);
        workspace::run("apt-get download", &mut command)?;
        for entry in fs::read_dir(&debs)? {
            let deb = entry?.path();
            let mut command = self.workspace.program("dpkg-deb");
            workspace::run("dpkg-deb", command.arg("-x").arg(&deb).arg(unpacked))?;
            fs::remove_file(&deb)?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.workspace.program(program);
        for (key, part) in [
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::Etc::SourceParts", "no-parts"),
        ] {
            command.arg("-o").arg(self.option(key, part));
        }
        // As root, apt would download as a user that cannot write here.
        command.args([
            "-o",
            "APT::Sandbox::User=root",
            "-o",
            "Acquire::Languages=none",
        ]);
        command
    }

    fn option(&self, key: &str, part: &str) -> String {
        format!("{key}={}", self.folder.join(part).display())
    }
}

/// The archives of an `apt-get update --print-uris`, in order, security archives left out.
fn archives(update_uris: &str) -> Vec<String> {
    let mut archives = Vec::new();
    for line in update_uris.lines() {
        let Some(uri) = line
            .strip_prefix('\'')
            .and_then(|rest| rest.split('\'').next())
        else {
            continue;
        };
        let Some((archive, index)) = uri.split_once("/dists/") else {
            continue;
        };
        let is_release = index.ends_with("/InRelease") && index.matches('/').count() == 1;
        if is_release
            && !archive.contains("security")
            && !archives.iter().any(|known| known == archive)
        {
            archives.push(archive.to_owned());
        }
    }
    archives
}

/// The Debian version of exactly this Rust, else of the same minor version.
fn best_version(versions: &[String], rust_version: &str) -> Option<String> {
    let minor = rust_version
        .rsplit_once('.')
        .map_or(rust_version, |(minor, _)| minor);
    let of = |wanted: &str| {
        versions.iter().find(|version| {
            version
                .strip_prefix(wanted)
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        })
    };
    of(rust_version).or_else(|| of(minor)).cloned()
}

fn find_library(unpacked: &Path) -> Result<PathBuf> {
    let folder = unpacked.join("usr/src");
    for entry in fs::read_dir(&folder).context("rust-src holds no usr/src")? {
        let library = entry?.path().join("library");
        if library.join("sysroot/Cargo.toml").is_file() {
            return Ok(library);
        }
    }
    bail!("rust-src holds no library/sysroot")
}

fn compile_std(workspace: &Workspace, sources: &Sources, work: &Path) -> Result<()> {
    let mut cargo = workspace.cargo("build");
    // The flags rustc's own bootstrap uses for a std; cargo passes them to this target only.
    cargo
        .current_dir(&sources.library)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "stablestd")
        .env("CARGO_TARGET_DIR", work.join("target"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(
            "RUSTFLAGS",
            format!(
                "-Cembed-bitcode=yes -Zforce-unstable-if-unmarked -Cpanic=abort -L native={}",
                sources.libc.display()
            ),
        )
        .args([
            "--release",
            "--target",
            TARGET,
            "--no-default-features",
            "--manifest-path",
        ])
        .arg(sources.library.join("sysroot/Cargo.toml"));
    workspace::run("building the std", &mut cargo)
}

fn assemble(work: &Path, sources: &Sources, sysroot: &Path) -> Result<()> {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let self_contained = libraries.join("self-contained");
    fs::create_dir_all(&self_contained)?;
    for entry in fs::read_dir(work.join("target").join(TARGET).join("release/deps"))? {
        let path = entry?.path();
        if let (Some(name), Some("rlib")) = (path.file_name(), extension(&path)) {
            fs::copy(&path, libraries.join(name))?;
        }
    }
    for name in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        fs::copy(sources.libc.join(name), self_contained.join(name))
            .with_context(|| format!("wasi-libc has no {name}"))?;
    }
    if !holds_std(&libraries) {
        bail!("the build gave no libstd");
    }
    Ok(())
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Holds the std built here, and nothing else.
const SYSROOT: &str = "target/airside-sysroot";

/// Written last: the `rustc --version` that the std was built for.
const STAMP: &str = "built-for";

/// rustup retries a network that is not there for a long time.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// Where recent versions of both packages are found, the most stable first.
const SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];

const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_come_from_the_release_lines_without_security_and_repetition() {
        let uris = "\
'http://mirror.example/debian/dists/bookworm/InRelease' mirror_bookworm_InRelease 0 \n\
'http://mirror.example/debian/dists/bookworm-updates/InRelease' mirror_updates_InRelease 0 \n\
'http://mirror.example/debian-security/dists/bookworm-security/InRelease' sec 0 \n\
'http://mirror.example/debian/dists/bookworm/main/binary-all/Packages.xz' packages 0 \n\
'https://other.example/apt/dists/stable/InRelease' other_InRelease 0 \n";
        assert_eq!(
            archives(uris),
            ["http://mirror.example/debian", "https://other.example/apt"]
        );
    }

    #[test]
    fn the_exact_version_wins_over_a_newer_one_of_the_same_minor() {
        let versions = ["1.96.0+dfsg1-1", "1.95.1+dfsg1-1", "1.95.0+dfsg1-2~bpo13+1"];
        let versions = versions.map(str::to_owned);
        let best = |version| best_version(&versions, version);
        assert_eq!(best("1.95.0").as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(best("1.95.7").as_deref(), Some("1.95.1+dfsg1-1"));
        assert_eq!(best("1.9.0"), None);
        assert_eq!(best("1.94.0"), None);
    }

    #[test]
    fn where_the_std_comes_from_is_one_of_three_words() {
        assert_eq!("debian".parse::<WasmStd>().unwrap(), WasmStd::Debian);
        assert!("nightly".parse::<WasmStd>().is_err());
    }
}

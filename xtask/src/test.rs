//! `cargo xtask test`: everything that must hold, in one command.

pub(crate) mod packages;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::toolchain::{TARGET, WasmStd};
use crate::workspace::{self, Host, Install, Workspace, on_path, step};
use crate::{build, tidy, up};

/// What `test` can be told.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// The one host of the end-to-end tests; otherwise each that is there.
    pub(crate) host: Option<Host>,
    /// Whether missing things may be installed.
    pub(crate) install: Install,
    /// Where the target's std comes from.
    pub(crate) wasm_std: WasmStd,
}

/// Runs every step until one fails, and says how long each took.
///
/// # Errors
/// Of the step that failed, with its name.
pub(crate) fn run(workspace: &Workspace, settings: Settings) -> Result<()> {
    if settings.host == Some(Host::Spin) && !on_path("spin") {
        bail!("spin: not run (there is no `spin` on PATH)");
    }
    let mut steps = Steps::default();
    let result = all(workspace, settings, &mut steps);
    steps.report();
    match settings.host {
        Some(host) => println!("end-to-end on {} only, as asked", host.name()),
        None if !on_path("spin") => println!("spin: not run (there is no `spin` on PATH)"),
        None => {}
    }
    result
}

fn all(workspace: &Workspace, settings: Settings, steps: &mut Steps) -> Result<()> {
    steps.run("format", || format(workspace))?;
    steps.run("tidy", || tidy::run(workspace))?;
    let mut std = None;
    steps.run("wasm files", || {
        let provided = settings.wasm_std.provide(workspace, settings.install)?;
        // First, because the files of the usual build stay where they are made.
        build::rsa_signing(workspace, &provided)?;
        let mut names = build::COMPONENTS.map(str::to_owned).to_vec();
        names.push("guests".to_owned());
        build::run(workspace, settings.wasm_std, settings.install, &names)?;
        std = Some(provided);
        Ok(())
    })?;
    steps.run("unit tests", || {
        let mut cargo = workspace.cargo("test");
        cargo.args(["--package", "airside", "--package", "xtask"]);
        workspace::run("unit tests", &mut cargo)
    })?;
    // The profile of `up`, so that its dependencies are built once.
    steps.run("demo and devhost conformance", || {
        let mut cargo = workspace.cargo("test");
        cargo.args(["--profile", "native"]);
        cargo.args(["--package", "airside-demo", "--package", "airside-devhost"]);
        workspace::run("the tests of demo and devhost", &mut cargo)
    })?;
    steps.run("native tools", || {
        up::native_tools(workspace, Host::Devhost)
    })?;
    steps.run("browser and node", || {
        packages::provide(workspace, settings.install)
    })?;
    steps.run("npm packages", || {
        packages::npm(workspace, settings.install)
    })?;
    let hosts = match settings.host {
        Some(host) => vec![host],
        None if on_path("spin") => vec![Host::Devhost, Host::Spin],
        None => vec![Host::Devhost],
    };
    for host in hosts {
        let name = match host {
            Host::Devhost => "end-to-end on devhost",
            Host::Spin => "end-to-end on spin",
        };
        steps.run(name, || end_to_end(workspace, host))?;
    }
    // Last, because it compiles everything once more and finds the least.
    steps.run("lints", || {
        lints(workspace, std.as_ref().context("no std")?)
    })
}

fn format(workspace: &Workspace) -> Result<()> {
    if !has_subcommand(workspace, "fmt") {
        println!("format: not run (rustfmt is not installed)");
        return Ok(());
    }
    let mut cargo = workspace.cargo("fmt");
    workspace::run("cargo fmt --check", cargo.args(["--all", "--check"]))
}

fn lints(workspace: &Workspace, std: &crate::toolchain::Std) -> Result<()> {
    if !has_subcommand(workspace, "clippy") {
        println!("lints: not run (clippy is not installed)");
        return Ok(());
    }
    let mut native = workspace.cargo("clippy");
    native.args([
        "--all-targets",
        "--package",
        "airside",
        "--package",
        "airside-demo",
    ]);
    native.args(["--package", "airside-devhost", "--package", "xtask"]);
    workspace::run("clippy", native.args(["--", "--deny", "warnings"]))?;
    let mut wasm = workspace.cargo("clippy");
    wasm.args(["--target", TARGET, "--package", "airside-spin-ports"]);
    for component in build::COMPONENTS {
        wasm.args(["--package", &format!("airside-{component}")]);
    }
    std.apply(&mut wasm);
    workspace::run(
        "clippy of the components",
        wasm.args(["--", "--deny", "warnings"]),
    )
}

fn has_subcommand(workspace: &Workspace, name: &str) -> bool {
    let mut cargo = workspace.cargo(name);
    cargo
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn end_to_end(workspace: &Workspace, host: Host) -> Result<()> {
    let scenarios = scenarios(workspace)?;
    let mut node = workspace.program("node");
    node.current_dir(workspace.path(packages::FOLDER))
        .arg("--test")
        // A test that waits for ever fails; the longest takes about a minute.
        .arg("--test-timeout=600000")
        .args(&scenarios);
    node.env("AIRSIDE_DEVHOST", up::devhost_binary(workspace));
    node.env("AIRSIDE_DEMO", up::demo_binary(workspace));
    node.env(
        "AIRSIDE_WASM_DIR",
        workspace.path("target").join(TARGET).join("release"),
    );
    node.env("AIRSIDE_HOST", host.name());
    workspace::run(
        &format!("the end-to-end tests on {}", host.name()),
        &mut node,
    )
}

/// The files of scenarios; none would be a test that cannot fail.
fn scenarios(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.path(packages::FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .to_str()
            .is_some_and(|path| path.ends_with(".test.mjs"))
        {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("no *.test.mjs in {}", folder.display());
    }
    files.sort();
    Ok(files)
}

/// The steps so far and how they went.
#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, Duration, bool)>,
}

impl Steps {
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!();
        step(name);
        let started = Instant::now();
        let result = work();
        self.done.push((name, started.elapsed(), result.is_ok()));
        result.with_context(|| format!("test: the step \"{name}\" failed"))
    }

    fn report(&self) {
        println!();
        for (name, duration, passed) in &self.done {
            let verdict = if *passed { "ok" } else { "FAILED" };
            println!("{:>8.1} s  {verdict:<6}  {name}", duration.as_secs_f32());
        }
        let total: Duration = self.done.iter().map(|(_, duration, _)| *duration).sum();
        println!("{:>8.1} s  altogether", total.as_secs_f32());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_is_named_and_its_error_kept() {
        let mut steps = Steps::default();
        steps.run("one", || Ok(())).unwrap();
        let error = steps.run("two", || bail!("why")).unwrap_err();
        assert_eq!(format!("{error:#}"), "test: the step \"two\" failed: why");
        let passed: Vec<_> = steps
            .done
            .iter()
            .map(|(name, _, passed)| (*name, *passed))
            .collect();
        assert_eq!(passed, [("one", true), ("two", false)]);
    }
}

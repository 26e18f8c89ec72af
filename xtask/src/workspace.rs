//! Where the workspace is, and running programs in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// The checkout this command works on.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace cargo runs this binary for, or the one around the current directory.
    pub(crate) fn find() -> Result<Self> {
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let start = match manifest_dir {
            Some(dir) => dir,
            None => std::env::current_dir().context("no current directory")?,
        };
        match start
            .ancestors()
            .find(|dir| dir.join("spin.toml").is_file())
        {
            Some(root) => Ok(Self {
                root: root.to_owned(),
            }),
            None => bail!("run this inside the airside checkout (no spin.toml found)"),
        }
    }

    /// The folder of `spin.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder below the root.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// `cargo`, building into `target/`: spin.toml names the wasm files there, so a target
    /// folder configured elsewhere on this machine must not win.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.program(cargo);
        command
            .arg(subcommand)
            .env("CARGO_TARGET_DIR", self.path("target"));
        command
    }

    /// Any other program, started at the root and without what `cargo run` set for this one.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env_remove("CARGO_MANIFEST_DIR");
        command
    }
}

/// What serves the wasm files.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// The runner in this repository.
    #[default]
    Devhost,
    /// The `spin` binary.
    Spin,
}

impl Host {
    /// The word for it on command lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Devhost => "devhost",
            Self::Spin => "spin",
        }
    }
}

impl FromStr for Host {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "devhost" => Ok(Self::Devhost),
            "spin" => Ok(Self::Spin),
            other => bail!("`{other}` is none of devhost, spin"),
        }
    }
}

/// Whether a command may download and install what is missing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Install {
    /// It may.
    #[default]
    Allowed,
    /// It says what is missing and fails.
    Forbidden,
}

/// Runs to the end with the screen attached.
///
/// # Errors
/// When it cannot be started or does not end with success; `what` names it to people.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}

/// Runs to the end and returns its standard output; its standard error goes to the screen.
///
/// # Errors
/// As [`run`], and when the output is not UTF-8.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("{what} failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what} printed no UTF-8"))
}

/// Whether a program of this name is on PATH.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// One line of progress.
pub(crate) fn step(text: &str) {
    println!("==> {text}");
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().to_string_lossy())
}

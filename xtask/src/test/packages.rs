//! What the end-to-end tests need from outside: Node, a browser, Redis and npm packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::{self, Install, Workspace, on_path, step};

/// Where the end-to-end tests are.
pub(crate) const FOLDER: &str = "tests/e2e";

/// Makes Node, Chromium and Redis available.
///
/// # Errors
/// When one is missing and must not or cannot be installed, with the command that would.
pub(crate) fn provide(workspace: &Workspace, install: Install) -> Result<()> {
    let missing = missing(&on_path);
    if missing.is_empty() {
        println!("all there");
    }
    apt(workspace, install, &missing)
}

/// Installs Debian packages.
///
/// # Errors
/// When there are any, and they must not or cannot be installed, with the command that would.
pub(crate) fn apt(workspace: &Workspace, install: Install, missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let by_hand = format!("apt-get install {packages}");
    if install == Install::Forbidden {
        bail!("missing: {packages}; this would install it: {by_hand}");
    }
    if !on_path("apt-get") {
        bail!("missing, and there is no apt-get to install it: {packages}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("missing: {packages}; please run: sudo {by_hand}");
    }
    step(&format!("Installing {packages} by apt-get"));
    let mut update = workspace.program("apt-get");
    workspace::run("apt-get update", update.args(["-q", "update"]))?;
    let mut apt = workspace.program("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt.args(["-q", "-y", "--no-install-recommends", "install"])
        .args(missing);
    workspace::run("apt-get install", &mut apt)
}

/// Installs the npm packages of each lock file, once per version of that file.
///
/// # Errors
/// When they are not there and must not or cannot be installed.
pub(crate) fn npm(workspace: &Workspace, install: Install) -> Result<()> {
    for folder in npm_folders(&workspace.path(FOLDER))? {
        npm_ci(workspace, install, &folder)?;
    }
    Ok(())
}

/// Installs the npm packages of the lock file in `folder`, once per version of that file.
///
/// # Errors
/// When they are not there and must not or cannot be installed.
pub(crate) fn npm_ci(workspace: &Workspace, install: Install, folder: &Path) -> Result<()> {
    let name = folder
        .strip_prefix(workspace.root())
        .unwrap_or(folder)
        .display();
    let lock = folder.join("package-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let stamp = folder.join("node_modules/.installed-for");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("{name}: all there");
        return Ok(());
    }
    if install == Install::Forbidden {
        bail!("npm packages are missing; this would install them: npm ci --prefix {name}");
    }
    step(&format!("npm ci in {name}"));
    let mut npm = workspace.program("npm");
    npm.current_dir(folder)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    workspace::run("npm ci", &mut npm)?;
    fs::write(&stamp, &wanted).context("after npm ci")?;
    Ok(())
}

/// The folder itself and those in it, as far as they have a lock file.
fn npm_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        folders.push(entry?.path());
    }
    folders.retain(|folder| folder.join("package-lock.json").is_file());
    folders.sort();
    Ok(folders)
}

/// The Debian packages whose programs are not there.
fn missing(has: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    PROGRAMS
        .iter()
        .filter(|(program, _)| !has(program) && !Path::new("/usr/bin").join(program).is_file())
        .map(|(_, package)| *package)
        .collect()
}

const PROGRAMS: [(&str, &str); 6] = [
    ("node", "nodejs"),
    ("npm", "npm"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("redis-server", "redis-server"),
    ("sqlite3", "sqlite3"),
];

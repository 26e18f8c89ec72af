//! What the compiler is told for the wasm files.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::Std;

impl Std {
    /// Lets a cargo command build with it.
    pub(crate) fn apply(&self, cargo: &mut Command) {
        let mut flags = OsString::new();
        if let Self::Sysroot(sysroot) = self {
            flags.push("--sysroot=");
            flags.push(sysroot);
        }
        // Where this machine keeps the crates' sources is in no file.
        for folder in sources() {
            if !flags.is_empty() {
                flags.push("\x1f");
            }
            flags.push("--remap-path-prefix=");
            flags.push(folder);
            flags.push("=crates");
        }
        // The one variable that wins over all others.
        if !flags.is_empty() {
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
        }
    }
}

/// The folders that cargo unpacks the sources of crates in.
fn sources() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    registries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

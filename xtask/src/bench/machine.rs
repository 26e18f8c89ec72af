//! What the numbers were measured on, and with.

use std::fs;

use crate::bench::peers::Peer;
use crate::workspace::{self, Host, Workspace};

/// Lines about the machine, the versions and the command.
pub(crate) fn about(workspace: &Workspace, host: Host, peers: &[Peer]) -> String {
    let says = |program: &str, arguments: &[&str]| {
        let mut command = workspace.program(program);
        let said = workspace::output(program, command.args(arguments));
        said.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
    };
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let host = match host {
        Host::Devhost => format!(
            "devhost {} on wasmtime {}",
            env!("CARGO_PKG_VERSION"),
            locked(
                &read(&workspace.path("Cargo.lock").to_string_lossy()),
                "wasmtime"
            )
        ),
        Host::Spin => says("spin", &["--version"]),
    };
    let commit = says("git", &["describe", "--always", "--dirty", "--abbrev=10"]);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut text = format!(
        "machine: {model}, {cores} cores, Linux {}\n\
         versions: airside {commit}, {host}, {}\n",
        kernel.trim(),
        says("rustc", &["--version"]),
    );
    for peer in peers.iter().filter(|peer| peer.place.is_ok()) {
        text += &format!("          {}: {}\n", peer.name, peer.version);
    }
    text + &format!("command: cargo xtask {}\n", arguments.join(" "))
}

/// The version of a package in Cargo.lock.
fn locked(lock: &str, package: &str) -> String {
    let found = lock.split_once(&format!("name = \"{package}\"\nversion = \""));
    let version = found.and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("unknown", |(version, _)| version).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_package() {
        let lock = "name = \"wasmtime-wasi\"\nversion = \"1.0.0\"\n\nname = \"wasmtime\"\n\
                    version = \"48.0.1\"\n";
        assert_eq!(locked(lock, "wasmtime"), "48.0.1");
        assert_eq!(locked(lock, "spin"), "unknown");
    }
}

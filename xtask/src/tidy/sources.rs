//! Rules about single files.

use crate::tidy::File;

/// What one file breaks.
pub(crate) fn findings(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    let mut say = |text: String| findings.push(format!("{}: {text}", file.path));
    if file.path.ends_with(".rs") {
        // `x/tests.rs` needs no page: it tests `x`.
        if !file.text.starts_with("//!") && !file.path.ends_with("/tests.rs") {
            say("the first line is no module documentation (`//!`)".to_owned());
        }
        let lines = file.without_tests().lines().count();
        if !file.is_test() && lines > FILE_BUDGET {
            say(format!(
                "{lines} lines without tests, above {FILE_BUDGET}: split it"
            ));
        }
    }
    if names_spin(file) {
        say("only components/spin-ports and devhost/guests name Spin's SDK".to_owned());
    }
    // The lock file names the registry of each package, and must.
    if file.path != "Cargo.lock" {
        for host in REGISTRY_HOSTS {
            if file.text.contains(host) {
                say(format!("names the registry host {host}"));
            }
        }
    }
    for (index, line) in file.text.lines().enumerate() {
        if names_folder(line, MACHINE_FOLDER) {
            say(format!("line {} names a folder of one machine", index + 1));
        }
    }
    findings
}

fn names_spin(file: &File) -> bool {
    let allowed = ["components/spin-ports/", "devhost/guests/"];
    if allowed.iter().any(|folder| file.path.starts_with(folder)) {
        return false;
    }
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    if file.path.ends_with(".rs") {
        return file
            .text
            .lines()
            .any(|line| SPIN_CRATES.iter().any(|name| code(line).contains(name)));
    }
    // The workspace's table gives the version; members that use it are judged.
    file.path.ends_with("/Cargo.toml")
        && file
            .text
            .lines()
            .any(|line| line.trim_start().starts_with(SPIN_PACKAGE))
}

/// Whether the folder is named as an absolute path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line
            .get(at + folder.len()..)
            .and_then(|text| text.chars().next());
        let part_of_more = |c: char| c.is_alphanumeric() || "._-/}$".contains(c);
        !before.is_some_and(part_of_more)
            && !after.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c))
    })
}

const FILE_BUDGET: usize = 500;

// Put together, so that this file does not break its own rules.
const MACHINE_FOLDER: &str = concat!("/", "work");
const SPIN_CRATES: [&str; 2] = [concat!("spin", "_sdk::"), concat!("wasi", "p3::")];
const SPIN_PACKAGE: &str = "spin-sdk";
const REGISTRY_HOSTS: [&str; 5] = [
    concat!("deb.", "debian.org"),
    concat!("index.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("static.", "crates.io"),
    concat!("static.", "rust-lang.org"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: usize) {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let findings = findings(&file);
        assert_eq!(findings.len(), expected, "{findings:?}");
    }

    #[test]
    fn a_source_starts_with_its_page() {
        check("src/a.rs", "//! A.\n", 0);
        check("src/a.rs", "use b;\n", 1);
        check("src/a/tests.rs", "use b;\n", 0);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        check("src/a.rs", &format!("//! A.\n{}", "x\n".repeat(499)), 0);
        check("src/a.rs", &format!("//! A.\n{}", "x\n".repeat(500)), 1);
        let tests = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}", "x\n".repeat(900));
        check("src/a.rs", &tests, 0);
        check(
            "tests/it/a.rs",
            &format!("//! A.\n{}", "x\n".repeat(900)),
            0,
        );
    }

    #[test]
    fn spin_is_named_in_one_place() {
        let line = format!("//! A.\nuse {}http;\n", SPIN_CRATES[0]);
        check("components/spin-ports/src/lib.rs", &line, 0);
        check("components/login/src/lib.rs", &line, 1);
        check(
            "components/login/src/lib.rs",
            &format!("//! A.\n// {line}").replace("\nuse", " "),
            0,
        );
        check(
            "components/login/Cargo.toml",
            "spin-sdk.workspace = true\n",
            1,
        );
        check("Cargo.toml", "spin-sdk = { version = \"7\" }\n", 0);
    }

    #[test]
    fn folders_and_hosts_of_one_machine_are_found() {
        check("a.md", &format!("see {MACHINE_FOLDER}/main"), 1);
        check("a.md", &format!("see \"{MACHINE_FOLDER}\""), 1);
        check(
            "a.md",
            &format!("see {MACHINE_FOLDER}space and net{MACHINE_FOLDER}/x"),
            0,
        );
        check("a.md", REGISTRY_HOSTS[0], 1);
        check("Cargo.lock", REGISTRY_HOSTS[1], 0);
    }
}

//! `cargo xtask tidy`: the rules about the sources that no compiler checks.

mod layers;
mod seeds;
mod sources;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::build::COMPONENTS;
use crate::toolchain::TARGET;
use crate::workspace::{self, Workspace};

/// Checks every rule.
///
/// # Errors
/// With everything that breaks one, after printing it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let findings = findings(workspace)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: nothing to say"),
        count => bail!("tidy: {count} findings"),
    }
    Ok(())
}

fn findings(workspace: &Workspace) -> Result<Vec<String>> {
    let files = text_files(workspace)?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(sources::findings(file));
        findings.extend(layers::findings(file));
    }
    findings.extend(seeds::findings(&files));
    findings.extend(undocumented_codes(&files));
    findings.extend(second_stacks(&component_graph(workspace)?));
    Ok(findings)
}

/// A file of the repository: path from the root, with `/`, and text.
pub(crate) struct File {
    path: String,
    text: String,
}

/// What git tracks, and what is new and not ignored; files that are no text are left out.
fn text_files(workspace: &Workspace) -> Result<Vec<File>> {
    let mut git = workspace.program("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listing = workspace::output("git ls-files", &mut git)?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // A file that is deleted but not yet committed is listed and not there.
        if let Ok(text) = fs::read_to_string(workspace.path(path)) {
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}

/// The codes of refusals that docs/errors.md does not list, where that page exists.
fn undocumented_codes(files: &[File]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == "docs/errors.md") else {
        return Vec::new();
    };
    let documented: BTreeSet<&str> = page.text.split('`').skip(1).step_by(2).collect();
    let sources = files.iter().filter(|file| {
        file.path.starts_with("src/") && file.path.ends_with(".rs") && !file.is_test()
    });
    let codes: BTreeSet<&str> = sources
        .flat_map(|file| codes(file.without_tests()))
        .collect();
    codes
        .difference(&documented)
        .map(|code| format!("docs/errors.md: the code `{code}` is missing"))
        .collect()
}

/// The string literals in the bodies of `fn code` and `fn x_code`: each is a stable code.
fn codes(source: &str) -> Vec<&str> {
    let mut codes = Vec::new();
    let mut inside = None;
    for line in source.lines() {
        let indent = line.len() - line.trim_start().len();
        if line.contains("fn code(") || line.contains("_code(") && line.contains("fn ") {
            inside = Some(indent);
        } else if inside == Some(indent) && line.trim_end() == format!("{:indent$}}}", "") {
            inside = None;
        } else if inside.is_some() {
            let literals = line.split('"').skip(1).step_by(2);
            codes.extend(literals.filter(|literal| is_code(literal)));
        }
    }
    codes
}

fn is_code(literal: &str) -> bool {
    literal
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && literal.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The names of the crates that end up in the wasm files.
fn component_graph(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let mut cargo = workspace.cargo("tree");
    cargo.args([
        "--quiet", "--locked", "--target", TARGET, "--edges", "normal",
    ]);
    cargo.args(["--prefix", "none", "--format", "{p}"]);
    for component in COMPONENTS {
        cargo.args(["--package", &format!("airside-{component}")]);
    }
    let tree = workspace::output("cargo tree", &mut cargo).context("the components' graph")?;
    Ok(tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

/// The platform does TLS and jwt-simple does JOSE; a second of either is a second place to
/// get it wrong, and pays in size.
fn second_stacks(graph: &BTreeSet<String>) -> Vec<String> {
    SECOND_STACKS
        .iter()
        .filter(|&&name| graph.contains(name))
        .map(|name| format!("Cargo.lock: the components' graph contains `{name}`"))
        .collect()
}

const SECOND_STACKS: [&str; 17] = [
    "aws-lc-rs",
    "biscuit",
    "boring",
    "frank_jwt",
    "jose-jws",
    "josekit",
    "jsonwebtoken",
    "jwt",
    "jwt-compact",
    "mbedtls",
    "native-tls",
    "openidconnect",
    "openssl",
    "openssl-sys",
    "ring",
    "rustls",
    "schannel",
];

impl File {
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs")
            || self.path.starts_with("tests/")
            || self.path.contains("/tests/")
    }

    /// The tests of a Rust source, if it has any.
    fn tests(&self) -> Option<&str> {
        if self.is_test() {
            return Some(&self.text);
        }
        let tests = self.text.get(self.without_tests().len()..)?;
        (!tests.is_empty()).then_some(tests)
    }

    /// A Rust source up to its module of tests.
    fn without_tests(&self) -> &str {
        let end = self
            .text
            .match_indices("#[cfg(test)]\n")
            .find(|(at, attribute)| {
                self.text.get(at + attribute.len()..).is_some_and(|rest| {
                    ["mod ", "pub(crate) mod ", "pub(super) mod "]
                        .iter()
                        .any(|words| rest.starts_with(words))
                })
            })
            .map_or(self.text.len(), |(at, _)| at);
        self.text.get(..end).unwrap_or(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_tidy() {
        let workspace = Workspace::find().unwrap();
        assert_eq!(findings(&workspace).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_code_without_a_line_in_the_docs_is_found() {
        let source = "impl E {\n    fn code(self) -> &'static str {\n        match self {\n            \
                      Self::A => \"a_code\",\n            Self::B => \"b_code\",\n        }\n    }\n    \
                      fn other() { \"c_code\" }\n}\n";
        assert_eq!(codes(source), ["a_code", "b_code"]);
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = |docs| [file("src/error.rs", source), file("docs/errors.md", docs)];
        assert_eq!(
            undocumented_codes(&files("`a_code` and `b_code`")),
            Vec::<String>::new()
        );
        assert_eq!(undocumented_codes(&files("`a_code` only")).len(), 1);
    }

    #[test]
    fn a_second_stack_is_found() {
        let graph = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(second_stacks(&graph(&["jwt-simple", "rustls"])).len(), 1);
        assert!(second_stacks(&graph(&["jwt-simple", "serde"])).is_empty());
    }
}

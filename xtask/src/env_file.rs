//! `.env` at the root: the secrets of this machine, as Spin reads them.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// The file's lines. Holds secrets: no `Debug`.
pub(crate) struct EnvFile {
    path: PathBuf,
    text: String,
}

impl EnvFile {
    /// Reads the file; a missing one is empty.
    pub(crate) fn open(workspace: &Workspace) -> Result<Self> {
        let path = workspace.path(".env");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self {
                path,
                text: String::new(),
            }),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// The value of `name`, unless it is absent or empty.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .find_map(|line| value_of(line, name))
            .filter(|value| !value.is_empty())
    }

    /// All names and values.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(|line| {
            let (name, _) = line.trim_start().split_once('=')?;
            let name = name.trim_end();
            let is_name = !name.is_empty() && !name.starts_with('#');
            is_name.then(|| value_of(line, name).map(|value| (name, value)))?
        })
    }

    /// Replaces the line of `name` or adds one.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let line = format!("{name}={value}");
        let mut replaced = false;
        let mut lines: Vec<&str> = Vec::new();
        for old in self.text.lines() {
            if value_of(old, name).is_none() {
                lines.push(old);
            } else if !replaced {
                lines.push(&line);
                replaced = true;
            }
        }
        if !replaced {
            lines.push(&line);
        }
        self.text = lines.join("\n") + "\n";
    }

    /// Writes the file so that only its owner can read it, whatever it was before.
    pub(crate) fn save(&self) -> Result<()> {
        let context = || format!("writing {}", self.path.display());
        let temporary = self.path.with_file_name(".env.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .with_context(context)?;
        // `mode` counts only for a file that was not there.
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .with_context(context)?;
        file.write_all(self.text.as_bytes()).with_context(context)?;
        file.sync_all().with_context(context)?;
        fs::rename(&temporary, &self.path).with_context(context)
    }
}

fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line
        .trim_start()
        .strip_prefix(name)?
        .trim_start()
        .strip_prefix('=')?
        .trim();
    let quoted = ['"', '\''].iter().find_map(|quote| {
        rest.strip_prefix(*quote)
            .and_then(|rest| rest.strip_suffix(*quote))
    });
    Some(quoted.unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> EnvFile {
        EnvFile {
            path: PathBuf::new(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_value_is_found_quoted_or_not_and_an_empty_one_is_not() {
        let file = file("# A=no\nA_B=1\nA=2\nC=\"3\"\nD=\n");
        assert_eq!(file.value("A"), Some("2"));
        assert_eq!(file.value("C"), Some("3"));
        assert_eq!(file.value("D"), None);
        assert_eq!(file.value("E"), None);
        let entries: Vec<_> = file.entries().collect();
        assert_eq!(entries, [("A_B", "1"), ("A", "2"), ("C", "3"), ("D", "")]);
    }

    #[test]
    fn setting_replaces_in_place_and_keeps_every_other_line() {
        let mut file = file("# mine\nA=1\nB=2\nA=3");
        file.set("A", "x=y");
        assert_eq!(file.text, "# mine\nA=x=y\nB=2\n");
        file.set("C", "z");
        assert_eq!(file.text, "# mine\nA=x=y\nB=2\nC=z\n");
    }

    #[test]
    fn a_saved_file_is_readable_by_its_owner_only() {
        let path = std::env::temp_dir().join(format!("airside-env-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let file = EnvFile {
            path: path.join(".env"),
            text: "A=1\n".to_owned(),
        };
        fs::write(&file.path, "A=0\n").unwrap();
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).unwrap();
        file.save().unwrap();
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "A=1\n");
        assert_eq!(
            fs::metadata(&file.path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::remove_dir_all(&path).unwrap();
    }
}

//! The library's layers: a module imports only from lower ones.

use crate::tidy::File;

/// What a library source imports that it must not.
pub(crate) fn findings(file: &File) -> Vec<String> {
    let Some(module) = top_module(&file.path) else {
        return Vec::new();
    };
    if file.is_test() {
        return Vec::new();
    }
    let Some(own) = layer(module) else {
        return vec![format!(
            "{}: `{module}` has no layer in the table of tidy",
            file.path
        )];
    };
    let mut findings = Vec::new();
    for (index, line) in file.without_tests().lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, prefix) in code.match_indices("crate::") {
            let rest = code.get(at + prefix.len()..).unwrap_or_default();
            for imported in imported(rest) {
                let allowed = imported == module
                    || layer(imported).is_none_or(|layer| layer < own)
                    || NOTED.contains(&(module, imported));
                if !allowed {
                    findings.push(format!(
                        "{}:{}: `{module}` imports from `{imported}`, which is not below it",
                        file.path,
                        index + 1
                    ));
                }
            }
        }
    }
    findings
}

/// The modules that a path after `crate::` starts with; a brace holds several.
fn imported(rest: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let name = |text: &'_ str| text.len() - text.trim_start_matches(is_name).len();
    match rest.strip_prefix('{') {
        Some(group) => {
            let mut depth = 0;
            let items = group.split(move |c: char| {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                c == ',' && depth == 0
            });
            items
                .map(str::trim)
                .filter_map(|item| item.get(..name(item)))
                .collect()
        }
        None => rest.get(..name(rest)).into_iter().collect(),
    }
}

fn top_module(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("src/")?;
    let module = rest.split(['/', '.']).next()?;
    (rest.ends_with(".rs") && module != "lib").then_some(module)
}

fn layer(module: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(_, modules)| modules.contains(&module))
        .map(|(layer, _)| *layer)
}

const LAYERS: [(u8, &[&str]); 10] = [
    (0, &["secret", "time", "encoding", "url"]),
    (1, &["ports"]),
    (2, &["jose"]),
    (3, &["oauth", "session"]),
    (4, &["oidc", "policy"]),
    (5, &["config"]),
    (6, &["error"]),
    (7, &["respond"]),
    (8, &["endpoint"]),
    (9, &["testing"]),
];

/// Imports within a layer.
const NOTED: [(&str, &str); 0] = [];

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
    fn a_module_imports_from_lower_layers_only() {
        check(
            "src/oidc/id_token.rs",
            "use crate::jose::jws;\nuse crate::oidc::x;\n",
            0,
        );
        check("src/jose/jws.rs", "use crate::oidc::id_token;\n", 1);
        check("src/oauth/token.rs", "use crate::session::seal;\n", 1);
        check(
            "src/oauth.rs",
            "use crate::{jose::jws, secret::{Secret, x}, policy};\n",
            1,
        );
        check("src/oauth.rs", "fn f() -> crate::endpoint::X {}\n", 1);
    }

    #[test]
    fn comments_tests_and_the_root_may_name_anything() {
        check("src/jose.rs", "//! [`crate::oidc`]\n/// crate::oidc\n", 0);
        check(
            "src/jose.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::oidc;\n}\n",
            0,
        );
        check("src/jose/tests.rs", "use crate::oidc;\n", 0);
        check("src/lib.rs", "pub use crate::endpoint;\n", 0);
        check("demo/src/x.rs", "use crate::endpoint;\n", 0);
    }

    #[test]
    fn a_new_module_needs_a_layer() {
        check("src/clever.rs", "", 1);
    }
}

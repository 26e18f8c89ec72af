//! `docs/seeds.md`: each rule of the documents that the project comes from, with the code that
//! keeps it and the test that would notice.
//!
//! A row is `| id | rule | code | tests |`. Files that a row names must be there, and so must its
//! tests: as a function of a Rust test or as the title of an end-to-end test.

use super::File;

const PAGE: &str = "docs/seeds.md";

pub(crate) fn findings(files: &[File]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE} is missing")];
    };
    let rows: Vec<Vec<&str>> = page.text.lines().filter_map(row).collect();
    let mut findings = Vec::new();
    let mut last: Option<(char, usize)> = None;
    for row in &rows {
        let [id, rule, code, tests] = row.as_slice() else {
            findings.push(format!(
                "{PAGE}: expected four columns: {}",
                row.join(" | ")
            ));
            continue;
        };
        match number(id) {
            Some((document, n)) if n == next(last, document) => last = Some((document, n)),
            _ => findings.push(format!("{PAGE}: {id}: expected the next number")),
        }
        if rule.is_empty() {
            findings.push(format!("{PAGE}: {id}: no rule"));
        }
        let named = quoted(code);
        if named.is_empty() {
            findings.push(format!("{PAGE}: {id}: names no code"));
        }
        for path in named {
            if !files.iter().any(|file| file.path == path) {
                findings.push(format!("{PAGE}: {id}: no file {path}"));
            }
        }
        let named = quoted(tests);
        if named.is_empty() {
            findings.push(format!("{PAGE}: {id}: names no test"));
        }
        for test in named {
            if !files.iter().any(|file| has_test(file, test)) {
                findings.push(format!("{PAGE}: {id}: no test {test}"));
            }
        }
    }
    if rows.is_empty() {
        findings.push(format!("{PAGE}: no rule at all"));
    }
    findings
}

/// The cells of a table row that begins with an id such as `G12`.
fn row(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    number(cells.first()?).map(|_| cells)
}

/// A letter for the document and the number of the rule in it.
fn number(id: &str) -> Option<(char, usize)> {
    let document = id.chars().next().filter(char::is_ascii_uppercase)?;
    Some((document, id.get(1..)?.parse().ok()?))
}

fn next(last: Option<(char, usize)>, document: char) -> usize {
    match last {
        Some((before, n)) if before == document => n + 1,
        _ => 1,
    }
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn has_test(file: &File, test: &str) -> bool {
    if file.path.ends_with(".test.mjs") {
        ["'", "`", "\""]
            .iter()
            .any(|quote| file.text.contains(&format!("test({quote}{test}")))
    } else {
        file.path.ends_with(".rs")
            && file
                .tests()
                .is_some_and(|text| text.contains(&format!("fn {test}(")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[track_caller]
    fn check(rows: &str, expected: &[&str]) {
        let files = [
            file(PAGE, rows),
            file(
                "src/a.rs",
                "#[cfg(test)]\nmod tests {\n    fn it_holds() {}\n}\n",
            ),
            file(
                "tests/e2e/a.test.mjs",
                "test('it holds, too', async () => {});\n",
            ),
        ];
        let expected: Vec<String> = expected.iter().map(|f| format!("{PAGE}: {f}")).collect();
        assert_eq!(findings(&files), expected);
    }

    #[test]
    fn a_row_names_code_and_tests_that_are_there() {
        let good = "| G1 | x | `src/a.rs` | `it_holds`, `it holds, too` |\n| T1 | y | `src/a.rs` | `it_holds` |";
        check(good, &[]);
        check(
            "| G1 | x | `src/b.rs` | `it_holds` |",
            &["G1: no file src/b.rs"],
        );
        check(
            "| G1 | x | `src/a.rs` | `it_fails` |",
            &["G1: no test it_fails"],
        );
        check("| G1 | x | here | `it_holds` |", &["G1: names no code"]);
        check("| G1 | x | `src/a.rs` | there |", &["G1: names no test"]);
        check(
            "| G2 | x | `src/a.rs` | `it_holds` |",
            &["G2: expected the next number"],
        );
        check(
            "| G1 | x | `src/a.rs` |",
            &["expected four columns: G1 | x | `src/a.rs`"],
        );
        check("words", &["no rule at all"]);
    }
}

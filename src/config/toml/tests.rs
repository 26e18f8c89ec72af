//! Held to the `toml` crate: it accepts the same texts and reads the same values.

use ::toml::de::{DeTable, DeValue};

use super::*;
use crate::testing::SeededRandom;

/// The values of a text in one notation; whether any is of a kind that is not read further.
#[derive(Debug, Default, PartialEq)]
struct Tree(Vec<String>);

impl Tree {
    fn ours(&mut self, path: &str, value: &Value<'_>, other: &mut bool) {
        match value {
            Value::Boolean(value) => self.0.push(format!("{path}={value}")),
            Value::Integer(value) => self.0.push(format!("{path}={value}")),
            Value::String(value) => self.0.push(format!("{path}={value:?}")),
            Value::Other => *other = true,
            Value::Array(items) | Value::Tables(items) => {
                self.0.push(format!("{path}=[{}]", items.len()));
                for (index, item) in items.iter().enumerate() {
                    self.ours(&format!("{path}[{index}]"), &item.value, other);
                }
            }
            Value::Table(table) => {
                self.0.push(format!("{path}={{}}"));
                for (key, value) in table.iter() {
                    self.ours(&format!("{path}.{:?}", key.value), &value.value, other);
                }
            }
        }
    }

    fn theirs(&mut self, path: &str, value: &DeValue<'_>, no_number: &mut bool) {
        match value {
            DeValue::Boolean(value) => self.0.push(format!("{path}={value}")),
            DeValue::Integer(value) => {
                let number = i64::from_str_radix(value.as_str(), value.radix());
                match number {
                    Ok(number) => self.0.push(format!("{path}={number}")),
                    Err(_) => *no_number = true,
                }
            }
            DeValue::String(value) => self.0.push(format!("{path}={value:?}")),
            DeValue::Float(_) | DeValue::Datetime(_) => {}
            DeValue::Array(items) => {
                self.0.push(format!("{path}=[{}]", items.len()));
                for (index, item) in items.iter().enumerate() {
                    self.theirs(&format!("{path}[{index}]"), item.get_ref(), no_number);
                }
            }
            DeValue::Table(table) => self.their_table(path, table, no_number),
        }
    }

    fn their_table(&mut self, path: &str, table: &DeTable<'_>, no_number: &mut bool) {
        self.0.push(format!("{path}={{}}"));
        for (key, value) in table {
            self.theirs(
                &format!("{path}.{:?}", key.get_ref()),
                value.get_ref(),
                no_number,
            );
        }
    }
}

/// What we make of `text`, and whether it has values that are only recognised.
fn ours(text: &str) -> (Result<Tree, (usize, &'static str)>, bool) {
    let (mut first, mut other) = (None, false);
    let table = parse(text, |at, message| {
        first.get_or_insert((at, message));
    });
    let mut tree = Tree::default();
    tree.ours("", &Value::Table(table), &mut other);
    (first.map_or(Ok(tree), Err), other)
}

fn theirs(text: &str) -> Option<Tree> {
    let table = DeTable::parse(text).ok()?;
    let (mut tree, mut no_number) = (Tree::default(), false);
    // It takes some for a number that are none, and leaves the judgement to who reads it.
    tree.their_table("", table.get_ref(), &mut no_number);
    (!no_number).then_some(tree)
}

/// What becomes of a text.
#[derive(Debug, PartialEq)]
enum Verdict {
    Read,
    /// With a value that is not looked into, since no key takes one: there we are more lenient.
    Recognised,
    Refused,
    /// By us alone: the crate lets a line end stand behind the `=` of an inline table, and
    /// more of this kind that the grammar does not have.
    RefusedAlone,
}

/// Compares, and tells the verdict.
#[track_caller]
fn check(text: &str) -> Verdict {
    let (ours, other) = ours(text);
    let theirs = theirs(text);
    match (ours, theirs) {
        (Err(_), None) => Verdict::Refused,
        (Err(_), Some(_)) => Verdict::RefusedAlone,
        (Ok(_), _) if other => Verdict::Recognised,
        (Ok(ours), Some(theirs)) => {
            assert_eq!(ours, theirs, "{text:?}");
            Verdict::Read
        }
        (ours, theirs) => panic!("ours: {ours:?}, theirs: {theirs:?}, for {text:?}"),
    }
}

const GOOD: [&str; 44] = [
    "",
    "\n\n# nothing\n  # more",
    "\u{feff}a = 1",
    "a = 1",
    "a = 1\r\nb = 2\r\n",
    "a=+17\nb=-0\nc=0\nd=1_000",
    "a = 0xDEAD_beef\nb = 0o755\nc = 0b1101",
    "a = 9223372036854775807\nb = -9223372036854775808",
    "a = true\nb = false # yes",
    "a = \"x\\t\\n\\\"\\\\\\u00e9\\U0001F600\\x41\\e\\b\\f\\r\"",
    "a = 'x\\t\"'",
    "a = \"\"\nb = ''",
    "a = \"\"\"\nx\n  y\\\n   \n  z\"\"\"",
    "a = \"\"\"x\"\"\"\"\"",
    "a = \"\"\"\"x\"\"\"\"",
    "a = '''\n'x'\n\\n'''",
    "a = ''''x''''",
    "a = \"\"\"x\\\r\n  y\"\"\"",
    "a = [1, 2, 3,]",
    "a = [\n  # first\n  \"x\", # then\n\n  'y'\n]",
    "a = []\nb = [[], [1], ['x', [true]]]",
    "a = { b = 1, c.d = 2, c.e = { f = 3 } }",
    "a = {}\nb = { }",
    "a = {\n  b = 1, # one\n  c = 2,\n}",
    "a.b.c = 1\na.b.d = 2\na.e = 3",
    "a . b = 1\n\"c d\".'e.f' = 2\n\"\" = 3",
    "\"caf\\u00e9\" = 1\n1-2_3 = 4",
    "[a]\nb = 1\n[a.c]\nd = 2",
    "[a.b.c]\nx = 1\n[a]\ny = 2\n[a.b]\nz = 3",
    "[ a . \"b\" . 'c' ] # comment\nx = 1",
    "[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\ny = 3\n[[a.c]]\n[[a.c]]",
    "[[a]]\n[a.b]\n[[a]]\n[a.b]",
    "[a]\nb.c = 1\n[a.d]\n[a.b.e]\nx = 1",
    "[a]\n\tb = 1\t\n",
    "a = [{ b = 1 }, { b = 2 }]",
    "[x.y.z.w]\n[x]",
    "a = 1.5",
    "a = 1e3\nb = inf\nc = -nan",
    "a = 1979-05-27T07:32:00Z\nb = 07:32:00",
    "a = \"é\"\n'é' = 1",
    "a = 1#x",
    "[[a.b]]\n[[a.b]]\n[a]\nc = 1",
    "[a]\n[b]\n[a.c]",
    "true = 1\ninf = 2\n0x1 = 3",
];

const BAD: [&str; 68] = [
    "a",
    "a =",
    "= 1",
    "a = 1 b = 2",
    "a = 1,",
    "a = 01",
    "a = 1__0",
    "a = _1",
    "a = 1_",
    "a = +0x1",
    "a = 0x",
    "a = 0xg",
    "a = 0b2",
    "a = 0X1",
    "a = yes",
    "a = True",
    "a = \"x",
    "a = \"x\ny\"",
    "a = 'x",
    "a = \"\\q\"",
    "a = \"\\u12\"",
    "a = \"\\ud800\"",
    "a = \"\\U00110000\"",
    "a = \"\\u+123\"",
    "a = \"x\" y",
    "a = \"\"\"x",
    "a = \"\"\"x\"\"\"\"\"\"",
    "a = '''x''''''",
    "a = \"\"\"\\ x\"\"\"",
    "a = \"\u{1}\"",
    "a = '\u{7f}'",
    "# \u{1}",
    "# \r x",
    "a = 1\rb = 2",
    "a = [1, 2",
    "a = [1 2]",
    "a = [,]",
    "a = [1,,2]",
    "a = { b = 1",
    "a = { b = 1 c = 2 }",
    "a = { , }",
    "a = { b }",
    "a = { b = 1, b = 2 }",
    "a = { b = 1, b.c = 2 }",
    "a = { b = { c = 1 }, b.d = 2 }",
    "a = 1\na = 2",
    "a = 1\na.b = 2",
    "a.b = 1\na = 2",
    "a.b = 1\n[a]",
    "a = { b = 1 }\na.c = 2",
    "a = { b = 1 }\n[a]",
    "a = { b = 1 }\n[a.c]",
    "a = { b.c = 1 }\n[a.b.d]",
    "[a]\n[a]",
    "[a]\nb = 1\n[a.b]",
    "[a.b]\nx = 1\n[a]\nb.y = 2",
    "[[a]]\n[a]",
    "[a]\n[[a]]",
    "a = []\n[[a]]",
    "[a.b]\n[[a]]",
    "[a",
    "[a]]",
    "[[a]",
    "[]",
    "[a.]\n",
    "a. = 1",
    "[a] b = 1",
    "\"\"\"a\"\"\" = 1",
];

#[test]
fn good_texts_are_read_and_bad_ones_refused_as_the_toml_crate_does() {
    for text in GOOD {
        let verdict = check(text);
        let good = matches!(verdict, Verdict::Read | Verdict::Recognised);
        assert!(good, "{text:?}: {:?}", ours(text).0);
    }
    for text in BAD {
        let verdict = check(text);
        let bad = matches!(verdict, Verdict::Recognised | Verdict::Refused);
        assert!(bad, "{text:?}: {verdict:?}");
    }
}

#[test]
fn the_files_of_the_tests_are_read_as_the_toml_crate_does() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/config/");
    let mut count = 0;
    for kind in ["good", "bad"] {
        for entry in std::fs::read_dir(format!("{folder}{kind}")).expect("folder") {
            let path = entry.expect("entry").path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                check(&std::fs::read_to_string(path).expect("file"));
                count += 1;
            }
        }
    }
    assert!(count > 20);
    assert_eq!(check(include_str!("../../../airside.toml")), Verdict::Read);
}

/// Texts with a byte taken away, doubled or put in, or two texts one behind the other.
#[test]
fn changed_texts_are_judged_as_the_toml_crate_does() {
    let random = SeededRandom::new(5);
    let bytes = b"[]{}.=,\"'\\#\n\r\t _-+01x:eabT\x01";
    let (mut read, mut alone) = (0, 0);
    for _ in 0..40_000 {
        let mut text = GOOD[random.below(GOOD.len())].to_owned();
        if random.below(3) == 0 {
            text.push('\n');
            text.push_str(GOOD[random.below(GOOD.len())]);
        }
        for _ in 0..random.below(3) {
            let mut at = random.below(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match random.below(3) {
                0 if at < text.len() => {
                    text.remove(at);
                }
                1 if at < text.len() => {
                    let same = text[at..].chars().next().expect("character");
                    text.insert(at, same);
                }
                _ => text.insert(at, char::from(bytes[random.below(bytes.len())])),
            }
        }
        match check(&text) {
            Verdict::Read => read += 1,
            Verdict::RefusedAlone => alone += 1,
            Verdict::Recognised | Verdict::Refused => {}
        }
    }
    assert!(
        read > 5_000 && alone < 400,
        "{read} read, {alone} refused by us alone"
    );
}

#[test]
fn each_fault_is_reported_with_its_place_and_the_rest_is_read() {
    let text = "a = 1\nb = \nc = 3\n[d\ne = 5\n[f]\ng = 7\n";
    let mut faults = Vec::new();
    let table = parse(text, |at, message| faults.push((at, message)));
    assert_eq!(faults, [(10, "expected a value"), (19, "expected `]`")]);
    let names: Vec<&str> = table
        .iter()
        .map(|(key, _)| key.get_ref().as_ref())
        .collect();
    assert_eq!(
        names,
        ["a", "c", "f"],
        "what stands below a broken header goes nowhere"
    );
    let f = table
        .get("f")
        .map(|value| (value.span().start, value.get_ref()));
    assert!(matches!(f, Some((26, Value::Table(_)))), "{f:?}");
}

#[test]
fn lists_end_somewhere() {
    let deep = |n: usize| format!("a = {}{}", "[".repeat(n), "]".repeat(n));
    assert!(ours(&deep(MAX_DEPTH)).0.is_ok());
    assert!(ours(&deep(100_000)).0.is_err());
    assert!(ours(&format!("a = {}", "{b=".repeat(100_000))).0.is_err());
}

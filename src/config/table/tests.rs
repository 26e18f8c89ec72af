//! Held to the reading of the whole text: what is read in pieces is read the same.

use std::fs;
use std::path::Path;

use crate::config::{Config, document};
use crate::testing::SeededRandom;

/// What routes are added to.
const HEAD: &str = r#"
public_url = "https://app.example.com"
[providers.corp]
issuer = "https://login.example.com"
client_id = "web-app"
client_authentication = "none"
[issuers.corp]
issuer = "https://login.example.com"
[issuers.pool]
issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc"
preset = "cognito"
[upstreams.api]
url = "https://api.example.com"
[upstreams.own]
url = "https://own.example.com"
credential = "access_token"
"#;

/// Lines of routes: plain ones, unusual ones and wrong ones.
const LINES: [&str; 52] = [
    "path = \"/a\"",
    "path = \"/a/\"",
    "path = \"/a/*\"",
    "path = \"/a/b\"",
    "path = \"/*\"",
    "path = \"/b/c.d/e-f\"  # a comment",
    "path = \"/auth/x\"",
    "path = \"/authority\"",
    "path = '/literal'",
    "path = \"/\\u0061\"",
    "path = \"/.well-known/spin\"",
    "path = \"/a//b\"",
    "path = 3",
    "methods = [\"GET\"]",
    "methods = [\"HEAD\", \"POST\",]",
    "methods = [ \"PUT\" ]\t# é",
    "methods = [\"get\"]",
    "methods = [\"CONNECT\"]",
    "methods = []",
    "methods = [\n  \"GET\", # one\n]",
    "access = \"public\"",
    "access = \"login\"",
    "access = \"token\"",
    "access=\"token\"",
    "access = \"nobody\"",
    "  access = \"public\"",
    "issuer = \"corp\"",
    "issuer = \"pool\"",
    "issuer = \"other\"",
    "audience = \"https://api.example.com\"",
    "audience = \"web-app\"",
    "audience = \" spaced\"",
    "audience = \"\"",
    "audience = \"\"\"\nx\"\"\"",
    "audience = \"tab\tin it\"",
    "audience = \"é\"",
    "scopes = [\"read\"]",
    "scopes = [\"read\", \"write\"]",
    "scopes = []",
    "scopes = [\"re ad\"]",
    "scopes = [\"read\" \"write\"]",
    "any_scopes = [\"read\"]",
    "upstream = \"api\"",
    "upstream = \"own\"",
    "upstream = \"none\"",
    "max_age_seconds = 60",
    "resource = \"https://app.example.com/a\"",
    "claims = [{ claim = \"groups\", contains = \"x\" }]",
    "unknown = 1",
    "[routes.cors]\norigins = [\"*\"]",
    "[upstreams.late]\nurl = \"https://late.example.com\"",
    "# a comment\n\n\t\n",
];

/// The header, mostly.
const HEADERS: [&str; 8] = [
    "[[routes]]",
    "[[routes]]",
    "[[routes]]",
    "[[routes]] # here",
    "[[routes]]\r",
    "[[ routes ]]",
    "[[routes]]x",
    "[routes]",
];

/// True when `text` was read in pieces. Then it must be what reading it whole makes of it, and
/// only right texts may be.
#[track_caller]
fn check(text: &str) -> bool {
    let Some(mut pieces) = document::in_pieces(text.as_bytes()) else {
        return false;
    };
    let whole = document::whole(text);
    pieces.routes.keep(text.into());
    let whole = whole.unwrap_or_else(|problems| panic!("{problems:?} in {text}"));
    assert_eq!(pieces.routes.len(), whole.routes.len(), "{text}");
    let routes = |config: &Config| -> Vec<_> {
        let all = 0..config.routes.len();
        all.map(|index| config.route(index).cloned().expect("route"))
            .collect()
    };
    assert_eq!(routes(&pieces), routes(&whole), "{text}");
    // The matcher, the resources, the rules about claims, and all else.
    let rest = |mut config: Config| {
        config.routes.entries.clear();
        config.routes.keep(Vec::new());
        format!("{config:?}")
    };
    assert_eq!(rest(pieces), rest(whole), "{text}");
    true
}

#[test]
fn texts_made_of_lines_are_read_the_same_in_pieces_as_whole() {
    let random = SeededRandom::new(11);
    let (mut pieces, mut several) = (0, 0);
    for _ in 0..8_000 {
        let mut text = HEAD.to_owned();
        let routes = 1 + random.below(3);
        for _ in 0..routes {
            text += HEADERS[random.below(if random.below(4) == 0 { 8 } else { 3 })];
            text += "\n";
            // A right route, as a rule, and then more or less.
            let token = random.below(2) == 0;
            let mut lines = vec![LINES[random.below(6)], LINES[42 + random.below(2)]];
            if token {
                lines.extend([LINES[22], LINES[26 + random.below(2)], LINES[29]]);
                lines.push(LINES[36 + random.below(3)]);
            } else {
                lines.push(LINES[20 + random.below(2)]);
            }
            if random.below(2) == 0 {
                lines.push(LINES[13 + random.below(3)]);
            }
            if random.below(4) == 0 {
                lines.remove(random.below(lines.len()));
            }
            if random.below(3) == 0 {
                let line = LINES[random.below(LINES.len())];
                // In place of what the route says about it, or beside that.
                let key = |line: &'static str| line.split([' ', '=']).next();
                if random.below(3) > 0 {
                    lines.retain(|other| key(other) != key(line));
                }
                lines.push(line);
            }
            for at in 0..lines.len() {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            for line in lines {
                text += line;
                text += if random.below(30) == 0 { "\r\n" } else { "\n" };
            }
        }
        if random.below(4) == 0 {
            mutate(&mut text, &random);
        }
        let read = check(&text);
        pieces += usize::from(read);
        several += usize::from(read && routes > 1);
    }
    // Often enough to mean something.
    assert!(pieces > 1_000 && several > 200, "{pieces} and {several}");
}

fn mutate(text: &mut String, random: &SeededRandom) {
    let bytes = b"[]{}.=,\"'\\#\n\r\t _-+01x:eabT*/\x01\x7f";
    let mut at = HEAD.len() / 2 + random.below(text.len() - HEAD.len() / 2);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    match random.below(3) {
        0 => {
            text.remove(at);
        }
        1 => text.truncate(at),
        _ => text.insert(at, char::from(bytes[random.below(bytes.len())])),
    }
}

#[test]
fn the_files_of_the_tests_are_read_the_same_and_most_good_ones_in_pieces() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config");
    for (name, least) in [("good", 4), ("bad", 0)] {
        let mut pieces = 0;
        for file in fs::read_dir(folder.join(name)).expect("folder") {
            let path = file.expect("file").path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let text = fs::read_to_string(path).expect("text");
                pieces += usize::from(check(&text));
            }
        }
        assert!(pieces >= least, "{name}: {pieces}");
        assert!(name == "good" || pieces == 0, "a bad file was read");
    }
    assert!(check(include_str!("../../../airside.toml")));
}

#[test]
fn a_string_or_list_that_goes_on_behind_a_header_is_one() {
    let route = "[[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"api\"\n";
    assert!(check(&format!("{HEAD}{route}")));
    let title = "[providers.other]\nissuer = \"https://other.example.com\"\nclient_id = \"x\"\n\
                 client_authentication = \"none\"\n";
    assert!(check(&format!("{HEAD}{title}{route}")));
    // All of the route is the value of one key; and in a list it is not even TOML.
    for (opening, closing) in [("title = '''\n", "'''\n"), ("claims = [\n", "]\n")] {
        let text = format!("{HEAD}{title}{opening}{route}{closing}{route}");
        assert!(!check(&text), "{text}");
        let inside = format!("{HEAD}{route}audience = [\"\"\"\n{route}\"\"\"]\n");
        assert!(!check(&inside), "{inside}");
    }
}

#[test]
fn ten_thousand_routes_are_judged_and_none_is_made() {
    let routes = (0..10_000).map(|number| {
        let group = number % 100;
        format!(
            "[[routes]]\npath = \"/grown/{group}/{number}\"\naccess = \"token\"\nissuer = \"corp\"\n\
             audience = \"https://api.example.com\"\nscopes = [\"read:{group}\"]\nupstream = \"api\"\n"
        )
    });
    let groups = (0..100).map(|group| {
        format!(
            "[[routes]]\npath = \"/grown/{group}/*\"\naccess = \"token\"\nissuer = \"corp\"\n\
             audience = \"https://api.example.com\"\nscopes = [\"read:{group}\", \"more\"]\nupstream = \"api\"\n"
        )
    });
    let text: String = [HEAD.to_owned()]
        .into_iter()
        .chain(routes)
        .chain(groups)
        .collect();
    let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let made = |config: &Config| {
        let entries = config.routes.entries.iter();
        entries.filter(|entry| entry.made.get().is_some()).count()
    };
    assert_eq!((config.routes.len(), made(&config)), (10_100, 0));
    assert!(config.step_up_at("/grown/7/107").is_some());
    assert_eq!(made(&config), 1);
    // The twin of one of them would be open to more.
    let weaker = text.replace("[\"read:7\", \"more\"]", "[\"more\"]");
    let problems = Config::parse(&weaker).err().unwrap_or_default();
    let keys: Vec<&str> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(keys.len(), 100);
    assert_eq!(keys.first(), Some(&"routes[7]"));
}

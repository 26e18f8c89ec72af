use super::*;

#[test]
fn https_is_required_except_on_loopback() {
    for good in [
        "https://a.example",
        "http://127.0.0.1:3001/x?y=1",
        "http://[::1]:1",
        "http://localhost",
    ] {
        assert!(good.parse::<HttpsUrl>().is_ok(), "{good}");
    }
    assert_eq!(
        "http://a.example".parse::<HttpsUrl>(),
        Err(UrlError::Insecure)
    );
    assert_eq!(
        "http://localhost.example".parse::<HttpsUrl>(),
        Err(UrlError::Insecure)
    );
    assert_eq!(
        "https://u@a.example".parse::<HttpsUrl>(),
        Err(UrlError::ExtraPart)
    );
    assert_eq!(
        "https://a.example/#x".parse::<HttpsUrl>(),
        Err(UrlError::ExtraPart)
    );
    for bad in [
        "",
        "/x",
        "a.example",
        "https://",
        "https://a b",
        "https://a.example:",
    ] {
        assert_eq!(bad.parse::<HttpsUrl>(), Err(UrlError::Malformed), "{bad}");
    }
}

#[test]
fn origins_are_normal() {
    let origin: Origin = "https://A.Example:443/".parse().expect("origin");
    assert_eq!(origin.as_str(), "https://a.example");
    assert_eq!(origin.authority(), "a.example");
    assert_eq!(
        "https://a.example/x".parse::<Origin>(),
        Err(UrlError::NotAnOrigin)
    );
}

#[test]
fn an_issuer_keeps_its_text() {
    let issuer: Issuer = "https://a.example/".parse().expect("issuer");
    assert_eq!(issuer.as_str(), "https://a.example/");
    assert_eq!(
        issuer.openid_configuration(),
        "https://a.example/.well-known/openid-configuration"
    );
    assert_eq!(
        "https://a.example?x".parse::<Issuer>(),
        Err(UrlError::ExtraPart)
    );
}

/// The values of a file of `testdata/return_to`: one JSON string per line.
fn values(file: &str) -> Vec<String> {
    file.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

const HOSTILE: &str = include_str!("../../testdata/return_to/hostile.txt");
const LOCAL: &str = include_str!("../../testdata/return_to/local.txt");

#[track_caller]
fn check_return_to(value: &str, expected: &str) {
    assert_eq!(ReturnTo::parse(value).as_str(), expected, "{value:?}");
}

#[test]
fn hostile_return_to_values_become_the_start_page() {
    let hostile = values(HOSTILE);
    let wrong: Vec<&String> = hostile
        .iter()
        .filter(|value| ReturnTo::parse(value) != ReturnTo::root())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn local_return_to_values_stay_as_they_are() {
    for value in values(LOCAL) {
        check_return_to(&value, &value);
    }
}

#[test]
fn the_corpus_has_no_value_twice() {
    let all = [values(HOSTILE), values(LOCAL)].concat();
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert!(values(HOSTILE).len() >= 500 && values(LOCAL).len() >= 60);
}

#[test]
fn return_to_has_a_length_that_the_cookie_can_carry() {
    let path = |length: usize| format!("/{}", "a".repeat(length - 1));
    check_return_to(&path(1_024), &path(1_024));
    check_return_to(&path(1_025), "/");
}

/// Where a browser on `https://app.example` goes with `value`.
fn resolve(value: &str) -> Option<url::Url> {
    let base = url::Url::parse("https://app.example").expect("base");
    base.join(value).ok()
}

/// `text` with the characters encoded that a parser of the WHATWG standard encodes itself, some
/// in a path, some in a query: none of them separates anything.
fn spelled(text: &str) -> String {
    let mut spelled = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' | '<' | '>' | '^' | '`' | '{' | '|' | '}' => {
                spelled.push_str(&format!("%{:02X}", u32::from(c)));
            }
            _ => spelled.push(c),
        }
    }
    spelled
}

/// What `ReturnTo` makes of `value` is on our site, and a browser reads it as we do.
#[track_caller]
fn check_browser_agrees(value: &str) {
    let kept = ReturnTo::parse(value);
    let url = resolve(kept.as_str()).expect(value);
    let origin = url.origin().ascii_serialization();
    assert_eq!(origin, "https://app.example", "{value:?}");
    let read = &url[url::Position::BeforePath..];
    assert_eq!(spelled(read), spelled(kept.as_str()), "{value:?}");
    let own = url.path() == "/auth" || url.path().starts_with("/auth/");
    assert!(!own, "{value:?}");
    assert!(kept.as_str().bytes().all(|b| b.is_ascii_graphic()));
}

#[test]
fn a_browser_stays_on_the_site_with_every_value_of_the_corpus() {
    let elsewhere = |value: &String| {
        resolve(value).is_none_or(|url| url.origin().ascii_serialization() != "https://app.example")
    };
    // The corpus is about something: many values would lead away.
    let leading_away = values(HOSTILE).into_iter().filter(elsewhere).count();
    assert!(leading_away > 250, "{leading_away}");
    assert!(!values(LOCAL).iter().any(elsewhere));
    for value in [values(HOSTILE), values(LOCAL)].concat() {
        check_browser_agrees(&value);
    }
}

#[test]
fn a_browser_stays_on_the_site_with_random_values() {
    const PIECES: [&str; 64] = [
        "/",
        "/",
        "/",
        "/",
        "//",
        "\\",
        "\\/",
        ".",
        "..",
        "/.",
        "/..",
        "..;",
        ";",
        ":",
        "@",
        "?",
        "#",
        "&",
        "=",
        "%",
        "%2f",
        "%2F",
        "%5c",
        "%2e",
        "%25",
        "%252f",
        "%255c",
        "%252e",
        "%00",
        "%09",
        "%0d%0a",
        "%61",
        "%40",
        "%3b",
        "%20",
        "%e3%80%82",
        "2f",
        "5c",
        "\t",
        "\n",
        "\r",
        "\0",
        " ",
        "\u{a0}",
        "\u{3002}",
        "\u{ff0f}",
        "\u{ff3c}",
        "\u{ff0e}",
        "\u{2028}",
        "a",
        "auth",
        "login",
        "evil.example",
        "app.example",
        "https:",
        "http:",
        "javascript:",
        "[::1]",
        "127.1",
        "\"",
        "'",
        "{",
        "^",
        "|",
    ];
    // SplitMix64: the same values on each run.
    let mut state = 2_026_u64;
    let mut random = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).expect("small")
    };
    let (mut kept, mut dropped) = (0, 0);
    for _ in 0..200_000 {
        let mut value = String::from(["/", "/", "/", ""][random(4)]);
        for _ in 0..=random(9) {
            value.push_str(PIECES[random(PIECES.len())]);
        }
        check_browser_agrees(&value);
        if ReturnTo::parse(&value).as_str() == value {
            kept += 1;
        } else {
            dropped += 1;
        }
    }
    // Both happen often enough to mean something.
    assert!(kept > 20_000 && dropped > 100_000, "{kept} and {dropped}");
}

#[test]
fn patterns_are_exact_or_whole_segments() {
    let pattern = |text: &str| text.parse::<PathPattern>();
    assert_eq!(
        pattern("/"),
        Ok(PathPattern {
            base: "/".into(),
            prefix: false
        })
    );
    assert_eq!(
        pattern("/*"),
        Ok(PathPattern {
            base: String::new(),
            prefix: true
        })
    );
    assert_eq!(
        pattern("/a/*"),
        Ok(PathPattern {
            base: "/a".into(),
            prefix: true
        })
    );
    for bad in [
        "", "a", "/a*", "/*/a", "//a", "/a//*", "/a/../b", "/a?b", "/%61", "/a/**",
    ] {
        assert_eq!(pattern(bad), Err(UrlError::NotAPath), "{bad}");
    }
}

#[test]
fn a_pattern_in_one_walk_is_what_its_rules_say_one_by_one() {
    let by_rules = |text: &str| {
        let (base, prefix) = match text.strip_suffix("/*") {
            Some(base) => (base, true),
            None => (text, false),
        };
        let whole = if prefix && base.is_empty() { "/" } else { base };
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'*' | b'?' | b'#' | b'%');
        let moves = |segment: &str| matches!(segment, "." | "..");
        let fits = whole.starts_with('/')
            && whole.bytes().all(plain)
            && !whole.contains("//")
            && !whole.split('/').any(moves)
            && !(prefix && base.ends_with('/'));
        fits.then(|| (base.to_owned(), prefix))
    };
    const ALPHABET: [&str; 8] = ["/", "*", ".", "a", "%", "\\", " ", "é"];
    let mut good = 0;
    for length in 0..6 {
        for number in 0..8_usize.pow(length) {
            let letters = (0..length).map(|place| number / 8_usize.pow(place) % 8);
            let text: String = letters.map(|letter| ALPHABET[letter]).collect();
            let found = PathPattern::split(&text).ok();
            let found = found.map(|(base, prefix)| (base.to_owned(), prefix));
            assert_eq!(found, by_rules(&text), "{text}");
            good += usize::from(found.is_some());
        }
    }
    assert!(good > 50, "{good}");
}

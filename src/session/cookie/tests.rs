use super::*;

const HOUR: Lifetime = Lifetime::from_secs(3_600);

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_str(line).expect("value"));
    }
    headers
}

/// The `Cookie` line a browser sends after `set` was set.
fn replay(set: &[HeaderValue]) -> HeaderMap {
    let pairs: Vec<&str> = set
        .iter()
        .map(|value| {
            value
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .expect("pair")
        })
        .filter(|pair| !pair.ends_with('='))
        .collect();
    headers(&[&pairs.join("; ")])
}

#[test]
fn a_session_survives_chunking() {
    for size in [
        1,
        MAX_CHUNK_BYTES - 1,
        MAX_CHUNK_BYTES,
        MAX_CHUNK_BYTES + 1,
        SESSION_BUDGET,
    ] {
        let sealed = "x".repeat(size);
        let set = session_cookies(&sealed, &Cookies::default(), HOUR, 2).expect("cookies");
        assert_eq!(set.len(), size.div_ceil(MAX_CHUNK_BYTES), "{size}");
        assert!(set.iter().all(|value| value.len() < 4_096), "{size}");
        let headers = replay(&set);
        let cookies = Cookies::parse(&headers).expect("cookies");
        assert_eq!(
            cookies.session().as_deref(),
            Some(sealed.as_bytes()),
            "{size}"
        );
    }
}

#[test]
fn a_session_over_its_budget_is_refused() {
    let none = Cookies::default();
    let set = |size: usize, chunks| session_cookies(&"x".repeat(size), &none, HOUR, chunks);
    assert_eq!(
        set(SESSION_BUDGET + 1, 2),
        Err(CookieError::SessionTooLarge)
    );
    assert!(set(SESSION_BUDGET + 1, 3).is_ok());
    assert_eq!(
        set(3 * MAX_CHUNK_BYTES + 1, 3),
        Err(CookieError::SessionTooLarge)
    );
    assert_eq!(
        set(9 * MAX_CHUNK_BYTES, 99),
        Err(CookieError::SessionTooLarge)
    );
    assert_eq!(set(0, 2), Err(CookieError::SessionTooLarge));
}

#[test]
fn the_whole_line_stays_under_8000_bytes() {
    let names = SESSION_COOKIE.len() * 2 + ".1".len() + "=1~; =; ".len();
    assert!(SESSION_BUDGET + names + TRANSACTION_BUDGET < 8_000);
}

#[test]
fn a_missing_stale_or_odd_chunk_is_no_session() {
    let session = |line: &str| {
        Cookies::parse(&headers(&[line]))
            .expect("cookies")
            .session()
            .map(|sealed| String::from_utf8(sealed.into_owned()).expect("text"))
    };
    assert_eq!(
        session("__Host-airside=2~a; __Host-airside.1=b"),
        Some("ab".into())
    );
    assert_eq!(
        session("__Host-airside=1~a; __Host-airside.1=stale"),
        Some("a".into())
    );
    // By their numbers, whatever their order.
    assert_eq!(
        session("__Host-airside.2=c; __Host-airside.1=b; __Host-airside=3~a"),
        Some("abc".into())
    );
    for bad in [
        "",
        "__Host-airside=2~a",
        "__Host-airside.1=b",
        "__Host-airside=a",
        "__Host-airside=0~a",
        "__Host-airside=9~a",
        "__Host-airside=99999999~a",
        "__Host-airside=+1~a",
        "__Host-airside=1",
        "__Host-airside=1a",
        "__Host-airside=12~a; __Host-airside.1=b",
        "__Host-airside=",
        "Host-airside=1~a",
    ] {
        assert_eq!(session(bad), None, "{bad}");
    }
}

#[test]
fn our_cookie_sent_twice_is_refused() {
    for lines in [
        &["__Host-airside=1~a; __Host-airside=1~b"][..],
        &["__Host-airside=1~a", "__Host-airside=1~a"],
        &["__Host-airside-tx-a=1; __Host-airside-tx-a=2"],
    ] {
        assert_eq!(
            Cookies::parse(&headers(lines)).map(|_| ()),
            Err(CookieError::Duplicate)
        );
    }
    // One that is no text has the same name all the same.
    let odd = [b"__Host-airside=\xff".as_slice(), b"__Host-airside=1~a"];
    assert_eq!(
        Cookies::of_lines(odd.into_iter()).map(|_| ()),
        Err(CookieError::Duplicate)
    );
    assert!(Cookies::parse(&headers(&["a=1; a=2; __Host-airside=1~a"])).is_ok());
}

#[test]
fn a_huge_header_is_refused() {
    let line = format!("a={}", "x".repeat(MAX_COOKIE_BYTES));
    let parsed = Cookies::parse(&headers(&[&line])).map(|_| ());
    assert_eq!(parsed, Err(CookieError::HeaderTooLarge));
}

#[test]
fn no_browser_has_so_many_of_our_cookies() {
    let parsed = |count: usize| {
        let own = (0..count).map(|number| format!("{TRANSACTION_PREFIX}{number}=x; "));
        let line = own.collect::<String>() + "__Host-airside=1~a; b=1";
        let headers = headers(&[&line]);
        Cookies::parse(&headers).map(|cookies| cookies.transactions().count())
    };
    assert_eq!(parsed(MAX_OWN_COOKIES), Ok(MAX_OWN_COOKIES));
    let too_many = parsed(MAX_OWN_COOKIES + 1);
    assert_eq!(too_many, Err(CookieError::HeaderTooLarge));
}

#[test]
fn deletion_has_the_attributes_of_setting() {
    let set = session_cookies("abc", &Cookies::default(), HOUR, 2).expect("cookies");
    let headers = replay(&set);
    let cookies = Cookies::parse(&headers).expect("cookies");
    let cleared = clear_session(&cookies);
    assert_eq!(
        set[0],
        "__Host-airside=1~abc; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=3600"
    );
    assert_eq!(
        cleared,
        ["__Host-airside=; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=0"]
    );
}

#[test]
fn a_shorter_session_deletes_the_stale_chunk() {
    let headers = headers(&["__Host-airside=2~a; __Host-airside.1=b; __Host-airside-tx-q=1"]);
    let present = Cookies::parse(&headers).expect("cookies");
    let set = session_cookies("abc", &present, HOUR, 2).expect("cookies");
    let texts: Vec<&str> = set
        .iter()
        .map(|value| value.to_str().expect("text"))
        .collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[1].starts_with("__Host-airside.1=; "), "{}", texts[1]);
}

#[test]
fn only_the_cookies_of_others_go_to_the_upstream() {
    let kept = |lines: &[&str]| {
        let lines = lines.iter().map(|line| line.as_bytes());
        let kept = without_own(lines.clone());
        let read = Cookies::of_lines(lines).expect("cookies");
        assert_eq!(read.of_others(), kept);
        kept.map(|value| String::from_utf8(value).expect("text"))
    };
    assert_eq!(
        kept(&[
            "a=1; __Host-airside=1~x; b=\"2\"",
            "__Host-airside-tx-q=1; c"
        ]),
        Some("a=1; b=\"2\"; c".into())
    );
    assert_eq!(kept(&["__Host-airside=1~x;  __Host-airside.1 = y"]), None);
    assert_eq!(
        kept(&["__Host-airside", "=__Host-airside=1~x; = __Host-airside"]),
        None
    );
    assert_eq!(
        kept(&["=a; __Host-airsid=1"]),
        Some("=a; __Host-airsid=1".into())
    );
    assert_eq!(
        kept(&[";; ;a ; ", " = ;=;b==;"]),
        Some("a; =; =; b==".into())
    );
    assert_eq!(kept(&[]), None);
}

#[test]
fn what_cannot_be_read_does_not_go_to_the_upstream_either() {
    let twice = [b"__Host-airside=1~a; a=1".as_slice(), b"__Host-airside=1~b"];
    assert!(Cookies::of_lines(twice.into_iter()).is_err());
    assert_eq!(
        without_own(twice.into_iter()).as_deref(),
        Some(b"a=1".as_slice())
    );
    let odd = b"__Host-airside\xff=1; __Host-airside.1=\xff; a=\xff".as_slice();
    let read = Cookies::of_lines(std::iter::once(odd)).expect("cookies");
    assert_eq!(read.of_others().as_deref(), Some(b"a=\xff".as_slice()));
    assert_eq!(without_own(std::iter::once(odd)), read.of_others());
    assert!(read.has_session(), "readable or not");
}

#[test]
fn the_first_of_a_byte_is_found_wherever_it_is() {
    for length in 0..80 {
        for filling in [0, b';' - 1, b';' + 1, b';' ^ 0x80, 0xff] {
            let mut line = vec![filling; length];
            assert_eq!(position(b';', &line), None, "{line:?}");
            for at in (0..length).rev() {
                line[at] = b';';
                assert_eq!(position(b';', &line), Some(at), "{line:?}");
            }
            for at in (0..length).rev() {
                line.fill(filling);
                line[at] = b';';
                assert_eq!(position(b';', &line), Some(at), "{line:?}");
            }
        }
    }
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let alphabet = b"=;~ \t\"._-1289__Host-airside-tx\xff\x80";
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..next() % 60)
            .map(|_| alphabet[next() as usize % alphabet.len()])
            .collect();
        let Ok(value) = HeaderValue::from_bytes(&bytes) else {
            continue;
        };
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, value);
        if let Ok(cookies) = Cookies::parse(&headers) {
            let _ = (cookies.session(), cookies.transactions().count());
        }
        if let Some(kept) = without_own(std::iter::once(bytes.as_slice())) {
            // Each as a careless reader takes it apart.
            for pair in kept.split(|byte| *byte == b';') {
                let pair = pair.trim_ascii();
                let end = pair.iter().position(|byte| *byte == b'=');
                let named = pair.get(..end.unwrap_or(0)).expect("name").trim_ascii();
                let unnamed = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii();
                for start in [pair, named, unnamed] {
                    assert!(!start.starts_with(b"__Host-airside"), "{kept:?}");
                }
            }
        }
    }
}

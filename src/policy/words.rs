//! Text looked at eight bytes at a time: as one number, the first byte lowest.

/// Each byte is one.
const ONES: u64 = u64::MAX / 255;
/// The highest bit of each byte.
const HIGH: u64 = ONES << 7;

/// Each byte is `byte`.
#[inline(always)]
pub(crate) const fn all(byte: u8) -> u64 {
    ONES * byte as u64
}

/// The eight bytes from `at` on, zeros behind the end.
#[inline(always)]
pub(crate) fn at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last(bytes, at),
    }
}

#[inline(never)]
fn last(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default().iter().rev();
    rest.fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

/// At most eight letters as one number.
pub(crate) const fn of(text: &str) -> u64 {
    let (bytes, mut at, mut word) = (text.as_bytes(), text.len(), 0);
    while at > 0 {
        at -= 1;
        word = (word << 8) | bytes[at] as u64;
    }
    word
}

/// All bits of the first `length` bytes, and none of the others.
#[inline(always)]
pub(crate) const fn low(length: usize) -> u64 {
    if length < 8 {
        (1 << (length * 8)) - 1
    } else {
        u64::MAX
    }
}

/// Not zero where a byte is a quote, a backslash, before `least` in ASCII or behind `~`. The
/// first byte whose highest bit is set is the first such byte; later ones say nothing.
#[inline(always)]
pub(crate) const fn special(word: u64, least: u8) -> u64 {
    let quote = (word ^ all(b'"')).wrapping_sub(ONES);
    let backslash = (word ^ all(b'\\')).wrapping_sub(ONES);
    let early = word.wrapping_sub(all(least));
    (word | word.wrapping_add(ONES) | early | quote | backslash) & HIGH
}

/// The highest bit of each byte that is `byte`. All must be ASCII.
#[inline(always)]
pub(crate) const fn equal(word: u64, byte: u8) -> u64 {
    !((word ^ all(byte)) + all(0x7f)) & HIGH
}

/// Where `byte` is first found from `from` on.
pub(crate) fn find(bytes: &[u8], mut from: usize, byte: u8) -> Option<usize> {
    while from < bytes.len() {
        let other = at(bytes, from) ^ all(byte);
        // The first byte that is zero: a borrow reaches only later ones.
        let found = other.wrapping_sub(ONES) & !other & HIGH;
        if found != 0 {
            let place = from + found.trailing_zeros() as usize / 8;
            // Behind the end there are zeros.
            return (place < bytes.len()).then_some(place);
        }
        from += 8;
    }
    None
}

/// Not zero where a byte is one of ` #%*?`. All must be ASCII.
#[inline(always)]
pub(crate) const fn obtrusive(word: u64) -> u64 {
    let blank = (word ^ all(b' ')).wrapping_sub(ONES);
    let hash = (word ^ all(b'#')).wrapping_sub(ONES);
    let percent = (word ^ all(b'%')).wrapping_sub(ONES);
    let star = (word ^ all(b'*')).wrapping_sub(ONES);
    let question = (word ^ all(b'?')).wrapping_sub(ONES);
    (blank | hash | percent | star | question) & HIGH
}

/// A hash of the bytes and of `seed`. It needs no secret where those who may choose what is
/// looked up cannot choose what is there.
#[inline(always)]
pub(crate) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mix = |hash: u64, word: u64| {
        // A product moves bits up: the upper ones must be below too, but not a digit on a digit.
        let both = (hash ^ word) ^ ((hash ^ word) >> 29);
        let mixed = both.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    };
    let (mut hash, mut place) = (seed ^ bytes.len() as u64, 0);
    while place + 8 < bytes.len() {
        hash = mix(hash, at(bytes, place));
        place += 8;
    }
    // The last eight, some of them for the second time.
    mix(hash, at(bytes, bytes.len().saturating_sub(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bytes_in_their_order() {
        let text = b"abcdefghij";
        assert_eq!(at(text, 0), of("abcdefgh"));
        assert_eq!(at(text, 2), of("cdefghij"));
        assert_eq!(at(text, 8), of("ij"));
        assert_eq!(
            (at(text, 10), at(text, 11), at(text, usize::MAX)),
            (0, 0, 0)
        );
        assert_eq!(at(text, 0) & low(3), of("abc"));
        assert_eq!((low(0), low(8), low(9)), (0, u64::MAX, u64::MAX));
    }

    #[test]
    fn each_byte_is_judged_at_each_place_as_by_itself() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for around in [b'a', b' ', b'!', b'~', b'/', b'.', b'[', b']', b'#', b'@'] {
                    let mut bytes = [around; 8];
                    bytes[place] = byte;
                    let word = u64::from_le_bytes(bytes);
                    for least in [b' ', b'!'] {
                        let is_special = |byte: &u8| {
                            *byte < least || *byte > b'~' || matches!(byte, b'"' | b'\\')
                        };
                        let expected = bytes.iter().position(is_special);
                        let found = special(word, least);
                        let first = (found != 0).then(|| found.trailing_zeros() as usize / 8);
                        assert_eq!(first, expected, "{bytes:?}");
                    }
                    if byte < 0x80 {
                        let expected = bytes.iter().any(|byte| b" #%*?".contains(byte));
                        assert_eq!(obtrusive(word) != 0, expected, "{bytes:?}");
                        let marks = bytes.map(|byte| if byte == b'/' { 0x80 } else { 0 });
                        assert_eq!(equal(word, b'/'), u64::from_le_bytes(marks), "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_byte_is_found_where_it_is_first() {
        for length in 0..20 {
            for place in 0..length {
                for (byte, other) in [(b'\n', 0x8a), (0, 1), (0x80, 0x81), (255, 0), (1, 0)] {
                    let mut bytes = vec![other; length];
                    bytes[place] = byte;
                    let last = *bytes.last().expect("a byte");
                    bytes.push(byte);
                    for from in 0..length + 3 {
                        let expected = (from..=length).find(|at| bytes[*at] == byte);
                        assert_eq!(find(&bytes, from, byte), expected, "{bytes:?} {from}");
                    }
                    bytes.truncate(length);
                    let there = (last == byte).then_some(length - 1);
                    assert_eq!(find(&bytes, length - 1, byte), there, "{bytes:?}");
                    assert_eq!(find(&bytes, 0, 0x42), None);
                }
            }
        }
    }

    #[test]
    fn hashes_of_names_that_count_up_are_spread() {
        let mut places = vec![0; 1 << 15];
        for number in 0..10_000 {
            let name = format!("/grown/{}/{number}", number % 100);
            places[hash(name.as_bytes(), 1) as usize % (1 << 15)] += 1;
            assert_ne!(hash(name.as_bytes(), 1), hash(name.as_bytes(), 0));
        }
        // As many as chance would take, about.
        let taken = places.iter().filter(|count| **count > 0).count();
        assert!((8_000..9_200).contains(&taken), "{taken}");
        assert!(places.iter().all(|count| *count < 7));
    }
}

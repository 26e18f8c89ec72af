//! What an instance remembers for a while: verified tokens, opened sessions, and the answers of
//! `tokens`.
//!
//! Found by the whole of what it is about, so that nothing is ever taken for another thing, at
//! the price of a short hash and one comparison.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::marker::PhantomData;

use zeroize::Zeroizing;

use crate::encoding::words;
use crate::time::UnixTime;

const MAX_ENTRIES: usize = 4_096;
const MAX_BYTES: usize = 1024 * 1024;

/// Of a sealed or signed text, that much of its end is hashed.
const SEALED_END_BYTES: usize = 32;

/// Values by what they are about: at most 4,096, and about 1 MiB or as many bytes as was said.
pub(crate) struct Memory<V> {
    entries: Entries,
    hasher: RandomState,
    values: PhantomData<V>,
}

/// The values of whatever kind: a table for each kind would be 2 kB in the component.
struct Entries {
    table: HashMap<u64, Entry, BuildHasherDefault<Hashed>>,
    bytes: usize,
    max_bytes: usize,
}

struct Entry {
    /// Tokens among them.
    about: Zeroizing<Box<[u8]>>,
    value: Box<dyn Any>,
    size: usize,
    until: UnixTime,
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Memory::of(MAX_BYTES)
    }
}

/// What a value is about.
pub(crate) enum Key<'t> {
    /// `parts`, and the boundaries between them.
    Parts(Vec<u8>),
    /// A text that ends in its own signature or authentication tag: two that end alike are one,
    /// or one of them is forged and was never remembered. The end is enough to hash; what is
    /// compared is the whole. Nobody chooses the end of what he did not seal: its hash needs no
    /// key.
    Sealed(&'t [u8]),
}

impl<'t> Key<'t> {
    pub(crate) fn parts(parts: &[&str]) -> Self {
        let length: usize = parts.iter().map(|part| part.len() + 8).sum();
        let mut about = Vec::with_capacity(length);
        for part in parts {
            about.extend_from_slice(&(part.len() as u64).to_be_bytes());
            about.extend_from_slice(part.as_bytes());
        }
        Key::Parts(about)
    }

    fn about(&self) -> &[u8] {
        match self {
            Key::Parts(about) => about,
            Key::Sealed(text) => text,
        }
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        match self {
            Key::Parts(about) => hasher.hash_one(about),
            Key::Sealed(text) => {
                // What is shorter was sealed by nobody.
                let end = text.last_chunk().unwrap_or(&[0; SEALED_END_BYTES]);
                // A product has the more of all bits the higher they are; the table looks at both
                // ends.
                words(end).into_iter().fold(0, |hash: u64, word| {
                    (hash ^ word)
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(32)
                })
            }
        }
    }
}

/// What is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<V> Memory<V> {
    /// One that takes about `max_bytes`.
    pub(crate) fn of(max_bytes: usize) -> Self {
        Memory {
            entries: Entries {
                table: HashMap::default(),
                bytes: 0,
                max_bytes,
            },
            hasher: RandomState::new(),
            values: PhantomData,
        }
    }
}

impl<V: Clone + 'static> Memory<V> {
    /// The value of `key`, before its time is over.
    pub(crate) fn recall(&self, key: &Key<'_>, now: UnixTime) -> Option<V> {
        let entry = self.entries.table.get(&key.hash(&self.hasher))?;
        if now < entry.until && same(&entry.about, key.about()) {
            entry.value.downcast_ref().cloned()
        } else {
            None
        }
    }

    /// Remembers `value`, of about `size` bytes, until then. When there is no room, what is over
    /// is forgotten, and if that is not enough, everything.
    pub(crate) fn remember(
        &mut self,
        key: &Key<'_>,
        value: V,
        size: usize,
        until: UnixTime,
        now: UnixTime,
    ) {
        let size = size
            .saturating_add(key.about().len())
            .saturating_add(size_of::<(u64, Entry)>())
            .saturating_add(size_of::<V>());
        if until > now && size <= self.entries.max_bytes {
            let entry = Entry {
                about: Zeroizing::new(key.about().into()),
                value: Box::new(value),
                size,
                until,
            };
            self.entries.put(key.hash(&self.hasher), entry, now);
        }
    }
}

impl Entries {
    /// Puts in `entry`, which is not larger than all may be together.
    fn put(&mut self, hash: u64, entry: Entry, now: UnixTime) {
        let fits = |all: &Self| {
            all.table.len() < MAX_ENTRIES && all.bytes.saturating_add(entry.size) <= all.max_bytes
        };
        if !fits(self) {
            self.table.retain(|_, entry| now < entry.until);
            self.bytes = self.table.values().map(|entry| entry.size).sum();
        }
        if !fits(self) {
            self.table.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        if let Some(former) = self.table.insert(hash, entry) {
            self.bytes = self.bytes.saturating_sub(former.size);
        }
    }
}

/// Whether both are the same, in a time that depends on their length alone: how much of a token
/// somebody has right is not to be measured. By words, for it is on the way of every request.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (blocks, rest) = a.as_chunks();
    let (others, other_rest) = b.as_chunks();
    let mut differ = 0;
    let mut others = others.iter();
    for block in blocks {
        let Some(other) = others.next() else {
            return false;
        };
        let ([a, b, c, d], [e, f, g, h]) = (words(block), words(other));
        differ |= (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h);
    }
    let (rest, end) = rest.as_chunks::<8>();
    let (other_rest, other_end) = other_rest.as_chunks::<8>();
    for (a, b) in rest.iter().zip(other_rest) {
        differ |= u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    }
    for (a, b) in end.iter().zip(other_end) {
        differ |= u64::from(a ^ b);
    }
    differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use crate::encoding::base64url_encode;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(seconds)
    }

    fn key(parts: &[&str]) -> Key<'static> {
        Key::parts(parts)
    }

    #[test]
    fn a_value_is_there_until_its_time_is_over() {
        let mut memory = Memory::default();
        let (a, b) = (key(&["a"]), key(&["b"]));
        memory.remember(&a, 1, 10, at(30), at(0));
        assert_eq!(memory.recall(&a, at(29)), Some(1));
        assert_eq!(memory.recall(&a, at(30)), None);
        assert_eq!(memory.recall(&b, at(0)), None);
        memory.remember(&a, 2, 10, at(60), at(30));
        assert_eq!(memory.recall(&a, at(59)), Some(2));
        memory.remember(&b, 3, 10, at(60), at(60));
        assert_eq!(memory.entries.table.len(), 1, "over before it began");
    }

    #[test]
    fn the_boundaries_between_parts_count() {
        let mut memory = Memory::default();
        memory.remember(&key(&["ab", "c"]), 1, 0, at(30), at(0));
        assert_eq!(memory.recall(&key(&["ab", "c"]), at(0)), Some(1));
        assert_eq!(memory.recall(&key(&["a", "bc"]), at(0)), None);
        assert_eq!(memory.recall(&key(&["ab", "c", ""]), at(0)), None);
    }

    #[test]
    fn a_sealed_text_is_known_as_a_whole() {
        let end = "e".repeat(SEALED_END_BYTES);
        let (text, forged) = (format!("head.body.{end}"), format!("head.bodY.{end}"));
        fn sealed(text: &str) -> Key<'_> {
            Key::Sealed(text.as_bytes())
        }
        let mut memory = Memory::default();
        memory.remember(&sealed(&text), 1, 0, at(30), at(0));
        assert_eq!(memory.recall(&sealed(&text), at(0)), Some(1));
        for other in [forged.as_str(), &end, "", &format!(" {text}"), "head.body."] {
            assert_eq!(memory.recall(&sealed(other), at(0)), None, "{other}");
        }
        // One that ends alike takes the place, and is not taken for the other either.
        memory.remember(&sealed(&forged), 2, 0, at(30), at(0));
        assert_eq!(memory.recall(&sealed(&text), at(0)), None);
        assert_eq!(memory.recall(&sealed(&forged), at(0)), Some(2));
        assert_eq!(memory.entries.table.len(), 1);
    }

    #[test]
    fn sealed_texts_are_spread_over_the_table() {
        let hasher = RandomState::new();
        let mut hashes = HashSet::new();
        let mut ends = HashSet::new();
        for number in 0..4_096_u64 {
            let tag = base64url_encode(&hmac_sha256::Hash::hash(&number.to_be_bytes()));
            let hash = Key::Sealed(tag.as_bytes()).hash(&hasher);
            hashes.insert(hash);
            // The table chooses the place by the low bits, and compares the seven highest.
            ends.insert((hash & 0xff, hash >> 57));
        }
        assert_eq!(hashes.len(), 4_096);
        // Of 2^15 combinations, 4,096 that are chosen by chance hit about 3,850.
        assert!(ends.len() > 3_700, "{}", ends.len());
    }

    #[test]
    fn one_byte_anywhere_makes_a_difference() {
        let text: Vec<u8> = (0..107).collect();
        assert!(same(&text, &text.clone()) && same(&[], &[]));
        for at in 0..text.len() {
            assert!(same(&text[..at], &text.clone()[..at]), "{at}");
            for bit in [0x01, 0x80] {
                let mut other = text.clone();
                other[at] ^= bit;
                assert!(!same(&text, &other), "{at}");
            }
            assert!(!same(&text, &text[..at]), "{at}");
            assert!(!same(&text[..at], &text), "{at}");
        }
    }

    #[test]
    fn count_and_bytes_are_bounded_and_what_is_over_goes_first() {
        let name = |n: usize| key(&[&n.to_string()]);
        let mut memory = Memory::default();
        for n in 0..MAX_ENTRIES {
            let until = if n % 2 == 0 { at(10) } else { at(100) };
            memory.remember(&name(n), n, 0, until, at(0));
        }
        assert_eq!(memory.entries.table.len(), MAX_ENTRIES);
        memory.remember(&name(MAX_ENTRIES), 0, 0, at(100), at(20));
        assert_eq!(memory.entries.table.len(), MAX_ENTRIES / 2 + 1);
        assert_eq!(memory.recall(&name(1), at(20)), Some(1));

        let mut memory = Memory::default();
        for n in 0..100 {
            memory.remember(&name(n), n, MAX_BYTES / 10, at(100), at(0));
            let sum: usize = memory.entries.table.values().map(|entry| entry.size).sum();
            assert_eq!(memory.entries.bytes, sum);
            assert!(
                memory.entries.bytes <= MAX_BYTES,
                "{}",
                memory.entries.bytes
            );
            assert_eq!(memory.recall(&name(n), at(0)), Some(n), "the last one fits");
        }
        memory.remember(&name(0), 7, MAX_BYTES / 10, at(100), at(0));
        memory.remember(&name(0), 8, MAX_BYTES / 10, at(100), at(0));
        let sum: usize = memory.entries.table.values().map(|entry| entry.size).sum();
        assert_eq!(memory.entries.bytes, sum, "a value that replaces another");
        memory.remember(&name(1), 1, MAX_BYTES + 1, at(100), at(0));
        assert_eq!(memory.recall(&name(1), at(0)), None);
        // What a value is about takes room as well.
        let long = "x".repeat(MAX_BYTES);
        memory.remember(&key(&[&long]), 1, 0, at(100), at(0));
        assert_eq!(memory.recall(&key(&[&long]), at(0)), None);
    }
}

//! What an instance remembers for a while: of calls to `tokens`, and opened sessions.

use std::collections::HashMap;

use hmac_sha256::Hash;

use crate::time::UnixTime;

const MAX_ENTRIES: usize = 4_096;
const MAX_BYTES: usize = 1024 * 1024;

/// Values by the SHA-256 of what they are about: at most 4,096, and about 1 MiB.
pub(crate) struct Memory<V> {
    entries: HashMap<[u8; 32], Entry<V>>,
    bytes: usize,
}

struct Entry<V> {
    value: V,
    size: usize,
    until: UnixTime,
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Memory {
            entries: HashMap::new(),
            bytes: 0,
        }
    }
}

/// What a value is remembered by: `parts` and the boundaries between them.
pub(crate) fn key(parts: &[&str]) -> [u8; 32] {
    let mut hash = Hash::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
}

impl<V: Clone> Memory<V> {
    /// The value behind `key`, before its time is over.
    pub(crate) fn recall(&self, key: &[u8; 32], now: UnixTime) -> Option<V> {
        let entry = self.entries.get(key)?;
        (now < entry.until).then(|| entry.value.clone())
    }

    /// Remembers `value`, of about `size` bytes, until then. When there is no room, what is over
    /// is forgotten, and if that is not enough, everything.
    pub(crate) fn remember(
        &mut self,
        key: [u8; 32],
        value: V,
        size: usize,
        until: UnixTime,
        now: UnixTime,
    ) {
        if until <= now || size > MAX_BYTES {
            return;
        }
        let size = size.saturating_add(size_of::<([u8; 32], Entry<V>)>());
        let fits = |memory: &Self| {
            memory.entries.len() < MAX_ENTRIES && memory.bytes.saturating_add(size) <= MAX_BYTES
        };
        if !fits(self) {
            self.entries.retain(|_, entry| now < entry.until);
            self.bytes = self.entries.values().map(|entry| entry.size).sum();
        }
        if !fits(self) {
            self.entries.clear();
            self.bytes = 0;
        }
        let entry = Entry { value, size, until };
        self.bytes = self.bytes.saturating_add(size);
        if let Some(former) = self.entries.insert(key, entry) {
            self.bytes = self.bytes.saturating_sub(former.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(seconds)
    }

    #[test]
    fn a_value_is_there_until_its_time_is_over() {
        let mut memory = Memory::default();
        let (a, b) = (key(&["a"]), key(&["b"]));
        memory.remember(a, 1, 10, at(30), at(0));
        assert_eq!(memory.recall(&a, at(29)), Some(1));
        assert_eq!(memory.recall(&a, at(30)), None);
        assert_eq!(memory.recall(&b, at(0)), None);
        memory.remember(a, 2, 10, at(60), at(30));
        assert_eq!(memory.recall(&a, at(59)), Some(2));
        memory.remember(b, 3, 10, at(60), at(60));
        assert_eq!(memory.entries.len(), 1, "over before it began");
    }

    #[test]
    fn the_boundaries_between_parts_count() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["ab"]), key(&["ab", ""]));
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
    }

    #[test]
    fn count_and_bytes_are_bounded_and_what_is_over_goes_first() {
        let name = |n: usize| key(&[&n.to_string()]);
        let mut memory = Memory::default();
        for n in 0..MAX_ENTRIES {
            let until = if n % 2 == 0 { at(10) } else { at(100) };
            memory.remember(name(n), n, 0, until, at(0));
        }
        assert_eq!(memory.entries.len(), MAX_ENTRIES);
        memory.remember(name(MAX_ENTRIES), 0, 0, at(100), at(20));
        assert_eq!(memory.entries.len(), MAX_ENTRIES / 2 + 1);
        assert_eq!(memory.recall(&name(1), at(20)), Some(1));

        let mut memory = Memory::default();
        for n in 0..100 {
            memory.remember(name(n), n, MAX_BYTES / 10, at(100), at(0));
            let sum: usize = memory.entries.values().map(|entry| entry.size).sum();
            assert_eq!(memory.bytes, sum);
            assert!(memory.bytes <= MAX_BYTES, "{}", memory.bytes);
            assert_eq!(memory.recall(&name(n), at(0)), Some(n), "the last one fits");
        }
        memory.remember(name(0), 7, MAX_BYTES / 10, at(100), at(0));
        memory.remember(name(0), 8, MAX_BYTES / 10, at(100), at(0));
        let sum: usize = memory.entries.values().map(|entry| entry.size).sum();
        assert_eq!(memory.bytes, sum, "a value that replaces another");
        memory.remember(name(1), 1, MAX_BYTES + 1, at(100), at(0));
        assert_eq!(memory.recall(&name(1), at(0)), None);
    }
}

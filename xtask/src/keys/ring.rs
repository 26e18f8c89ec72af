//! The session keys as a list: which one seals, and how a fleet changes it without logging
//! anybody out.
//!
//! Two steps, since machines get a new configuration one after another: a new key is *added*
//! last, so that all machines open what it will seal; when all have it, the list is *rotated*, and
//! it seals. The others are *retired* when no session that they sealed can be left.

use anyhow::{Result, bail};

/// airside refuses more.
const MOST: usize = 8;

/// The keys, the sealing one first. Holds secrets: no `Debug`.
pub(super) struct Ring(Vec<String>);

impl Ring {
    /// Reads `<kid>:<key>[,<kid>:<key>...]`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let keys: Vec<String> = text.split(',').map(|key| key.trim().to_owned()).collect();
        let mut kids: Vec<&str> = keys.iter().filter_map(|key| kid(key)).collect();
        let complete = kids.len() == keys.len();
        kids.sort_unstable();
        kids.dedup();
        if !complete || kids.len() != keys.len() {
            bail!("the session keys in .env are not `<kid>:<key>[,<kid>:<key>...]`, each kid once");
        }
        Ok(Self(keys))
    }

    /// The text for `.env`.
    pub(super) fn text(&self) -> String {
        self.0.join(",")
    }

    /// Adds a key that opens, and does not seal yet.
    pub(super) fn add(&mut self, key: String) -> Result<()> {
        if self.0.len() >= MOST {
            bail!("there are {MOST} keys: --retire first");
        }
        self.0.push(key);
        Ok(())
    }

    /// Lets the key that was added last seal.
    pub(super) fn rotate(&mut self) -> Result<()> {
        if self.0.len() < 2 {
            bail!("there is no other key: --add one first");
        }
        self.0.rotate_right(1);
        Ok(())
    }

    /// Leaves only the key that seals: what the others sealed does not open any more.
    pub(super) fn retire(&mut self) {
        self.0.truncate(1);
    }
}

fn kid(key: &str) -> Option<&str> {
    let (kid, secret) = key.split_once(':')?;
    (!kid.is_empty() && !secret.is_empty()).then_some(kid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_added_last_then_seals_and_the_others_are_retired() {
        let mut ring = Ring::parse("a:1").unwrap();
        assert!(ring.rotate().is_err(), "nothing to rotate to");
        ring.add("b:2".to_owned()).unwrap();
        assert_eq!(ring.text(), "a:1,b:2", "a still seals, b opens");
        ring.rotate().unwrap();
        assert_eq!(ring.text(), "b:2,a:1", "b seals, a still opens");
        ring.add("c:3".to_owned()).unwrap();
        assert_eq!(ring.text(), "b:2,a:1,c:3");
        ring.rotate().unwrap();
        assert_eq!(ring.text(), "c:3,b:2,a:1");
        ring.retire();
        assert_eq!(ring.text(), "c:3");
    }

    #[test]
    fn a_ring_has_at_most_eight_keys_and_each_id_once() {
        let keys: Vec<_> = (0..7).map(|n| format!("{n}:k")).collect();
        let mut ring = Ring::parse(&keys.join(",")).unwrap();
        ring.add("x:k".to_owned()).unwrap();
        assert!(ring.add("y:k".to_owned()).is_err());
        for bad in ["", "a", "a:", ":b", "a:1,", "a:1,a:2"] {
            assert!(Ring::parse(bad).is_err(), "{bad}");
        }
    }
}

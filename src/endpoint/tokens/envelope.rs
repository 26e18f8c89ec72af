//! The sealed envelope around each call to `tokens` and each reply (ARCHITECTURE.md).
//!
//! A request's content is `{id, content}`, a reply's `{id, content}` or `{id, error}`. The two
//! have different keys, and so has each operation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::secret::Secret;
use crate::session::{KeyRing, Purpose};
use crate::time::{Lifetime, UnixTime};

/// How long an envelope is good.
pub const ENVELOPE_LIFETIME: Lifetime = Lifetime::from_secs(10);

/// A secret on its way inside an envelope: the only form of one that can be serialised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enclosed(pub Secret<String>);

impl Serialize for Enclosed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Enclosed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Enclosed(Secret::new(text)))
    }
}

/// What an envelope carries.
pub(super) struct Letter {
    /// Chosen by the caller, repeated in the reply: a reply fits one call only.
    pub(super) id: String,
    /// The request or the reply; in its place a refusal's code.
    pub(super) content: Result<Value, String>,
}

impl Letter {
    /// Seals for `purpose`; `None` when the host fails.
    pub(super) fn seal(&self, purpose: Purpose, ring: &KeyRing, now: UnixTime) -> Option<String> {
        let inside = match &self.content {
            Ok(content) => json!({ "id": self.id, "content": content }),
            Err(code) => json!({ "id": self.id, "error": code }),
        };
        ring.seal_at(purpose, &inside, now.plus(ENVELOPE_LIFETIME))
            .ok()
    }

    /// Opens what was sealed for `purpose` in the last ten seconds.
    pub(super) fn open(
        purpose: Purpose,
        sealed: &[u8],
        ring: &KeyRing,
        now: UnixTime,
    ) -> Option<Self> {
        let sealed = std::str::from_utf8(sealed).ok()?;
        let mut inside: Value = ring.open_at(purpose, sealed, now).ok()?;
        let id = inside.get("id")?.as_str()?.to_owned();
        let content = match inside.get("error") {
            Some(code) => Err(code.as_str()?.to_owned()),
            None => Ok(inside.get_mut("content")?.take()),
        };
        Some(Letter { id, content })
    }
}

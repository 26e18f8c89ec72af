//! Revocation marks: what a logout leaves in the shared store, so that a copy of the cookie
//! dies on every machine (OpenID Connect Back-Channel Logout 1.0 section 2.7).
//!
//! A mark names one session, the provider's session (`sid`), or everything of one person so
//! far. Each revocation writes its marks first and then moves one watermark, to a value that
//! was never there before. A request reads the watermark alone, and the marks of its session
//! only when the watermark is another than at this instance's last look at them.
//!
//! No clock decides. A login notes the marks of the person that it finds; those spare it, any
//! other ends it, however far apart the clocks of two machines are.
//!
//! Keys are hashes; values are `id (12 random bytes) || MAC (32 bytes)`, bound to the key. A
//! value that does not verify counts as a mark: whoever can write to the store can end
//! sessions, and can bring one back only by deleting its marks or by putting an old watermark
//! in place of a new one (SECURITY.md).
//!
//! Not here: reading and writing the store (`endpoint::revocation`).

use hmac_sha256::Hash;

use crate::encoding::base64url_encode;
use crate::session::{KeyRing, Purpose, Session};

/// The key of the watermark.
pub const WATERMARK: &str = "airside/revocation/watermark";
/// The random part of a mark, unique for each.
pub const ID_BYTES: usize = 12;
const MAC_BYTES: usize = 32;

/// What a mark ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked<'a> {
    /// The sessions here that belong to one session at the provider, for ever.
    ProviderSession {
        /// `iss`.
        issuer: &'a str,
        /// `sid`.
        sid: &'a str,
    },
    /// One session, for ever.
    Session {
        /// Its own id.
        id: &'a str,
    },
    /// All sessions of one person, but those that noted this mark at login.
    Subject {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
    },
    /// The same, but only sessions whose ID token had no `sid`: a logout token with `sub` and
    /// `sid` means one session at the provider, and these cannot tell whether they belong to it.
    SubjectWithoutSid {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
    },
}

impl Revoked<'_> {
    /// The key of the mark in the store.
    pub fn key(&self) -> String {
        let (kind, parts) = match self {
            Revoked::ProviderSession { issuer, sid } => ("sid", [*issuer, sid]),
            Revoked::Session { id } => ("id", [*id, ""]),
            Revoked::Subject { issuer, subject } => ("sub", [*issuer, subject]),
            Revoked::SubjectWithoutSid { issuer, subject } => ("sub-no-sid", [*issuer, subject]),
        };
        hashed_key(kind, parts)
    }

    /// True when `mark`, found under [`Revoked::key`], ends `session`.
    pub fn ends(&self, session: &Session, mark: &Mark) -> bool {
        match self {
            Revoked::ProviderSession { .. } | Revoked::Session { .. } => true,
            Revoked::Subject { .. } | Revoked::SubjectWithoutSid { .. } => {
                !session.known_marks.contains(&mark.id)
            }
        }
    }
}

/// A key with its parts hashed, their boundary included.
fn hashed_key(kind: &str, parts: [&str; 2]) -> String {
    let mut hash = Hash::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = base64url_encode(&hash.finalize());
    format!("airside/revocation/{kind}/{digest}")
}

/// The key that remembers the logout token `jti` of `issuer` as used.
pub fn logout_token_key(issuer: &str, jti: &str) -> String {
    hashed_key("jti", [issuer, jti])
}

/// What could have ended `session`.
pub fn of_session(session: &Session) -> Vec<Revoked<'_>> {
    let (issuer, subject) = (session.issuer.as_str(), session.subject.as_str());
    let by_sid = match session.sid.as_deref() {
        Some(sid) => Revoked::ProviderSession { issuer, sid },
        None => Revoked::SubjectWithoutSid { issuer, subject },
    };
    vec![
        Revoked::Session { id: &session.id },
        by_sid,
        Revoked::Subject { issuer, subject },
    ]
}

/// What a logout token of `issuer` with this `sub` and `sid` ends (section 2.7).
pub fn of_logout_token<'a>(
    issuer: &'a str,
    subject: Option<&'a str>,
    sid: Option<&'a str>,
) -> Vec<Revoked<'a>> {
    match (subject, sid) {
        (Some(subject), None) => vec![Revoked::Subject { issuer, subject }],
        (subject, Some(sid)) => {
            let mut revoked = vec![Revoked::ProviderSession { issuer, sid }];
            revoked.extend(subject.map(|subject| Revoked::SubjectWithoutSid { issuer, subject }));
            revoked
        }
        (None, None) => Vec::new(),
    }
}

/// A mark as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its random part, as text.
    pub id: String,
    /// False when it was not made with a key of the ring, for this key of the store.
    pub genuine: bool,
}

impl Mark {
    /// A value for `key`; also the watermark's.
    pub fn value(id: [u8; ID_BYTES], key: &str, ring: &KeyRing) -> Vec<u8> {
        let tag = ring.mac(Purpose::Revocation, &[key.as_bytes(), &id]);
        [id.as_slice(), &tag].concat()
    }

    /// What was found under `key`. Whatever it is, it is a mark.
    pub fn read(value: &[u8], key: &str, ring: &KeyRing) -> Self {
        let (id, tag) = value.split_at_checked(ID_BYTES).unwrap_or((value, &[]));
        Mark {
            id: base64url_encode(id),
            genuine: tag.len() == MAC_BYTES
                && ring.verify_mac(Purpose::Revocation, &[key.as_bytes(), id], tag),
        }
    }
}

/// The watermark as an instance sees it move.
#[derive(Debug, Default)]
pub struct Watermark {
    value: Option<Vec<u8>>,
    moves: u64,
}

impl Watermark {
    /// How often it has moved, now that `value` was found. Another value than before is a move, a
    /// former one too: a session whose marks were read at one number has to be looked at again at
    /// every other.
    pub fn at(&mut self, value: Option<Vec<u8>>) -> u64 {
        if self.value != value {
            self.value = value;
            self.moves = self.moves.saturating_add(1);
        }
        self.moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use crate::secret::Secret;
    use crate::session::record::tests::session;

    fn ring(byte: u8) -> KeyRing {
        let key = base64url_encode(&[byte; 32]);
        KeyRing::parse(&Secret::new(format!("a:{key}"))).expect("ring")
    }

    #[test]
    fn each_thing_that_can_end_has_a_key_of_its_own() {
        let issuer = "https://op.example";
        let subject = "alice";
        let all = [
            Revoked::ProviderSession {
                issuer,
                sid: "alice",
            },
            Revoked::ProviderSession { issuer, sid: "b" },
            Revoked::Session { id: "alice" },
            Revoked::Subject { issuer, subject },
            Revoked::Subject {
                issuer: "https://op.examplea",
                subject: "lice",
            },
            Revoked::SubjectWithoutSid { issuer, subject },
        ];
        let mut keys: HashSet<String> = all.iter().map(Revoked::key).collect();
        keys.insert(logout_token_key(issuer, subject));
        keys.insert(WATERMARK.to_owned());
        assert_eq!(keys.len(), all.len() + 2);
        assert!(keys.iter().all(|key| !key.contains("alice")), "{keys:?}");
    }

    #[test]
    fn a_value_is_bound_to_its_key_and_to_the_ring() {
        let value = Mark::value([1; ID_BYTES], "k", &ring(1));
        let genuine = |value: &[u8], key, byte| Mark::read(value, key, &ring(byte)).genuine;
        assert!(genuine(&value, "k", 1));
        assert!(!genuine(&value, "other", 1), "copied to another key");
        assert!(!genuine(&value, "k", 2), "of another ring");
        assert!(!genuine(&value[..43], "k", 1), "cut");
        assert!(
            !genuine(&[value.as_slice(), &[0]].concat(), "k", 1),
            "longer"
        );
        assert!(!genuine(b"", "k", 1), "nothing");
        let mut changed = value.clone();
        changed[0] ^= 1;
        assert!(!genuine(&changed, "k", 1), "another id");
    }

    #[test]
    fn a_mark_of_the_person_spares_only_who_knew_it_at_login() {
        let mark = |byte| Mark::read(&Mark::value([byte; ID_BYTES], "k", &ring(1)), "k", &ring(1));
        let before = session();
        let mut after = session();
        after.known_marks = vec![mark(1).id];
        let (issuer, subject) = ("https://op.example", "alice");
        for revoked in [
            Revoked::Subject { issuer, subject },
            Revoked::SubjectWithoutSid { issuer, subject },
        ] {
            assert!(revoked.ends(&before, &mark(1)), "{revoked:?}");
            assert!(!revoked.ends(&after, &mark(1)), "{revoked:?}");
            assert!(revoked.ends(&after, &mark(2)), "a later one: {revoked:?}");
        }
        for revoked in [
            Revoked::Session { id: "s1" },
            Revoked::ProviderSession { issuer, sid: "p1" },
        ] {
            assert!(revoked.ends(&after, &mark(1)), "for ever: {revoked:?}");
        }
    }

    #[test]
    fn a_logout_token_ends_what_it_names_and_what_cannot_tell() {
        let issuer = "https://op.example";
        let ends = |token: &[Revoked<'_>], session: &Session| {
            of_session(session).iter().any(|one| token.contains(one))
        };
        let without = session();
        let mut here = session();
        here.sid = Some("p1".to_owned());
        let mut elsewhere = session();
        elsewhere.sid = Some("p2".to_owned());
        for (name, subject, sid, expected) in [
            ("sub", Some("alice"), None, [true, true, true]),
            ("sid", None, Some("p1"), [true, false, false]),
            ("both", Some("alice"), Some("p1"), [true, false, true]),
            ("another sub", Some("bob"), None, [false, false, false]),
            ("another sid", None, Some("p3"), [false, false, false]),
            ("neither", None, None, [false, false, false]),
        ] {
            let token = of_logout_token(issuer, subject, sid);
            let found = [&here, &elsewhere, &without].map(|session| ends(&token, session));
            assert_eq!(found, expected, "{name}");
            let other = of_logout_token("https://other.example", subject, sid);
            assert!(!ends(&other, &here), "{name} of another issuer");
        }
    }

    #[test]
    fn each_move_of_the_watermark_has_a_number_of_its_own() {
        let mut watermark = Watermark::default();
        let (one, two) = (Some(vec![1]), Some(vec![2]));
        let mut numbers = Vec::new();
        // Moved back is moved, and gone is moved too.
        for value in [&None, &one, &two, &one, &None, &one] {
            let at = watermark.at(value.clone());
            assert_eq!(watermark.at(value.clone()), at, "it stays");
            assert!(!numbers.contains(&at), "{value:?}");
            numbers.push(at);
        }
    }
}

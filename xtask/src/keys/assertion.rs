//! `cargo xtask keys --assertion`: the keys that sign `Airside-Assertion`, a JSON Web Key Set of
//! private Ed25519 keys in `.env`.
//!
//! The first key signs, all are published. A rotation without a gap: `--add` publishes a new key,
//! `--rotate` lets it sign once every upstream has seen it, `--retire` drops the others once the
//! last assertion they signed is over.

use anyhow::{Context, Result, anyhow, bail};
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use ed25519_compact::{KeyPair, Seed};

use crate::env_file::EnvFile;
use crate::keys::new_kid;
use crate::workspace::Workspace;

/// What is done to the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Step {
    /// Publishes a new key, which does not sign yet.
    Add,
    /// Makes a key where there is none.
    #[default]
    Ensure,
    /// Prints a new set, for a secret store, and writes nothing.
    Print,
    /// Leaves only the key that signs.
    Retire,
    /// Lets the newest key sign.
    Rotate,
}

/// The variable.
pub(crate) const ASSERTION_KEYS: &str = "SPIN_VARIABLE_ASSERTION_KEYS";

/// The library takes no more.
const MAX_KEYS: usize = 8;

pub(super) fn run(workspace: &Workspace, step: Step) -> Result<()> {
    if step == Step::Print {
        println!("{}", new_set()?);
        return Ok(());
    }
    let mut file = EnvFile::open(workspace)?;
    let current = file.value(ASSERTION_KEYS).map(str::to_owned);
    let (keys, said) = changed(current.as_deref(), step)?;
    // Quoted: the value is JSON.
    file.set(ASSERTION_KEYS, &format!("'{}'", set(&keys)));
    file.save()?;
    println!("{said}");
    Ok(())
}

/// The keys after `step`, the one that signs first.
fn changed(current: Option<&str>, step: Step) -> Result<(Vec<String>, &'static str)> {
    let mut keys = current.map_or_else(|| Ok(Vec::new()), split)?;
    let said = match step {
        Step::Ensure | Step::Add if keys.is_empty() => {
            keys.push(new_jwk()?);
            "A key of assertions is in .env, readable by you only."
        }
        Step::Ensure | Step::Print => "Keys of assertions are in .env already (--add adds one).",
        Step::Add if keys.len() >= MAX_KEYS => bail!("there are {MAX_KEYS} keys: --retire first"),
        Step::Add => {
            keys.push(new_jwk()?);
            "A new key is published from now on; once upstreams know it, --rotate lets it sign."
        }
        Step::Rotate if keys.len() > 1 => {
            keys.rotate_right(1);
            "The newest key signs from now on; after a minute --retire drops the others."
        }
        Step::Rotate => bail!("there is no other key: --add one first"),
        Step::Retire => {
            keys.truncate(1);
            "Only the key that signs is left."
        }
    };
    if keys.is_empty() {
        bail!("{ASSERTION_KEYS} is not in .env");
    }
    Ok((keys, said))
}

/// A new set of one key.
pub(crate) fn new_set() -> Result<String> {
    Ok(set(&[new_jwk()?]))
}

fn set(keys: &[String]) -> String {
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

/// The keys of a set, each a flat object.
fn split(set: &str) -> Result<Vec<String>> {
    let list = set
        .trim()
        .strip_prefix("{\"keys\":[")
        .and_then(|rest| rest.strip_suffix("]}"))
        .filter(|list| list.starts_with('{') && list.ends_with('}'))
        .with_context(|| format!("{ASSERTION_KEYS} in .env is not {{\"keys\":[...]}}"))?;
    let inner = list.trim_start_matches('{').trim_end_matches('}');
    Ok(inner.split("},{").map(|key| format!("{{{key}}}")).collect())
}

/// A private Ed25519 key (RFC 8037 section 2).
fn new_jwk() -> Result<String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow!("no randomness: {error}"))?;
    let pair = KeyPair::from_seed(Seed::new(seed));
    let text = |bytes: &[u8]| Base64UrlSafeNoPadding::encode_to_string(bytes);
    Ok(format!(
        "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{}\",\"alg\":\"EdDSA\",\"use\":\"sig\",\"x\":\"{}\",\"d\":\"{}\"}}",
        new_kid()?,
        text(pair.pk.as_ref())?,
        text(&seed)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(current: Option<&str>, step: Step) -> Vec<String> {
        changed(current, step).unwrap().0
    }

    #[test]
    fn a_rotation_publishes_before_it_signs_and_retires_last() {
        let first = after(None, Step::Ensure);
        assert_eq!(first.len(), 1);
        assert_eq!(after(Some(&set(&first)), Step::Ensure), first);
        let added = after(Some(&set(&first)), Step::Add);
        assert_eq!((added.len(), &added[0]), (2, &first[0]));
        let rotated = after(Some(&set(&added)), Step::Rotate);
        assert_eq!(rotated, [added[1].clone(), added[0].clone()]);
        assert_eq!(after(Some(&set(&rotated)), Step::Retire), rotated[..1]);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let one = after(None, Step::Add);
        assert!(changed(Some(&set(&one)), Step::Rotate).is_err());
        assert!(changed(None, Step::Retire).is_err());
        assert!(changed(Some("a:b"), Step::Add).is_err());
        let full = vec![one[0].clone(); MAX_KEYS];
        assert!(changed(Some(&set(&full)), Step::Add).is_err());
    }

    #[test]
    fn the_library_takes_what_is_made() {
        let jwk = new_jwk().unwrap();
        let secret = airside::secret::Secret::new(jwk);
        let algorithm = airside::jose::Algorithm::EdDsa;
        let key = airside::jose::signing::SigningKey::parse(&secret, algorithm).unwrap();
        assert_eq!(key.public_jwk()["kty"], "OKP");
        assert!(!key.public_jwk().contains_key("d"));
    }
}

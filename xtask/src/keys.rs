//! `cargo xtask keys`: session keys, and keys of assertions (see `assertion`), from the operating system's randomness.
//!
//! A value is `<kid>:<base64url of 32 bytes>[,<kid>:<base64url>...]`; the first key seals,
//! all of them open.

mod assertion;
#[cfg(any(test, feature = "doctor"))]
#[cfg_attr(
    not(feature = "doctor"),
    allow(dead_code, reason = "only tests use it then")
)]
pub(crate) mod client;
mod ring;

use anyhow::{Result, anyhow, bail};
use ct_codecs::{Base64UrlSafeNoPadding, Encoder, Hex};

use crate::env_file::EnvFile;
use crate::keys::ring::Ring;
use crate::workspace::{Workspace, step};

/// What `keys` is asked to do.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Makes keys where there are none.
    #[default]
    Ensure,
    /// Prints a new value, for a secret store, and writes nothing.
    Print,
    /// Changes the session keys there are.
    Session(assertion::Step),
    /// Something about the keys of assertions.
    Assertion(assertion::Step),
}

pub(crate) use assertion::{ASSERTION_KEYS, Step, new_set};

impl Mode {
    /// What the switches of the command line ask for.
    ///
    /// # Errors
    /// When they do not go together.
    pub(crate) fn new(of_assertions: bool, steps: &[Step]) -> Result<Self> {
        Ok(match (of_assertions, steps) {
            (true, []) => Mode::Assertion(Step::Ensure),
            (true, [step]) => Mode::Assertion(*step),
            (false, []) => Mode::Ensure,
            (false, [Step::Print]) => Mode::Print,
            (false, [step]) => Mode::Session(*step),
            _ => bail!("these switches of `keys` do not go together"),
        })
    }
}

/// Runs the command; keys reach the screen with [`Mode::Print`] only.
pub(crate) fn run(workspace: &Workspace, mode: Mode) -> Result<()> {
    match mode {
        Mode::Print => {
            println!("{}", new_key()?);
            return Ok(());
        }
        Mode::Assertion(step) => return assertion::run(workspace, step),
        Mode::Ensure | Mode::Session(_) => {}
    }
    let mut file = EnvFile::open(workspace)?;
    let current = file.value(SESSION_KEYS).map(str::to_owned);
    match (mode, current) {
        (Mode::Session(step), Some(keys)) => {
            let mut ring = Ring::parse(&keys)?;
            let said = change(&mut ring, step)?;
            file.set(SESSION_KEYS, &ring.text());
            file.save()?;
            println!("{said}");
        }
        (_, Some(_)) => println!("Session keys are in .env already (--add adds one)."),
        (_, None) => {
            file.set(SESSION_KEYS, &new_key()?);
            file.save()?;
            println!("Session keys are in .env, readable by you only.");
        }
    }
    Ok(())
}

/// Makes the secrets the demo needs where they are missing.
pub(crate) fn ensure_demo_secrets(workspace: &Workspace) -> Result<EnvFile> {
    let mut file = EnvFile::open(workspace)?;
    let mut changed = false;
    for name in [SESSION_KEYS, CLIENT_SECRET] {
        if file.value(name).is_none() {
            let value = if name == SESSION_KEYS {
                new_key()?
            } else {
                random_base64url()?
            };
            file.set(name, &value);
            changed = true;
        }
    }
    if changed {
        step("Making session keys and a demo client secret in .env");
        file.save()?;
    }
    Ok(file)
}

/// The variable of the session keys.
pub(crate) const SESSION_KEYS: &str = "SPIN_VARIABLE_SESSION_KEYS";

/// The variable of the client secret.
pub(crate) const CLIENT_SECRET: &str = "SPIN_VARIABLE_CLIENT_SECRET";

/// The variable of the private key of `private_key_jwt`.
#[cfg(any(test, feature = "doctor"))]
#[cfg_attr(
    not(feature = "doctor"),
    allow(dead_code, reason = "only tests use it then")
)]
pub(crate) const CLIENT_KEY: &str = "SPIN_VARIABLE_CLIENT_KEY";

fn new_key() -> Result<String> {
    Ok(format!("{}:{}", new_kid()?, random_base64url()?))
}

fn new_kid() -> Result<String> {
    let mut kid = [0; 4];
    getrandom::fill(&mut kid).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(Hex::encode_to_string(kid)?)
}

fn random_base64url() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(Base64UrlSafeNoPadding::encode_to_string(bytes)?)
}

fn change(ring: &mut Ring, step: Step) -> Result<&'static str> {
    Ok(match step {
        Step::Add => {
            ring.add(new_key()?)?;
            "A new key opens sessions. When every machine has it: --rotate."
        }
        Step::Rotate => {
            ring.rotate()?;
            "The newest key seals from now on. When no older session is left: --retire."
        }
        Step::Retire => {
            ring.retire();
            "Only the key that seals is left."
        }
        Step::Ensure | Step::Print => "Nothing changed.",
    })
}

#[cfg(test)]
mod tests {
    use ct_codecs::Decoder;

    use super::*;

    #[test]
    fn a_key_is_a_kid_and_32_bytes_and_never_the_same() {
        let key = new_key().unwrap();
        let (kid, secret) = key.split_once(':').unwrap();
        assert_eq!(kid.len(), 8);
        assert_eq!(
            Base64UrlSafeNoPadding::decode_to_vec(secret, None)
                .unwrap()
                .len(),
            32
        );
        assert_ne!(key, new_key().unwrap());
    }
}

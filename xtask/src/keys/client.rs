//! `cargo xtask keys --client ALG`: a private key by which airside proves itself at a provider
//! (`private_key_jwt`), and its public half for the provider.

use airside::jose::{Algorithm, SigningKey};
use airside::secret::Secret;
use anyhow::{Context, Result, bail};
use jwt_simple::prelude::{ES256KeyPair, Ed25519KeyPair, RS256KeyPair};

use crate::env_file::EnvFile;
use crate::keys::{CLIENT_KEY, Mode, Step, new_kid};
use crate::workspace::Workspace;

/// Runs the command; the private key reaches the screen with [`Mode::Print`] only.
pub(crate) fn run(workspace: &Workspace, mode: Mode, algorithm: &str) -> Result<()> {
    let algorithm = parse(algorithm)?;
    if !matches!(
        mode,
        Mode::Ensure | Mode::Print | Mode::Session(Step::Rotate)
    ) {
        bail!("--client goes with --print or --rotate alone");
    }
    if mode == Mode::Print {
        let private = new_key(algorithm)?;
        println!("{private}\n{}", public(&private, algorithm)?);
        return Ok(());
    }
    let mut file = EnvFile::open(workspace)?;
    let current = file.value(CLIENT_KEY).map(str::to_owned);
    let private = match (mode, current) {
        (Mode::Ensure, Some(private)) => {
            eprintln!("A client key is in .env already (--rotate makes another).");
            private
        }
        _ => {
            let private = new_key(algorithm)?;
            // Quoted, since it has quotes inside.
            file.set(CLIENT_KEY, &format!("'{private}'"));
            file.save()?;
            eprintln!("The client key is in .env, readable by you only. Its public half:");
            private
        }
    };
    println!("{}", public(&private, algorithm)?);
    Ok(())
}

fn parse(name: &str) -> Result<Algorithm> {
    match name.parse() {
        Ok(known @ (Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256)) => Ok(known),
        _ => bail!("--client is ES256, EdDSA or RS256"),
    }
}

/// A private JSON Web Key.
fn new_key(algorithm: Algorithm) -> Result<String> {
    let kid = new_kid()?;
    Ok(match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::generate().with_key_id(&kid).to_jwk(),
        Algorithm::Es256 => ES256KeyPair::generate().with_key_id(&kid).to_jwk(),
        _ => {
            let pair = RS256KeyPair::generate(2_048).map_err(|error| anyhow::anyhow!("{error}"));
            pair?.with_key_id(&kid).to_jwk()
        }
    })
}

/// The public half, as `/auth/client-jwks.json` will have it.
fn public(private: &str, algorithm: Algorithm) -> Result<String> {
    let private = Secret::from(private);
    let key = match algorithm {
        Algorithm::Rs256 => SigningKey::parse_rsa(&private),
        other => SigningKey::parse(&private, other),
    };
    let key = key.with_context(|| format!("{CLIENT_KEY} in .env"))?;
    Ok(serde_json::Value::Object(key.public_jwk()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_one_that_the_library_reads_and_its_public_half_is_public() {
        for name in ["ES256", "EdDSA", "RS256"] {
            let algorithm = parse(name).unwrap();
            let private = new_key(algorithm).unwrap();
            assert!(!private.contains('\''), "it is quoted in .env");
            let public = public(&private, algorithm).unwrap();
            assert!(public.contains(&format!("\"alg\":\"{name}\"")), "{public}");
            assert!(!public.contains("\"d\""), "{public}");
            assert_ne!(private, new_key(algorithm).unwrap());
        }
        for bad in ["HS256", "PS256", "none", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

//! Client authentication at the token endpoint (RFC 6749 section 2.3.1, RFC 7521 section 4.2,
//! RFC 7523 section 3, OpenID Connect Core section 9).

use ct_codecs::{Base64, Encoder};
use form_urlencoded::byte_serialize;
use http::HeaderValue;
use serde_json::json;

use crate::jose::SigningKey;
use crate::secret::Secret;
use crate::time::{Lifetime, UnixTime};

/// `client_assertion_type` of a JWT (RFC 7523 section 2.2).
pub const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion is made for one request. The server's clock may be behind by a little.
const ASSERTION_LIFETIME: Lifetime = Lifetime::from_secs(60);

/// How this client proves itself, with the secret at hand.
#[derive(Clone, Debug)]
pub enum ClientCredential {
    /// `private_key_jwt`: an assertion made for this very request by [`assertion`].
    Assertion(Secret<String>),
    /// `client_secret_basic`.
    Basic(Secret<String>),
    /// `client_secret_post`.
    Post(Secret<String>),
    /// `none`: a public client, which proves possession of the code by PKCE.
    None,
}

/// What a token request carries for it.
#[derive(Debug)]
pub struct ClientProof {
    /// The `Authorization` header.
    pub authorization: Option<HeaderValue>,
    /// Parameters of the body.
    pub parameters: Vec<(&'static str, Secret<String>)>,
}

impl ClientCredential {
    /// The proof for a token request of `client_id`; `None` if it cannot stand in a header.
    pub fn proof(&self, client_id: &str) -> Option<ClientProof> {
        let named = || vec![("client_id", Secret::from(client_id))];
        match self {
            ClientCredential::Assertion(assertion) => {
                let mut parameters = named();
                parameters.push(("client_assertion_type", Secret::from(CLIENT_ASSERTION_TYPE)));
                parameters.push(("client_assertion", assertion.clone()));
                Some(ClientProof {
                    authorization: None,
                    parameters,
                })
            }
            ClientCredential::Basic(secret) => {
                // Each part is form-encoded before they are joined (RFC 6749 section 2.3.1): a
                // secret with `:` or `%` fails at strict providers otherwise.
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair =
                    Secret::new(format!("{}:{}", encode(client_id), encode(secret.expose())));
                let encoded = Base64::encode_to_string(pair.expose()).ok()?;
                let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
                header.set_sensitive(true);
                Some(ClientProof {
                    authorization: Some(header),
                    parameters: Vec::new(),
                })
            }
            ClientCredential::Post(secret) => {
                let mut parameters = named();
                parameters.push(("client_secret", secret.clone()));
                Some(ClientProof {
                    authorization: None,
                    parameters,
                })
            }
            ClientCredential::None => Some(ClientProof {
                authorization: None,
                parameters: named(),
            }),
        }
    }
}

/// The assertion by which `client_id` proves itself to `audience` within the next minute; `None`
/// when the host has no randomness. `jti` must be new each time: servers accept it once.
pub fn assertion(
    client_id: &str,
    audience: &str,
    key: &SigningKey,
    jti: &str,
    now: UnixTime,
) -> Option<Secret<String>> {
    // RFC 7523 section 3. `aud` is a string and not a list: some servers take no list, and one
    // that names several servers could be used at each of them.
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": jti,
        "iat": now.as_secs(),
        "exp": now.plus(ASSERTION_LIFETIME).as_secs(),
    });
    key.sign("JWT", claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::base64url_decode;
    use crate::jose::Algorithm;
    use jwt_simple::prelude::Ed25519KeyPair;
    use serde_json::Value;

    #[test]
    fn basic_form_encodes_both_parts() {
        let proof = ClientCredential::Basic(Secret::from("s:e c%ret"))
            .proof("cli:ent")
            .expect("proof");
        let expected = Base64::encode_to_string("cli%3Aent:s%3Ae+c%25ret").expect("base64");
        assert_eq!(
            proof.authorization.expect("header"),
            format!("Basic {expected}").as_str()
        );
        assert!(proof.parameters.is_empty());
    }

    #[test]
    fn an_assertion_is_for_one_server_and_one_minute() {
        let jwk = Ed25519KeyPair::generate().with_key_id("k").to_jwk();
        let key = SigningKey::parse(&Secret::new(jwk), Algorithm::EdDsa).expect("key");
        let now = UnixTime::from_secs(1_000);
        let made = assertion("c", "https://op.example", &key, "j1", now).expect("assertion");
        let payload = made.expose().split('.').nth(1).expect("payload");
        let payload = base64url_decode(payload).expect("base64url");
        let claims: Value = serde_json::from_slice(&payload).expect("JSON");
        let expected = json!({
            "iss": "c", "sub": "c", "aud": "https://op.example", "jti": "j1",
            "iat": 1_000, "exp": 1_060,
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn all_others_name_the_client_in_the_body() {
        let names = |credential: ClientCredential| {
            let proof = credential.proof("c").expect("proof");
            assert!(proof.authorization.is_none());
            proof
                .parameters
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(ClientCredential::Post(Secret::from("s"))),
            ["client_id", "client_secret"]
        );
        assert_eq!(names(ClientCredential::None), ["client_id"]);
        assert_eq!(
            names(ClientCredential::Assertion(Secret::from("a"))),
            ["client_id", "client_assertion_type", "client_assertion"]
        );
    }
}

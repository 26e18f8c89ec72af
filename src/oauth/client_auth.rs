//! Client authentication at the token endpoint (RFC 6749 section 2.3.1, OpenID Connect Core
//! section 9).

use ct_codecs::{Base64, Encoder};
use form_urlencoded::byte_serialize;
use http::HeaderValue;

use crate::secret::Secret;

/// How this client proves itself, with the secret at hand.
#[derive(Clone, Debug)]
pub enum ClientCredential {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn post_and_none_name_the_client_in_the_body() {
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
    }
}

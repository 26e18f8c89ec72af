//! Provider metadata (OpenID Connect Discovery section 3, RFC 8414 section 2).

use serde_json::{Map, Value};
use thiserror::Error;

use crate::encoding::parse_json_object;
use crate::url::{HttpsUrl, Issuer};

/// Metadata documents over this size are refused.
pub const MAX_METADATA_BYTES: usize = 128 * 1024;

/// Why a document is not the provider's metadata.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MetadataError {
    /// A needed endpoint is missing, or is not an https URL.
    #[error("endpoint missing or not https")]
    Endpoint,
    /// `issuer` is not the configured one (OpenID Connect Discovery section 4.3).
    #[error("issuer does not match the configured one")]
    Issuer,
    /// Not an acceptable JSON object.
    #[error("not acceptable JSON")]
    Malformed,
}

/// What airside needs to know of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderMetadata {
    /// Where browsers are sent to log in. Absent at a mere token issuer.
    pub authorization_endpoint: Option<HttpsUrl>,
    /// RFC 9207: every authorization response carries `iss`.
    pub authorization_response_iss_parameter_supported: bool,
    /// The `claims` parameter is understood (OpenID Connect Core section 5.5).
    pub claims_parameter_supported: bool,
    /// Where browsers are sent to log out.
    pub end_session_endpoint: Option<HttpsUrl>,
    /// Where tokens are asked about (RFC 7662).
    pub introspection_endpoint: Option<HttpsUrl>,
    /// Where the key set is.
    pub jwks_uri: HttpsUrl,
    /// Where authorization requests are pushed (RFC 9126).
    pub pushed_authorization_request_endpoint: Option<HttpsUrl>,
    /// RFC 9126 section 5: only pushed authorization requests are accepted.
    pub require_pushed_authorization_requests: bool,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<HttpsUrl>,
    /// Where codes are exchanged. Absent at a mere token issuer.
    pub token_endpoint: Option<HttpsUrl>,
    /// Where more is known about a person.
    pub userinfo_endpoint: Option<HttpsUrl>,
}

impl ProviderMetadata {
    /// Reads a metadata document and checks that it is `issuer`'s. Unknown members are ignored.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn parse(document: &[u8], issuer: &Issuer) -> Result<Self, MetadataError> {
        let members = parse_json_object(document, MAX_METADATA_BYTES)
            .map_err(|_| MetadataError::Malformed)?;
        if members.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
            return Err(MetadataError::Issuer);
        }
        let supported = |name: &str| members.get(name) == Some(&Value::Bool(true));
        Ok(ProviderMetadata {
            authorization_endpoint: endpoint(&members, "authorization_endpoint")?,
            authorization_response_iss_parameter_supported: supported(
                "authorization_response_iss_parameter_supported",
            ),
            claims_parameter_supported: supported("claims_parameter_supported"),
            end_session_endpoint: endpoint(&members, "end_session_endpoint")?,
            introspection_endpoint: endpoint(&members, "introspection_endpoint")?,
            jwks_uri: endpoint(&members, "jwks_uri")?.ok_or(MetadataError::Endpoint)?,
            pushed_authorization_request_endpoint: endpoint(
                &members,
                "pushed_authorization_request_endpoint",
            )?,
            require_pushed_authorization_requests: supported(
                "require_pushed_authorization_requests",
            ),
            revocation_endpoint: endpoint(&members, "revocation_endpoint")?,
            token_endpoint: endpoint(&members, "token_endpoint")?,
            userinfo_endpoint: endpoint(&members, "userinfo_endpoint")?,
        })
    }
}

fn endpoint(members: &Map<String, Value>, name: &str) -> Result<Option<HttpsUrl>, MetadataError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| MetadataError::Endpoint),
        Some(_) => Err(MetadataError::Endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "issuer": "https://op.example/",
            "authorization_endpoint": "https://op.example/authorize?x=1",
            "token_endpoint": "https://op.example/token",
            "jwks_uri": "https://op.example/jwks",
            "unknown": {"a": [1]},
        })
    }

    fn parse(document: &Value) -> Result<ProviderMetadata, MetadataError> {
        let issuer = "https://op.example/".parse().expect("issuer");
        ProviderMetadata::parse(document.to_string().as_bytes(), &issuer)
    }

    #[test]
    fn the_issuer_must_be_the_configured_one_to_the_letter() {
        assert!(parse(&document()).is_ok());
        for other in [
            "https://op.example",
            "https://OP.example/",
            "https://evil.example/",
            "",
        ] {
            let mut bad = document();
            bad["issuer"] = other.into();
            assert_eq!(parse(&bad), Err(MetadataError::Issuer), "{other}");
        }
    }

    #[test]
    fn endpoints_are_https_or_loopback() {
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "end_session_endpoint",
            "introspection_endpoint",
            "pushed_authorization_request_endpoint",
            "revocation_endpoint",
            "userinfo_endpoint",
        ] {
            let mut good = document();
            good[name] = "http://127.0.0.1:9/x".into();
            assert!(parse(&good).is_ok(), "{name}");
            for bad in [
                json!("http://op.example/x"),
                json!("/x"),
                json!(3),
                json!("javascript:x"),
            ] {
                let mut document = document();
                document[name] = bad.clone();
                assert_eq!(
                    parse(&document),
                    Err(MetadataError::Endpoint),
                    "{name} {bad}"
                );
            }
        }
        let mut without = document();
        without["jwks_uri"] = Value::Null;
        assert_eq!(parse(&without), Err(MetadataError::Endpoint));
    }
}

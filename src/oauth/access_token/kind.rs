//! What a refused token is instead of an access token for an API here: for the log and for
//! whoever sent it. Nothing is accepted by it.

use crate::encoding::base64url_decode;
use crate::jose::Claims;
use crate::jose::jws::MAX_TOKEN_BYTES;

/// What a token is that was sent to an API and is not for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An ID token: addressed to a client.
    Id,
    /// An access token for an API of the provider itself: its management API, Microsoft Graph,
    /// UserInfo.
    ProviderApi,
    /// A refresh token: addressed to the token endpoint.
    Refresh,
    /// An access token by which the provider, or an app, calls somebody else (Google, GitHub).
    ThirdParty,
}

impl std::fmt::Display for TokenKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TokenKind::Id => "ID token",
            TokenKind::ProviderApi => "token for an API of the provider",
            TokenKind::Refresh => "refresh token",
            TokenKind::ThirdParty => "token of a third party",
        })
    }
}

impl TokenKind {
    /// What a token that could not be verified says that it is. Never [`TokenKind::Id`]: an ID
    /// token is called one only once its signature verified.
    pub fn of_text(token: &str) -> Option<Self> {
        // As these issuers document the beginnings of their tokens.
        const THIRD_PARTIES: [&str; 7] = [
            "EAA",
            "gho_",
            "ghp_",
            "ghs_",
            "ghu_",
            "github_pat_",
            "ya29.",
        ];
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        if THIRD_PARTIES.iter().any(|begin| token.starts_with(begin)) {
            return Some(TokenKind::ThirdParty);
        }
        let payload = base64url_decode(token.split('.').nth(1)?).ok()?;
        let claims = Claims::parse(&payload).ok()?;
        Self::of_claims(&claims).filter(|kind| *kind != TokenKind::Id)
    }

    /// What a token with these claims is, if they tell.
    pub fn of_claims(claims: &Claims) -> Option<Self> {
        let is = |name: &str, value: &str| claims.string(name) == Ok(Some(value));
        // Keycloak's and Amazon Cognito's own words for their tokens.
        if is("typ", "Refresh") || is("typ", "Offline") || is("token_use", "refresh") {
            return Some(TokenKind::Refresh);
        }
        if is("typ", "ID") || is("token_use", "id") || has_id_token_claims(claims) {
            return Some(TokenKind::Id);
        }
        let audience = claims.audience().unwrap_or_default();
        let issuer = claims.string("iss").ok().flatten()?;
        Self::of_audience(issuer, &audience)
    }

    /// [`TokenKind::ProviderApi`] when everybody in `audience` belongs to the issuer itself.
    pub fn of_audience<S: AsRef<str>>(issuer: &str, audience: &[S]) -> Option<Self> {
        let own = |entry: &S| is_provider_api(issuer, entry.as_ref());
        (!audience.is_empty() && audience.iter().all(own)).then_some(TokenKind::ProviderApi)
    }
}

/// True when there are claims that only ID tokens have (OpenID Connect Core sections 2 and
/// 3.3.2.11).
pub(super) fn has_id_token_claims(claims: &Claims) -> bool {
    ["at_hash", "c_hash", "nonce", "s_hash"]
        .iter()
        .any(|name| claims.get(name).is_some())
}

fn is_provider_api(issuer: &str, audience: &str) -> bool {
    let issuer = issuer.trim_end_matches('/');
    let audience = audience.trim_end_matches('/');
    // Auth0, Okta (the organisation itself), and Logto, whose issuer is below its origin.
    let below = |base: &str| {
        let rest = audience.strip_prefix(base);
        rest.is_some_and(|rest| matches!(rest, "" | "/api" | "/api/v2" | "/me" | "/userinfo"))
    };
    below(issuer)
        || issuer.strip_suffix("/oidc").is_some_and(below)
        || matches!(
            audience,
            // Keycloak's own clients.
            "account" | "realm-management"
            // Microsoft Graph and its predecessor, by number and by name; Azure.
            | "00000002-0000-0000-c000-000000000000"
            | "00000003-0000-0000-c000-000000000000"
            | "https://default.logto.app/api"
            | "https://graph.microsoft.com"
            | "https://graph.windows.net"
            | "https://management.azure.com"
            | "https://management.core.windows.net"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::base64url_encode;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(name: &str, claims: Value, expected: Option<TokenKind>) {
        let parsed = Claims::parse(claims.to_string().as_bytes()).expect("claims");
        assert_eq!(TokenKind::of_claims(&parsed), expected, "{name}");
        let token = format!(
            "e30.{}.c2ln",
            base64url_encode(claims.to_string().as_bytes())
        );
        let unverified = expected.filter(|kind| *kind != TokenKind::Id);
        assert_eq!(TokenKind::of_text(&token), unverified, "{name}");
    }

    #[test]
    fn a_token_is_called_what_its_claims_say() {
        let api = Some(TokenKind::ProviderApi);
        let aud = |iss: &str, aud: Value| json!({ "iss": iss, "aud": aud });
        let auth0 = "https://acme.eu.auth0.com/";
        let management = "https://acme.eu.auth0.com/api/v2/";
        let userinfo = "https://acme.eu.auth0.com/userinfo";
        check("management", aud(auth0, json!(management)), api);
        check("userinfo", aud(auth0, json!([management, userinfo])), api);
        check(
            "an API and userinfo",
            aud(auth0, json!(["https://api.example", userinfo])),
            None,
        );
        let other = "https://other.eu.auth0.com/api/v2/";
        check(
            "management of another tenant",
            aud(auth0, json!(other)),
            None,
        );
        check(
            "graph",
            aud("https://op.example", json!("https://graph.microsoft.com")),
            api,
        );
        let okta = "https://acme.okta.com";
        check("the organisation", aud(okta, json!(okta)), api);
        check("an API of Okta's", aud(okta, json!("api://default")), None);
        let logto = "https://acme.logto.app/oidc";
        check(
            "logto",
            aud(logto, json!("https://acme.logto.app/api")),
            api,
        );
        check(
            "keycloak",
            aud("https://op.example", json!(["realm-management", "account"])),
            api,
        );
        check(
            "account and an API",
            aud("https://op.example", json!(["account", "api"])),
            None,
        );
        check("nobody", aud(okta, json!([])), None);
        check(
            "keycloak refresh",
            json!({ "typ": "Refresh" }),
            Some(TokenKind::Refresh),
        );
        check(
            "keycloak offline",
            json!({ "typ": "Offline" }),
            Some(TokenKind::Refresh),
        );
        check("keycloak access", json!({ "typ": "Bearer" }), None);
        check("keycloak ID", json!({ "typ": "ID" }), Some(TokenKind::Id));
        check(
            "cognito ID",
            json!({ "token_use": "id" }),
            Some(TokenKind::Id),
        );
        check("nonce", json!({ "nonce": "n" }), Some(TokenKind::Id));
        check("nothing", json!({}), None);
    }

    #[test]
    fn tokens_that_are_no_jwt_are_known_by_their_beginning() {
        for token in ["ya29.a0Ab", "gho_16C7", "ghp_x", "github_pat_11", "EAAB"] {
            assert_eq!(
                TokenKind::of_text(token),
                Some(TokenKind::ThirdParty),
                "{token}"
            );
        }
        for token in ["", "opaque", "a.b.c", "ya2", "YA29.x", "gh_x"] {
            assert_eq!(TokenKind::of_text(token), None, "{token}");
        }
        let long = format!("ya29.{}", "x".repeat(MAX_TOKEN_BYTES));
        assert_eq!(TokenKind::of_text(&long), None);
    }
}

//! What the access tokens of an issuer look like: RFC 9068, or what providers send instead.
//!
//! A shape says where something stands and what must be there besides. None weakens a check.

/// Where the claims of an issuer's access tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenShape {
    /// Which claim says whom a token is addressed to.
    pub audience: AudienceClaim,
    /// Which claim names the client: the first of these that is there.
    pub client_id: Vec<&'static str>,
    /// The claim by which the issuer tells access tokens from its other tokens, where `typ`
    /// of the header does not: its name, and its values for an access token. Needed, then.
    pub kind: Option<(&'static str, &'static [&'static str])>,
    /// Claims that must be there with exactly that value.
    pub required: Vec<(String, String)>,
    /// Which claim has the scopes.
    pub scope: ScopeClaim,
}

impl Default for TokenShape {
    /// RFC 9068 section 2.2.
    fn default() -> Self {
        TokenShape {
            audience: AudienceClaim::Aud,
            client_id: vec!["client_id"],
            kind: None,
            required: Vec::new(),
            scope: ScopeClaim::Scope,
        }
    }
}

/// The claim that says whom a token is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudienceClaim {
    /// `aud`.
    Aud,
    /// `client_id`, of an issuer whose access tokens have no `aud` (Amazon Cognito). A token
    /// that has one is refused then: every ID token does.
    ClientId,
}

/// The claim that has the scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeClaim {
    /// `scope`, a space-separated string (RFC 9068 section 2.2.3).
    Scope,
    /// `scp`, a space-separated string (Entra ID) or an array (Okta).
    Scp,
}

//! The stable code of each error, and what to do about it: for the log.

use super::*;

impl Error {
    /// The stable code: in the log, in `docs/errors.md`, in problem bodies.
    pub fn code(&self) -> &'static str {
        match self {
            Error::AccessToken(error) => match error {
                AccessTokenError::Claims => "access_token_claims",
                AccessTokenError::Expired => "access_token_expired",
                AccessTokenError::Inactive => "access_token_inactive",
                AccessTokenError::Issuer => "access_token_iss",
                AccessTokenError::Jws(error) => jws_code(error, true),
                AccessTokenError::NotYetValid => "access_token_not_yet_valid",
                AccessTokenError::RequiredClaim => "access_token_required_claim",
                AccessTokenError::TokenType => "access_token_type",
                AccessTokenError::Typ => "access_token_typ",
            },
            Error::Account(error) => match error {
                RequirementError::EmailDomain => "account_email_domain",
                RequirementError::EmailUnverified => "account_email_unverified",
                RequirementError::EssentialClaim => "account_essential_claim",
            },
            Error::AttemptDone => "attempt_done",
            Error::AttemptExpired => "attempt_expired",
            Error::AttemptUnknown => "attempt_unknown",
            Error::AuthorizationResponse(error) => match error {
                AuthorizationResponseError::Duplicate => "callback_duplicate_parameter",
                AuthorizationResponseError::Malformed => "callback_malformed",
                AuthorizationResponseError::StateMissing => "callback_state_missing",
                AuthorizationResponseError::TooLong => "callback_too_long",
            },
            Error::Body(error) => match error {
                BodyError::Broken => "body_broken",
                BodyError::Framing => "body_framing",
                BodyError::Timeout => "body_timeout",
                BodyError::TooLarge => "body_too_large",
            },
            Error::CallbackIssuer => "callback_iss",
            Error::CallbackPath => "callback_path",
            Error::ClientKeyId => "client_key_id",
            Error::Cookie(error) => match error {
                CookieError::Duplicate => "cookie_duplicate",
                CookieError::HeaderTooLarge => "cookie_header_too_large",
                CookieError::SessionTooLarge => "session_too_large",
            },
            Error::Cors => "cors_refused",
            Error::Credential(error) => match error {
                BearerError::Duplicate => "credential_duplicate",
                BearerError::InQuery => "credential_in_query",
                BearerError::Malformed => "credential_malformed",
                BearerError::Scheme => "credential_scheme",
            },
            Error::CrossSite => "cross_site",
            Error::Denied { reason, .. } => match reason {
                DenialReason::Audience => "access_token_aud",
                DenialReason::Authentication => "insufficient_user_authentication",
                DenialReason::Claim => "insufficient_claims",
                DenialReason::Expired => "access_token_expired",
                DenialReason::Issuer => "access_token_issuer_not_for_route",
                DenialReason::Scope => "insufficient_scope",
            },
            Error::Discovery(error) => match error {
                DiscoveryError::CoolingDown => "provider_cooling_down",
                DiscoveryError::Keys => "key_set_malformed",
                DiscoveryError::Metadata(MetadataError::Endpoint) => "metadata_endpoint",
                DiscoveryError::Metadata(MetadataError::Issuer) => "metadata_issuer",
                DiscoveryError::Metadata(MetadataError::Malformed) => "metadata_malformed",
                DiscoveryError::NotAllowed => "provider_host_not_allowed",
                DiscoveryError::Throttle => "key_value_unavailable",
                DiscoveryError::Unreachable => "provider_unreachable",
            },
            Error::Envelope => "envelope_invalid",
            Error::IdToken(error) => match error {
                IdTokenError::Acr => "id_token_acr",
                IdTokenError::AtHash => "id_token_at_hash",
                IdTokenError::Audience => "id_token_aud",
                IdTokenError::AuthorizedParty => "id_token_azp",
                IdTokenError::AuthTime => "id_token_auth_time",
                IdTokenError::Claims => "id_token_claims",
                IdTokenError::Expired => "id_token_expired",
                IdTokenError::Issuer => "id_token_iss",
                IdTokenError::Jws(error) => jws_code(error, false),
                IdTokenError::Nonce => "id_token_nonce",
                IdTokenError::NotYetValid => "id_token_not_yet_valid",
                IdTokenError::OtherSubject => "id_token_other_sub",
                IdTokenError::Stale => "id_token_stale",
                IdTokenError::Subject => "id_token_sub",
                IdTokenError::Typ => "id_token_typ",
            },
            Error::IdTokenAtApi { .. } => "id_token_at_api",
            Error::Internal => "internal",
            Error::Introspection { .. } => "introspection_unavailable",
            Error::LoginRequest => "login_request_malformed",
            Error::LogoutState => "logout_state",
            Error::LogoutToken(error) => match error {
                LogoutTokenError::Audience => "logout_token_aud",
                LogoutTokenError::Claims => "logout_token_claims",
                LogoutTokenError::Events => "logout_token_events",
                LogoutTokenError::Expired => "logout_token_expired",
                LogoutTokenError::Issuer => "logout_token_iss",
                LogoutTokenError::Jws(_) => "logout_token_signature",
                LogoutTokenError::Malformed => "logout_token_malformed",
                LogoutTokenError::Nonce => "logout_token_nonce",
                LogoutTokenError::NotYetValid => "logout_token_not_yet_valid",
                LogoutTokenError::Replayed => "logout_token_replayed",
                LogoutTokenError::Subject => "logout_token_subject",
                LogoutTokenError::Typ => "logout_token_typ",
            },
            Error::MethodNotAllowed { .. } => "method_not_allowed",
            Error::NoCredential => "no_credential",
            Error::NoRoute => "no_route",
            Error::NotYet => "not_yet",
            Error::Path(error) => match error {
                PathError::Ambiguous => "path_ambiguous",
                PathError::Malformed => "path_malformed",
                PathError::TooLong => "path_too_long",
            },
            Error::Provider(error) => match error {
                ProviderError::AccessDenied => "provider_access_denied",
                ProviderError::InteractionRequired => "provider_interaction_required",
                ProviderError::Other => "provider_error",
                ProviderError::Unavailable => "provider_unavailable",
            },
            Error::RevocationOff => "revocation_off",
            Error::RevocationUnavailable => "revocation_unavailable",
            Error::Push(error) => match error {
                PushError::Malformed => "par_response_malformed",
                PushError::Refused => "par_refused",
                PushError::Unavailable => "par_unavailable",
            },
            Error::Refresh(error) => match error {
                RefreshError::Busy => "refresh_busy",
                RefreshError::Ended => "refresh_ended",
                RefreshError::Provider => "refresh_provider_unavailable",
                RefreshError::Spent => "refresh_spent",
                RefreshError::Store => "refresh_store_unavailable",
            },
            Error::SessionExpired => "session_expired",
            Error::SessionRevoked => "session_revoked",
            Error::SessionStore => "session_store_unavailable",
            Error::SessionTokenNotForThisApi(_) => "session_token_not_for_this_api",
            Error::SigningKey(_) => "signing_key_malformed",
            Error::StepUp(_) => "insufficient_user_authentication",
            Error::StepUpFailed => "step_up_failed",
            Error::TargetLinkUri => "target_link_uri",
            Error::Token(error) => match error {
                TokenError::InvalidClient => "token_invalid_client",
                TokenError::InvalidGrant => "token_invalid_grant",
                TokenError::Malformed => "token_response_malformed",
                TokenError::Refused => "token_refused",
                TokenError::TokenType => "token_type",
                TokenError::Unavailable => "token_endpoint_unavailable",
            },
            Error::Tokens(error) => match error {
                TokensError::NotAllowed => "tokens_not_allowed",
                TokensError::Reply => "tokens_reply_invalid",
                TokensError::Unavailable => "tokens_unavailable",
            },
            Error::UnknownProvider => "unknown_provider",
            Error::UserInfo(error) => match error {
                UserInfoError::Audience => "userinfo_aud",
                UserInfoError::Expired => "userinfo_expired",
                UserInfoError::Issuer => "userinfo_iss",
                UserInfoError::Jws(_) => "userinfo_signature",
                UserInfoError::Malformed => "userinfo_malformed",
                UserInfoError::Refused => "userinfo_refused",
                UserInfoError::Subject => "userinfo_subject",
                UserInfoError::Unavailable => "userinfo_unavailable",
            },
            Error::Upgrade => "upgrade_not_supported",
            Error::UpstreamCredential { refused: false, .. } => "upstream_credential_unavailable",
            Error::UpstreamCredential { refused: true, .. } => "upstream_credential_refused",
            Error::UpstreamTimeout => "upstream_timeout",
            Error::UpstreamUnavailable => "upstream_unavailable",
            Error::WrongToken(kind) => match kind {
                TokenKind::Id => "id_token_at_api",
                TokenKind::ProviderApi => "management_token_at_api",
                TokenKind::Refresh => "refresh_token_at_api",
                TokenKind::ThirdParty => "third_party_token_at_api",
            },
        }
    }

    /// What to do about it, for the log only; empty where the code says it all.
    pub fn hint(&self) -> &'static str {
        match self {
            Error::SessionTokenNotForThisApi(SessionTokenMisfit::Opaque) => {
                "set `audience` (or `resource`) of the provider to the route's audience, or `introspection` of the issuer"
            }
            Error::SessionTokenNotForThisApi(SessionTokenMisfit::Authentication) => {
                "the provider's access token has another `acr` or `auth_time` than its ID token"
            }
            Error::SessionTokenNotForThisApi(_) => {
                "set `audience` (or `resource`) of the provider to the route's audience"
            }
            Error::AccessToken(AccessTokenError::Typ) => {
                "the issuer does not send typ at+jwt (RFC 9068): see danger_any_typ"
            }
            Error::AccessToken(AccessTokenError::RequiredClaim) => {
                "see `required_claims` and `preset` of the issuer"
            }
            Error::Cors => "origins and methods of the route's `cors` do not have it",
            Error::Cookie(CookieError::SessionTooLarge) => {
                "set session.spill or session.store, keep fewer claims, or raise session.max_chunks"
            }
            Error::Push(PushError::Refused) => {
                "compare redirect_uri, scopes, audience and resource with what the provider has for this client"
            }
            Error::SigningKey(_) => {
                "expected one private JSON Web Key in the variable: `cargo xtask keys --client` makes one; RS256 needs components built for it, which `cargo xtask build` does where airside.toml asks for it"
            }
            Error::Discovery(DiscoveryError::NotAllowed) => {
                "run `cargo xtask check`: a host is missing from allowed_outbound_hosts"
            }
            Error::Tokens(TokensError::NotAllowed) => {
                "allowed_outbound_hosts of this component lacks http://tokens.spin.internal"
            }
            Error::Refresh(RefreshError::Store) => {
                "the key-value store must answer, and have counters (wasi:keyvalue/atomics)"
            }
            Error::Tokens(TokensError::Reply) => "session_keys must be the same in all components",
            Error::Account(RequirementError::EssentialClaim) => {
                "the provider does not send a claim of `essential_claims`: check its scopes, or set userinfo = true"
            }
            Error::Token(TokenError::InvalidClient) => {
                "check client_id, client_authentication and the secret, and that the provider knows the public key"
            }
            _ => "",
        }
    }
}

fn jws_code(error: &JwsError, access: bool) -> &'static str {
    match (error, access) {
        (JwsError::Algorithm, true) => "access_token_alg",
        (JwsError::Algorithm, false) => "id_token_alg",
        (JwsError::Claims | JwsError::Malformed, true) => "access_token_malformed",
        (JwsError::Claims | JwsError::Malformed, false) => "id_token_malformed",
        (JwsError::Critical, true) => "access_token_crit",
        (JwsError::Critical, false) => "id_token_crit",
        (JwsError::Encrypted, true) => "access_token_encrypted",
        (JwsError::Encrypted, false) => "id_token_encrypted",
        (JwsError::Key(KeySelectionError::NoKey), true) => "access_token_no_key",
        (JwsError::Key(KeySelectionError::NoKey), false) => "id_token_no_key",
        (JwsError::Key(KeySelectionError::SeveralKeys), true) => "access_token_several_keys",
        (JwsError::Key(KeySelectionError::SeveralKeys), false) => "id_token_several_keys",
        (JwsError::Signature, true) => "access_token_signature",
        (JwsError::Signature, false) => "id_token_signature",
        (JwsError::TooLong, true) => "access_token_too_long",
        (JwsError::TooLong, false) => "id_token_too_long",
    }
}

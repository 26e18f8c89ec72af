//! Verifies the bearer token of every request with jwt-simple, by the RSA key in the Spin variable
//! `key`, and forwards as the guest `passthrough` does. Nothing is remembered: what the gate's
//! own verification of new tokens is measured against.

#[path = "../../passthrough/src/forward.rs"]
mod forward;

use std::cell::RefCell;
use std::rc::Rc;

use jwt_simple::prelude::{NoCustomClaims, RS256PublicKey, RSAPublicKeyLike as _};
use spin_sdk::wasip3;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_future;

struct Verifying;

wasip3::http::service::export!(Verifying with_types_in wasip3);

impl wasip3::exports::http::handler::Guest for Verifying {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let key = key().await?;
        let lines = request.get_headers().get("authorization");
        let token = lines.first().and_then(|line| {
            let text = std::str::from_utf8(line).ok()?;
            text.strip_prefix("Bearer ")
        });
        // The defaults also judge the times.
        let claims = token.and_then(|token| key.verify_token::<NoCustomClaims>(token, None).ok());
        match claims {
            Some(_) => forward::forward(request, &["authorization"], false).await,
            None => refuse(),
        }
    }
}

fn refuse() -> Result<Response, ErrorCode> {
    let headers = Fields::new();
    headers
        .append("content-length", b"0")
        .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    drop(no_trailers);
    let (response, _sent) = Response::new(headers, None, trailers);
    match response.set_status_code(401) {
        Ok(()) => Ok(response),
        Err(()) => Err(ErrorCode::ConfigurationError),
    }
}

/// The key, read once per instance.
async fn key() -> Result<Rc<RS256PublicKey>, ErrorCode> {
    if let Some(key) = KEY.with_borrow(Clone::clone) {
        return Ok(key);
    }
    let pem = spin_sdk::variables::get("key").await;
    let pem = pem.map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let key = RS256PublicKey::from_pem(&pem).map_err(|_| ErrorCode::ConfigurationError)?;
    let key = Rc::new(key);
    KEY.set(Some(Rc::clone(&key)));
    Ok(key)
}

thread_local! {
    static KEY: RefCell<Option<Rc<RS256PublicKey>>> = const { RefCell::new(None) };
}
